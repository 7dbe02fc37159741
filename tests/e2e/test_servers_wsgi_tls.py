"""Mutual TLS on WSGI servers: real servers, real handshakes, every mode, and hot rotation."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509
from identities import MeshAuthority
from wsgi_tls_servers import COMMANDS, World, took_s, world_of

ONE_AT_A_TIME = ("gunicorn sync", "werkzeug")
KEEP_ALIVE = ("gunicorn gthread", "gunicorn gevent")  # others end it with each answer
WEB = "spiffe://cluster.local/ns/default/sa/web"


@pytest.fixture(scope="module", params=list(COMMANDS))
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def world(kind, tmp_path_factory) -> Iterator[World]:
    with world_of(kind, tmp_path_factory.mktemp("world")) as made:
        made.until(made.is_mode("STRICT"), "serve")
        yield made


def test_strict_takes_a_workload_of_the_mesh_and_the_app_sees_who_it_is(world):
    said = world.ask(world.web())
    assert said is not None
    assert (said["caller"], said["scheme"]) == (WEB, "https")


def test_the_name_that_was_asked_for_is_known(world):
    connection = world.connect(world.web())
    connection.host = "localhost"
    connection.request("GET", "/")
    assert json.loads(connection.getresponse().read())["sni"] == "localhost"
    connection.close()


def test_strict_closes_plaintext_before_the_app(world):
    before = world.count()
    assert world.ask("plain") is None
    assert world.count() == before


@pytest.mark.parametrize("who", ["nobody", "foreign", "expired", "own name, other root"])
@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE"])
def test_a_caller_who_does_not_prove_itself_in_tls_never_reaches_the_app(world, mode, who):
    world.set_mode(mode)
    caller = {
        "nobody": lambda: None,
        "foreign": lambda: MeshAuthority("elsewhere.example").issue("default/web"),
        "expired": lambda: world.authority.issue("default/web", life_s=60, ago_s=3600),
        "own name, other root": lambda: MeshAuthority().issue("default/app"),
    }[who]()
    before = world.count()
    assert world.ask(caller) is None
    assert world.count() == before


def test_permissive_takes_both_on_one_port_and_plaintext_bears_no_identity(world):
    world.set_mode("PERMISSIVE")
    secured, plain = world.ask(world.web()), world.ask("plain")
    assert secured is not None
    assert plain is not None
    assert (secured["caller"], secured["scheme"]) == (WEB, "https")
    assert (plain["caller"], plain["scheme"]) == (None, "http")


def test_disable_is_plaintext(world):
    world.set_mode("DISABLE")
    said = world.ask("plain")
    assert said is not None
    assert (said["caller"], said["scheme"]) == (None, "http")
    assert world.ask(world.web()) is None


def test_no_header_makes_an_identity(world):
    world.set_mode("PERMISSIVE")
    pem = world.web().cert_pem.replace("\n", " ")
    names = ("SSL-Client-Cert", "HTTPS-CC", "HTTPS_CC", "SSL_CLIENT_CERT", "S-CC", "S_CC")
    said = world.ask("plain", dict.fromkeys(names, pem))
    assert said is not None
    assert said["caller"] is None
    assert not {"SSL_CLIENT_CERT", "HTTPS_CC"} & set(said["keys"])


@pytest.mark.parametrize("first", [b"", b"\x16\x03\x01"], ids=["silent", "half a handshake"])
def test_connections_that_hang_do_not_keep_the_others_waiting(world, kind, first):
    """One at a time is served by some: there a few seconds each, and no more."""
    world.set_mode("PERMISSIVE")
    is_serial = kind in ONE_AT_A_TIME
    hanging = world.silent(2 if is_serial or first else 8, first)
    try:
        callers = (world.web(), "plain")
        waited = took_s(lambda: [world.ask(caller) or pytest.fail("refused") for caller in callers])
        stuck = is_serial or (first and kind == "gunicorn gthread")  # whose threads shake hands
        assert waited < (13.0 if stuck else 1.9)
        for connection in hanging:
            assert connection.recv(1000)[:1] in (b"", b"\x15")  # ended, with TLS's alert or without
    finally:
        for connection in hanging:
            connection.close()


@pytest.mark.parametrize("kind", KEEP_ALIVE, indirect=True)
def test_a_connection_is_kept_alive_with_its_identity(world):
    world.set_mode("STRICT")
    connection = world.connect(world.web())
    connection.connect()
    kept = connection.sock
    for _ in range(3):
        connection.request("GET", "/")
        assert json.loads(connection.getresponse().read())["caller"] == WEB
        assert connection.sock is kept
    connection.close()


def test_leaf_and_root_rotate_without_a_restart(world):
    """Old callers are taken for as long as their root is in the bundle, and not a second longer."""
    world.set_mode("STRICT")
    first = world.ask(world.web())
    assert first is not None
    old, new = world.authority, MeshAuthority()
    leaf = old.issue("default/app")
    world.run_dir.write_identity(leaf)
    world.until(lambda: _serial(world) == leaf.leaf.serial_number, "show the new leaf")

    world.run_dir.write_identity(leaf, old.root_pem + new.root_pem)
    world.until(lambda: world.ask(new.issue("default/web")), "take callers of both roots")
    assert world.ask(old.issue("default/web"))

    world.run_dir.write_identity(new.issue("default/app"), new.root_pem)
    world.authority = new
    world.until(lambda: world.ask(new.issue("default/web")), "show what the new root vouches for")
    assert world.ask(old.issue("default/web")) is None
    last = world.ask(new.issue("default/web"))
    assert last is not None
    assert last["pid"] == first["pid"]


def _serial(world: World) -> int:
    connection = world.connect(world.web())
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        shown = connection.sock.getpeercert(binary_form=True)
        assert shown is not None
        found = x509.load_der_x509_certificate(shown)
        assert found.not_valid_after_utc > datetime.now(UTC)
        return found.serial_number
    finally:
        connection.close()
