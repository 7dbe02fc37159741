"""TLS that policy originates: the caller writes `http://`, and real servers see what arrives."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import requests
import urllib3
from certificates import Authority, Issued
from client_calls import Client
from client_world import World, every_driver, route, service, wait_until
from secured_upstreams import Handshake, TLSUpstream
from upstreams import OK, http

from meshware.clients.httpx_library import library_of

pytestmark = every_driver

ONCE = route("retries: {attempts: 0}")


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Whom the clients trust."""
    return Authority("the authority")


@dataclass
class Secured:
    """A client, and `orders` behind TLS."""

    client: Client
    world: World
    upstream: TLSUpstream

    def get(self, url: str = "http://orders/", **options):
        """Call, and return the status and the mesh's flags."""
        response, _ = self.client.call("GET", url, **options)
        return response.status, response.info.flags

    @property
    def handshake(self) -> Handshake:
        """The only one so far, when it has ended."""
        wait_until(lambda: len(self.upstream.handshakes) == 1)
        return self.upstream.handshakes[0]

    def assert_nothing_arrived(self) -> None:
        """See that not one byte of a request came over any connection."""
        self.upstream.wait_until_left()
        assert [handshake.received for handshake in self.upstream.handshakes] == [0] * len(
            self.upstream.handshakes
        )
        assert self.upstream.requests == []


@pytest.fixture
def orders(driver, tmp_path):
    """Open `orders` behind TLS: with what it shows, and a `tls` setting without its braces."""

    @contextmanager
    def opened(
        identity: Issued, tls: str, rule: str = "", *, clients=None, more=""
    ) -> Iterator[Secured]:
        with ExitStack() as stack:
            upstream = stack.enter_context(
                closing(TLSUpstream([OK], identity=identity, directory=tmp_path, clients=clients))
            )
            text = service("orders", upstream, policy=f"tls: {{{tls}}}", more=more)
            world = World(text, route(f"retries: {{attempts: 0}}{rule}"))
            client = stack.enter_context(driver.client(world))
            yield Secured(client, world, upstream)
            assert world.nothing_in_flight()

    return opened


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> Path:
    """Where policy finds the authority."""
    path = tmp_path / "ca.pem"
    path.write_bytes(authority.cert_pem)
    return path


def simple(ca_file: Path, more: str = "") -> str:
    return f"mode: SIMPLE, caCertificates: {ca_file}{more}"


def test_a_plain_call_goes_out_over_tls(orders, authority, ca_file):
    """The app changes nothing; the Host is asked for and verified, and connections are kept."""
    with orders(authority.issue("orders"), simple(ca_file)) as it:
        for _ in range(3):
            assert it.get() == (200, "-")
        assert it.handshake.server_name == "orders"
        assert it.upstream.requests[0]["host"] == "orders"
        assert not it.handshake.peer


@pytest.mark.parametrize(
    ("issued", "words"),
    [
        ({"names": ["stock"]}, "not valid for 'orders'"),
        ({"names": []}, "not valid for 'orders'"),
        ({"names": ["orders"], "days": -1}, "expired"),
    ],
    ids=["another name", "no name", "expired"],
)
def test_a_wrong_certificate_is_refused(orders, authority, ca_file, issued, words):
    """503 UF, before a byte of the request has left."""
    identity = authority.issue(*issued["names"], days=issued.get("days", 30))
    with orders(identity, simple(ca_file)) as it:
        response, body = it.client.call("POST", "http://orders/", body=b"secret")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"TLS_error: " in body
        assert words in body.decode()
        it.assert_nothing_arrived()


def test_a_foreign_authority_is_refused(orders, ca_file):
    """Whatever name it certifies."""
    identity = Authority("another").issue("orders")
    with orders(identity, simple(ca_file)) as it:
        assert it.get() == (503, "UF")
        it.assert_nothing_arrived()


def test_without_an_authority_the_systems_hold(orders, authority):
    """Ours is not among them."""
    with orders(authority.issue("orders"), "mode: SIMPLE") as it:
        assert it.get() == (503, "UF")
        it.assert_nothing_arrived()


@pytest.mark.parametrize(
    ("borne", "wanted"),
    [
        ("pay.example.com", "pay.example.com"),
        ("*.example.com", "pay.example.com"),
        ("spiffe://cluster.local/ns/pay/sa/pay", "spiffe://cluster.local/ns/pay/sa/pay"),
        ("192.0.2.1", "192.0.2.1"),
    ],
)
def test_subject_alt_names_say_who_it_may_be(orders, authority, ca_file, borne, wanted):
    """Then the Host does not count."""
    tls = simple(ca_file, f", subjectAltNames: [nobody, '{wanted}']")
    with orders(authority.issue(borne), tls) as it:
        assert it.get() == (200, "-")


