"""Real ASGI servers whose port speaks as policy says, and hands on who calls."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tls_servers import CALLER, SELF, World, authority, careless_context, svid_of, tls_serving
from websockets.exceptions import ConnectionClosed, InvalidMessage
from websockets.sync.client import connect

from meshware.runtime.follower import POLL_S

UVICORN = ["uvicorn", "--port", "0", "served_tls_asgi:app"]
GUNICORN = [
    "gunicorn", "--no-control-socket", "--log-level", "info", "-b", "127.0.0.1:0",
    "served_tls_asgi:app",
]  # fmt: skip
HYPERCORN = ["hypercorn", "-b", "127.0.0.1:0", "served_tls_asgi:app"]
OURS = "meshware.servers.gunicorn_asgi"
SERVERS = {
    "uvicorn h11 asyncio": ([*UVICORN, "--http", "h11", "--loop", "asyncio"], "uvicorn"),
    "uvicorn httptools uvloop": ([*UVICORN, "--http", "httptools", "--loop", "uvloop"], "uvicorn"),
    "uvicorn two workers": ([*UVICORN, "--workers", "2"], "uvicorn"),
    "hypercorn asyncio": (HYPERCORN, "hypercorn"),
    "hypercorn uvloop": ([*HYPERCORN, "-k", "uvloop"], "hypercorn"),
    "gunicorn uvicorn": ([*GUNICORN, "-k", f"{OURS}.UvicornWorker"], ""),
    "gunicorn asgi asyncio": (
        [*GUNICORN, "-k", f"{OURS}.ASGIWorker", "--asgi-loop", "asyncio"], "",
    ),
    "gunicorn asgi uvloop": (
        [*GUNICORN, "-k", "asgi", "--asgi-loop", "uvloop"], "gunicorn_asgi",
    ),
}  # fmt: skip
REFUSED = (OSError, http.client.HTTPException)


@pytest.fixture(scope="module", params=SERVERS)
def served(request, tmp_path_factory):
    """A world and a server in it."""
    command, install = SERVERS[request.param]
    place = tmp_path_factory.mktemp("served")
    world = World(place / "run")
    environ = {"SERVED_INSTALL": f"meshware.servers.{install}"} if install else {}
    with tls_serving(command, place, world, **environ) as server:
        yield world, server


def put_in_force(world, server, mode, **more):
    """Put a mode in force, and wait for it."""
    world.set_mode(mode, **more)
    server.wait_for_generation()


def caller(world):
    """The context of a caller whom the workload believes."""
    return world.client_context(svid_of(world.issuer, CALLER))


def is_refused(ask, *arguments):
    """Whether a call ends without an answer."""
    try:
        ask(*arguments)
    except REFUSED:
        return True
    return False


def test_a_strict_port_answers_mutual_tls_and_nothing_else(served):
    world, server = served
    put_in_force(world, server, "STRICT")
    said = server.ask(caller(world), name="orders.shop")
    assert said["peer"] == CALLER
    assert said["shown"] >= 1
    assert said["sni"] == "orders.shop"
    assert said["scheme"] == "https"
    assert said["port"] == server.port
    assert is_refused(server.ask, None, "/plaintext")
    assert "/plaintext" not in server.calls()


def test_a_permissive_port_answers_both_also_while_somebody_says_nothing(served):
    world, server = served
    put_in_force(world, server, "PERMISSIVE")
    with socket.create_connection(("127.0.0.1", server.port)):
        time.sleep(0.05)  # so that it is accepted
        said = server.ask(None)
        assert (said["peer"], said["shown"], said["scheme"]) == (None, 0, "http")
        said = server.ask(caller(world))
        assert (said["peer"], said["scheme"], said["sni"]) == (CALLER, "https", None)


def test_a_disabled_port_answers_plaintext_alone(served):
    world, server = served
    put_in_force(world, server, "DISABLE")
    said = server.ask(None)
    assert (said["peer"], said["scheme"]) == (None, "http")
    assert is_refused(server.ask, caller(world), "/tls")
    assert "/tls" not in server.calls()


def test_a_port_may_have_a_mode_of_its_own(served):
    world, server = served
    put_in_force(world, server, "PERMISSIVE", ports={str(server.port): "STRICT"})
    assert is_refused(server.ask, None, "/own")
    assert server.ask(caller(world))["peer"] == CALLER


def test_an_app_without_a_service_account_is_served_as_before(served):
    world, server = served
    world.set_mode("PERMISSIVE", account=None)
    server.wait_for(lambda: not is_refused(server.ask, None), "take plaintext")
    time.sleep(2 * POLL_S)  # there may be another worker, which looks as often
    assert server.ask(None)["peer"] is None


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE"])
def test_a_bad_certificate_never_reaches_the_app(served, mode):
    world, server = served
    put_in_force(world, server, mode)
    foreign = authority(name="another")
    bad = {
        "none": careless_context(),
        "ended": world.client_context(svid_of(world.issuer, CALLER, ended=True)),
        "foreign root": world.client_context(svid_of(foreign, CALLER)),
        "foreign domain": world.client_context(
            svid_of(authority("elsewhere.org"), "spiffe://elsewhere.org/ns/shop/sa/web")
        ),
    }
    reached = [name for name, context in bad.items() if not is_refused(server.ask, context, "/bad")]
    assert reached == []
    assert "/bad" not in server.calls()


def test_headers_make_no_identity(served):
    world, server = served
    put_in_force(world, server, "PERMISSIVE")
    forged = [
        ("X-Forwarded-Client-Cert", f"By={SELF};URI={CALLER}"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "10.0.0.1"),
        ("Client-Cert", ":MIIB:"),
        ("SSL-Client-Cert", "-----BEGIN CERTIFICATE-----"),
        ("X-SSL-Client-Cert", "-----BEGIN CERTIFICATE-----"),
        ("client_cert_chain", CALLER),
    ]
    said = server.ask(None, "/", forged)
    assert (said["peer"], said["shown"], said["sni"]) == (None, 0, None)
    assert server.ask(caller(world), "/", forged)["peer"] == CALLER


def test_a_renewed_leaf_is_shown_without_a_restart(served):
    world, server = served
    put_in_force(world, server, "STRICT")
    pids = {server.ask(caller(world))["pid"] for _ in range(8)}
    before = shown_by(world, server)
    world.become(svid_of(world.issuer, SELF))
    server.wait_for(lambda: shown_by(world, server) not in (before, None), "show the new leaf")
    assert {server.ask(caller(world))["pid"] for _ in range(8)} & pids


def shown_by(world, server):
    """The serial number of the leaf that a server shows."""
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as bare,
        caller(world).wrap_socket(bare) as used,
    ):
        return used.getpeercert()["serialNumber"]


def test_a_root_is_changed_with_overlap_and_the_old_one_no_longer_believed(served):
    world, server = served
    put_in_force(world, server, "STRICT")
    old, new = world.issuer, authority(name="new root")
    believed_old = caller(world)
    pid = server.popen.pid
    try:
        world.believe(old, new)
        believed_new = world.client_context(svid_of(new, CALLER))
        server.wait_for(lambda: not is_refused(server.ask, believed_new), "believe the new root")
        assert server.ask(believed_old)["peer"] == CALLER
        world.become(svid_of(new, SELF))
        world.believe(new)
        world.issuer = new
        only_new = caller(world)  # who would not believe the old leaf
        server.wait_for(lambda: not is_refused(server.ask, only_new), "show the new root's leaf")
        server.wait_for(lambda: is_refused(server.ask, believed_old, "/old"), "drop the old root")
        reached = server.calls().count("/old")
        old_client = only_new_server(world, old)
        for _ in range(4):
            assert is_refused(server.ask, old_client, "/old")
        assert server.calls().count("/old") == reached
        assert server.popen.pid == pid
    finally:
        world.issuer = new


def only_new_server(world, old):
    """The context of a caller of the old root, who believes the server's new one."""
    return world.client_context(svid_of(old, CALLER))


