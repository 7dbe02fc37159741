"""Endpoints on Unix sockets, dialled by every client."""

from __future__ import annotations

import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

import pytest
from certificates import Authority
from client_drivers import DRIVERS
from client_world import route, service
from secured_upstreams import TLSUpstream, UnixUpstream
from upstreams import OK

from meshware.testing import TestMesh


def at(*paths: str, policy: str) -> str:
    """The service `orders`, whose endpoints are sockets."""
    listed = ", ".join(f'{{address: "unix://{path}", labels: {{in: all}}}}' for path in paths)
    text = service("orders", 1, policy=policy)
    before = "{address: 127.0.0.1, ports: {http: 1}, labels: {in: all}}"
    assert before in text
    return text.replace(before, listed)


@contextmanager
def behind(driver, *paths: str, policy: str = ""):
    """A client of `orders`, which is at some sockets."""
    world = TestMesh([at(*paths, policy=policy), route("retries: {attempts: 0}")])
    with driver.client(world) as client:
        yield client
    assert world.ledger.in_flight() == {}


DIALS = [driver for driver in DRIVERS if driver.can("dials Unix sockets")]
every_one_that_dials = pytest.mark.parametrize("driver", DIALS, ids=[one.name for one in DIALS])
others = [driver for driver in DRIVERS if driver not in DIALS]


@pytest.mark.parametrize("driver", others, ids=[driver.name for driver in others])
def test_a_client_that_dials_no_sockets_says_so(driver, tmp_path):
    """It is answered, and nothing is dialled."""
    path = str(tmp_path / "there")
    with closing(UnixUpstream([OK], path=path)) as upstream, behind(driver, path) as client:
        response, body = client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"dial no Unix sockets" in body
        assert upstream.connections == 0


@pytest.fixture(params=["plain", "Capitals and spaces é", "@abstract"])
def path(request, tmp_path):
    """A path that must come through libraries that know only hosts."""
    if request.param.startswith("@"):
        if sys.platform != "linux":
            pytest.skip("abstract sockets are Linux's")
        return f"@{tmp_path}"
    return str(tmp_path / request.param)


@every_one_that_dials
def test_a_socket_is_dialled_and_its_connections_are_kept(driver, path):
    """The Host is the caller's; options of TCP are no matter."""
    pool = "connectionPool: {tcp: {tcpKeepalive: {time: 5s}}}"
    with closing(UnixUpstream([OK], path=path)) as upstream:
        with behind(driver, path, policy=pool) as client:
            for body in (None, b"x", None):
                method = "GET" if body is None else "POST"
                assert client.call(method, "http://orders/", body=body)[1] == b"ok"
        assert upstream.requests[0]["host"] == "orders"
        assert (upstream.connections, len(upstream.requests)) == (1, 3)


@every_one_that_dials
def test_two_sockets_share_no_connection(driver, tmp_path):
    """Not even if their names differ by capitals only."""
    with ExitStack() as stack:
        names = [str(tmp_path / name) for name in ("A", "a")]
        upstreams = [stack.enter_context(closing(UnixUpstream([OK], path=p))) for p in names]
        client = stack.enter_context(behind(driver, *names))
        for _ in range(4):
            assert client.call("GET", "http://orders/")[1] == b"ok"
        assert [len(upstream.requests) for upstream in upstreams] == [2, 2]
        assert [upstream.connections for upstream in upstreams] == [1, 1]


@every_one_that_dials
def test_nobody_at_the_socket_is_a_refused_connection(driver, tmp_path):
    """503 UF in the system's words."""
    with behind(driver, str(tmp_path / "none")) as client:
        response, body = client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UF")
        assert b"No such file or directory" in body


@every_one_that_dials
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
    with closing(upstream), behind(driver, str(tmp_path / "s"), policy=tls) as client:
        assert client.call("GET", "http://orders/")[1] == b"ok"