@pytest.mark.parametrize(
    ("borne", "wanted"),
    [
        ("orders", "pay.example.com"),
        ("spiffe://cluster.local/ns/pay/sa/pay", "spiffe://cluster.local/ns/pay/sa/pa"),
    ],
)
def test_whoever_bears_none_of_the_names_is_refused(orders, authority, ca_file, borne, wanted):
    """Inside of the handshake: of the request nothing leaves."""
    tls = simple(ca_file, f", subjectAltNames: [nobody, '{wanted}']")
    with orders(authority.issue(borne), tls) as it:
        response, body = it.client.call("POST", "http://orders/", body=b"secret")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"bears none of the names" in body
        it.assert_nothing_arrived()


def test_the_names_of_the_service_hold_where_the_rule_has_none(orders, authority, ca_file):
    """ServiceEntry.subjectAltNames."""
    more = "subjectAltNames: [warehouse]"
    for name, status in (("warehouse", 200), ("orders", 503)):
        identity = authority.issue(name)
        with orders(identity, simple(ca_file), more=more) as it:
            assert it.get()[0] == status


def test_sni_is_sent_and_verified(orders, authority, ca_file):
    """In place of the Host, which stays the caller's."""
    tls = simple(ca_file, ", sni: pay.example.com")
    with orders(authority.issue("pay.example.com"), tls) as it:
        assert it.get() == (200, "-")
        assert it.handshake.server_name == "pay.example.com"
        assert it.upstream.requests[0]["host"] == "orders"


def test_each_host_is_verified_for_itself(orders, authority, ca_file):
    """A connection that was verified for one Host carries no call to another."""
    identity = authority.issue("orders", "orders.default")
    with orders(identity, simple(ca_file)) as it:
        for host in ("orders", "orders.default", "orders"):
            assert it.get(f"http://{host}/") == (200, "-")
        assert it.get("http://orders.default.svc.cluster.local/") == (503, "UF")
        assert [request.connection for request in it.upstream.requests] == [1, 2, 1]


def test_a_rewritten_host_is_the_one_that_counts(orders, authority, ca_file):
    """It is what the server is asked for."""
    rewrite = ", rewrite: {authority: 'pay.example.com:8443'}"
    identity = authority.issue("pay.example.com")
    with orders(identity, simple(ca_file), rewrite) as it:
        assert it.get() == (200, "-")
        assert it.handshake.server_name == "pay.example.com"
        assert it.upstream.requests[0]["host"] == "pay.example.com:8443"


def test_a_host_that_is_no_name_fails_and_is_told(orders, authority, ca_file):
    """Never with a traceback."""
    with orders(authority.issue("orders"), simple(ca_file)) as it:
        assert it.get(headers={"Host": "a" * 70}) == (503, "UF")
        assert it.upstream.connections == 0


def test_a_client_presents_its_certificate(orders, authority, ca_file, tmp_path):
    """Mode MUTUAL."""
    mine = Authority("of clients")
    identity = mine.issue("spiffe://cluster.local/ns/default/sa/web")
    cert, key = identity.write(tmp_path, "client")
    tls = f"mode: MUTUAL, caCertificates: {ca_file}, clientCertificate: {cert}, privateKey: {key}"
    with orders(authority.issue("orders"), tls, clients=mine) as it:
        assert it.get() == (200, "-")
        assert it.handshake.peer["subjectAltName"] == (
            ("URI", "spiffe://cluster.local/ns/default/sa/web"),
        )


def test_a_client_without_a_certificate_is_refused_by_the_server(orders, authority, ca_file):
    """With TLS 1.3 it says so only as the answer to the request."""
    identity, clients = authority.issue("orders"), Authority("of clients")
    with orders(identity, simple(ca_file), clients=clients) as it:
        status, flags = it.get()
        assert status == 503
        assert flags in ("UF", "UC")
        it.assert_nothing_arrived()


def test_whoever_answers_will_do_if_policy_says_so(orders):
    """insecureSkipVerify, as its name says."""
    identity = Authority("of nobody").issue("stock", days=-1)
    with orders(identity, "mode: SIMPLE, insecureSkipVerify: true") as it:
        assert it.get() == (200, "-")


def test_a_revoked_certificate_is_refused(orders, authority, ca_file, tmp_path):
    """caCrl."""
    good, bad = authority.issue("orders"), authority.issue("orders")
    crl = tmp_path / "crl.pem"
    crl.write_bytes(authority.revoke(bad))
    for identity, expected in ((good, (200, "-")), (bad, (503, "UF"))):
        with orders(identity, simple(ca_file, f", caCrl: {crl}")) as it:
            assert it.get() == expected


@pytest.mark.parametrize(
    "content", [None, b"", b"no certificate", "directory"], ids=["none", "empty", "no PEM", "dir"]
)
def test_a_file_that_cannot_be_used_fails_calls_and_is_told_once(
    orders, authority, tmp_path, caplog, content
):
    """503 UF, nothing in the clear, one line in the log; mended, it is taken up."""
    ca_file = tmp_path / "ca.pem"
    if content == "directory":
        ca_file.mkdir()
    elif content is not None:
        ca_file.write_bytes(content)
    with orders(authority.issue("orders"), simple(ca_file)) as it:
        with caplog.at_level(logging.ERROR, "meshware.tls"):
            for _ in range(3):
                assert it.get() == (503, "UF")
        [record] = caplog.records
        assert f"caCertificates {ca_file} cannot be used: " in record.getMessage()
        assert record.exc_info is None
        assert it.upstream.connections == 0
        if content == "directory":
            ca_file.rmdir()
        ca_file.write_bytes(authority.cert_pem)
        wait_until(lambda: it.get() == (200, "-"))