def test_fifty_of_fifty_are_answered_each_way(served):
    world, server = served
    put_in_force(world, server, "PERMISSIVE")
    context = caller(world)
    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(lambda n: server.ask(context if n % 2 else None), range(100)))
    assert [one["peer"] for one in said] == [None, CALLER] * 50


def test_an_edit_of_the_mode_counts_for_the_next_connection(served):
    world, server = served
    put_in_force(world, server, "PERMISSIVE")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as open_before:
        assert server.ask_over(open_before)["peer"] is None
        put_in_force(world, server, "STRICT")
        server.wait_for(lambda: is_refused(server.ask, None), "refuse plaintext")
        put_in_force(world, server, "PERMISSIVE")
        server.wait_for(lambda: not is_refused(server.ask, None), "take plaintext again")


# --- WebSockets -----------------------------------------------------------------------------------

SPEAKERS = {
    "websockets": ([*UVICORN, "--ws", "websockets", "--loop", "asyncio"], "uvicorn"),
    "websockets-sansio": ([*UVICORN, "--ws", "websockets-sansio", "--loop", "uvloop"], "uvicorn"),
    "wsproto": ([*UVICORN, "--ws", "wsproto"], "uvicorn"),
    "hypercorn": (HYPERCORN, "hypercorn"),
    "gunicorn uvicorn": ([*GUNICORN, "-k", f"{OURS}.UvicornWorker"], ""),
    "gunicorn asgi": ([*GUNICORN, "-k", f"{OURS}.ASGIWorker"], ""),
}


@pytest.mark.parametrize("speaker", SPEAKERS)
def test_a_websocket_brings_the_identity_too(speaker, tmp_path):
    command, install = SPEAKERS[speaker]
    world = World(tmp_path / "run")
    environ = {"SERVED_INSTALL": f"meshware.servers.{install}"} if install else {}
    with tls_serving(command, tmp_path, world, **environ) as server:
        put_in_force(world, server, "PERMISSIVE")
        place = f"127.0.0.1:{server.port}"
        with connect(f"wss://{place}/", ssl=caller(world), server_hostname="orders") as websocket:
            said = json.loads(websocket.recv())
            websocket.send("enough")
        assert (said["peer"], said["scheme"], said["sni"]) == (CALLER, "wss", "orders")
        with connect(f"ws://{place}/") as websocket:
            said = json.loads(websocket.recv())
            websocket.send("enough")
        assert (said["peer"], said["scheme"]) == (None, "ws")
        put_in_force(world, server, "STRICT")
        with pytest.raises((InvalidMessage, ConnectionClosed, OSError)):
            connect(f"ws://{place}/refused", open_timeout=10)
        assert "/refused" not in server.calls()
