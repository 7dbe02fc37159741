"""Endpoints on Unix sockets, dialled by every client."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace

import pytest
from certificates import Authority
from client_world import World, every_driver, route, service
from secured_upstreams import TLSUpstream, UnixUpstream
from upstreams import OK

from meshware.call import RequestHead, Send
from meshware.outbound.exchange import Exchange

pytestmark = every_driver


@pytest.fixture(autouse=True)
def dials(driver, request, tmp_path):
    """Only where it can be; elsewhere it is answered, and nothing is dialled."""
    if driver.can("dials Unix sockets") or "too_long" in request.node.name:
        return
    with (
        closing(UnixUpstream([OK], path=str(tmp_path / "there"))) as upstream,
        moved(driver, str(tmp_path / "there")) as client,
    ):
        response, body = client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"dial no Unix sockets" in body
        assert upstream.connections == 0
    pytest.skip("it cannot, and says so")


class Moved(World):
    """A mesh whose endpoints are all at one Unix socket, whatever policy says."""

    def __init__(self, address: str, *policies: str) -> None:
        self._address = address
        super().__init__(*policies)

    def exchange(self, head: RequestHead) -> Exchange:
        return self._moved(super().exchange(head))

    def _moved(self, exchange: Exchange) -> Exchange:
        outcome = None
        try:
            while True:
                try:
                    action = exchange.send(outcome)
                except StopIteration:
                    return
                if isinstance(action, Send):
                    action = replace(action, address=self._address)
                outcome = yield action
        finally:
            exchange.close()


@contextmanager
def moved(driver, path: str, *policies: str, **more):
    """A client of `orders`, which is at a socket."""
    text = service("orders", 1, **more)
    world = Moved(f"unix://{path}", text, route("retries: {attempts: 0}"), *policies)
    with driver.client(world) as client:
        yield client
    assert world.nothing_in_flight()


@pytest.fixture(params=["plain", "Capitals and spaces é", "@abstract"])
def path(request, tmp_path):
    """A path that must come through libraries that know only hosts."""
    if request.param.startswith("@"):
        if sys.platform != "linux":
            pytest.skip("abstract sockets are Linux's")
        return f"@{tmp_path}"
    return str(tmp_path / request.param)


def test_a_socket_is_dialled_and_its_connections_are_kept(driver, path):
    """The Host is the caller's; options of TCP are no matter."""
    pool = "connectionPool: {tcp: {tcpKeepalive: {time: 5s}}}"
    with closing(UnixUpstream([OK], path=path)) as upstream:
        with moved(driver, path, policy=pool) as client:
            for body in (None, b"x", None):
                method = "GET" if body is None else "POST"
                assert client.call(method, "http://orders/", body=body)[1] == b"ok"
        assert upstream.requests[0]["host"] == "orders"
        assert (upstream.connections, len(upstream.requests)) == (1, 3)


def test_two_sockets_share_no_connection(driver, tmp_path):
    """Not even if their names differ by capitals only."""
    with ExitStack() as stack:
        names = [str(tmp_path / name) for name in ("A", "a")]
        upstreams = [stack.enter_context(closing(UnixUpstream([OK], path=p))) for p in names]
        text = service("orders", 1)
        world = Moved(f"unix://{names[0]}", text)
        client = stack.enter_context(driver.client(world))
        for path in names:
            world._address = f"unix://{path}"
            assert client.call("GET", "http://orders/")[1] == b"ok"
        assert [len(upstream.requests) for upstream in upstreams] == [1, 1]


def test_nobody_at_the_socket_is_a_refused_connection(driver, tmp_path):
    """503 UF in the system's words."""
    with moved(driver, str(tmp_path / "none")) as client:
        response, body = client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"No such file or directory" in body


def test_a_path_that_is_too_long_fails_alike(driver, tmp_path):
    """The system takes about a hundred bytes."""
    with moved(driver, str(tmp_path / ("x" * 200))) as client:
        response, _ = client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UF")


def test_tls_goes_over_a_socket_too(driver, tmp_path):
    """Verified for the Host, as anywhere."""
    authority = Authority()
    ca_file = tmp_path / "ca.pem"
    ca_file.write_bytes(authority.cert_pem)

    @dataclass(eq=False, kw_only=True)
    class Both(UnixUpstream, TLSUpstream):
        pass

    upstream = Both(
        [OK], path=str(tmp_path / "s"), identity=authority.issue("orders"), directory=tmp_path
    )
    tls = f"tls: {{mode: SIMPLE, caCertificates: {ca_file}}}"
    with closing(upstream), moved(driver, str(tmp_path / "s"), policy=tls) as client:
        assert client.call("GET", "http://orders/")[1] == b"ok"