def test_a_key_of_another_certificate_or_with_a_password_cannot_be_used(
    orders, authority, ca_file, tmp_path, caplog
):
    """And nobody is asked for the password."""
    mine = authority.issue("web")
    cert, key = mine.write(tmp_path, "client")
    for content in (mine.encrypted_key_pem(b"secret"), authority.issue("web").key_pem):
        key.write_bytes(content)
        tls = f"mode: MUTUAL, caCertificates: {ca_file}, clientCertificate: {cert}, privateKey: "
        copy = tmp_path / f"{len(content)}-{abs(hash(content))}.key"
        copy.write_bytes(content)
        with orders(authority.issue("orders"), tls + str(copy)) as it:
            assert it.get() == (503, "UF")
            assert it.upstream.connections == 0


def test_a_changed_authority_is_taken_up(orders, authority, ca_file):
    """New connections are verified by it, and those of the old one are closed."""
    with orders(authority.issue("orders"), simple(ca_file)) as it:
        assert it.get() == (200, "-")
        ca_file.write_bytes(Authority("another").cert_pem)
        wait_until(lambda: it.get() == (503, "UF"))
        it.get()
        it.upstream.wait_until_left()
        ca_file.write_bytes(authority.cert_pem)
        wait_until(lambda: it.get() == (200, "-"))


def test_a_file_that_breaks_in_use_leaves_the_last_good_one(orders, authority, ca_file, caplog):
    """Half a file is written for a moment in every rotation; the log tells."""
    with (
        orders(authority.issue("orders"), simple(ca_file)) as it,
        caplog.at_level(logging.ERROR, "meshware.tls"),
    ):
        assert it.get() == (200, "-")
        ca_file.write_bytes(b"half a certif")

        def is_told() -> bool:
            assert it.get() == (200, "-")
            return bool(caplog.records)

        wait_until(is_told)
        assert "stays in use" in caplog.records[0].getMessage()


def test_an_https_call_keeps_the_tls_of_its_library(
    driver, orders, authority, tmp_path, monkeypatch
):
    """One layer of it, verified as the app says: policy's authority does not count."""
    trusted, ca_file = tmp_path / "trusted.pem", tmp_path / "ca.pem"
    trusted.write_bytes(authority.cert_pem)
    ca_file.write_bytes(Authority("another").cert_pem)
    with orders(authority.issue("orders"), simple(ca_file)) as it:
        if driver.module is requests:
            it.client.raw.mount("https://", it.client.raw.get_adapter("http://"))
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(trusted))
        elif driver.module is urllib3:
            it.client.raw.connection_pool_kw["ca_certs"] = str(trusted)
        elif driver.module is aiohttp:
            context = ssl.create_default_context(cafile=str(trusted))
            monkeypatch.setattr(it.client.raw.connector, "_ssl", context)
        else:
            library = library_of(driver.module.Request("GET", "http://orders/"))
            context = ssl.create_default_context(cafile=str(trusted))
            monkeypatch.setitem(vars(library), "ssl_context", context)
        for _ in range(2):
            assert it.get("https://orders:80/") == (200, "-")
        assert it.handshake.server_name == "orders"
        assert it.get() == (503, "UF")  # by `http://` it is policy's


def test_a_plaintext_server_is_no_substitute(driver, ca_file):
    """TLS is never given up: it gets a greeting that it cannot read, and no request."""
    came: list[bytes] = []

    def answer() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):  # the client leaves in disgust
            came.append(connection.recv(65_536))
            connection.sendall(http())
            while connection.recv(65_536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer)
        thread.start()
        port = listener.getsockname()[1]
        world = World(service("orders", port, policy=f"tls: {{{simple(ca_file)}}}"), ONCE)
        with driver.client(world) as client:
            response, _ = client.call("POST", "http://orders/", body=b"secret")
            assert (response.status, response.info.flags) == (503, "UF")
        thread.join()
    [greeting] = came
    assert greeting[0] == 0x16  # a handshake record
    assert b"secret" not in greeting


def test_a_silent_server_ends_with_the_connect_time_out(driver, ca_file):
    """The handshake is part of connecting."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # accepts, and says nothing
        policy = f"tls: {{{simple(ca_file)}}}, connectionPool: {{tcp: {{connectTimeout: 0.3s}}}}"
        world = World(service("orders", listener.getsockname()[1], policy=policy), ONCE)
        with driver.client(world) as client:
            response, body = client.call("GET", "http://orders/")
            assert (response.status, response.info.flags) == (503, "UF")
            assert b"connection timeout" in body
