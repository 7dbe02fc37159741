"""What a DestinationRule says of connections, as seen at both ends of real ones."""

from __future__ import annotations

import os
import socket
import stat
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress

import pytest
from client_world import Stage, World, every_driver, route, service, wait_until
from upstreams import OK, Upstream, Wait, http

pytestmark = every_driver

KEEP_IDLE = socket.TCP_KEEPALIVE if sys.platform == "darwin" else socket.TCP_KEEPIDLE


def many_at_once(it: Stage, count: int) -> None:
    """Make calls that wait for each other in the upstream."""
    with ThreadPoolExecutor(count) as threads:
        calls = [threads.submit(it.client.call, "GET", "http://orders/") for _ in range(count)]
        assert {call.result()[1] for call in calls} == {b"ok"}


@contextmanager
def ruled(driver, pool: str, *policies: str, script=(OK,)):
    """A stage whose `orders` has a connectionPool: flow-style YAML without its braces."""
    with ExitStack() as stack:
        upstream = stack.enter_context(closing(Upstream(script)))
        policy = f"connectionPool: {{{pool}}}"
        world = World(service("orders", upstream, policy=policy), *policies)
        client = stack.enter_context(driver.client(world))
        yield Stage(client, world, [upstream])
        assert world.nothing_in_flight()


def connections(it: Stage) -> list[int]:
    """The connection that each request came over."""
    return [request.connection for request in it.upstream.requests]


def test_a_connection_serves_so_many_requests(driver):
    """maxRequestsPerConnection; then it is closed at once, and the next has another."""
    with ruled(driver, "http: {maxRequestsPerConnection: 2}") as it:
        for method in ("GET", "POST", "GET", "POST", "GET"):
            body = b"x" if method == "POST" else None
            assert it.client.call(method, "http://orders/", body=body)[1] == b"ok"
        assert connections(it) == [1, 1, 2, 2, 3]
        wait_until(lambda: len(it.upstream._live) == 1)


def test_one_request_means_no_keep_alive(driver):
    """maxRequestsPerConnection 1; the connection is gone when its response has been read."""
    with ruled(driver, "http: {maxRequestsPerConnection: 1}") as it:
        for _ in range(2):
            it.client.call("GET", "http://orders/")
            it.upstream.wait_until_left()
        assert connections(it) == [1, 2]


def test_an_old_connection_begins_no_request(driver):
    """maxConnectionDuration; a request that is under way ends on it."""
    answered = Wait()
    script = [[answered, http()], OK]
    with ruled(driver, "tcp: {maxConnectionDuration: 0.3s}", script=script) as it:
        threading.Timer(0.6, answered.event.set).start()
        assert it.client.call("GET", "http://orders/")[1] == b"ok"
        it.client.call("GET", "http://orders/")
        assert connections(it) == [1, 2]
        wait_until(lambda: len(it.upstream._live) == 1)


@pytest.mark.parametrize(
    "pool",
    [
        "http: {idleTimeout: 0.2s}",
        "tcp: {idleTimeout: 0.2s}",
        "http: {idleTimeout: 0.2s}, tcp: {idleTimeout: 1h}",
    ],
)
def test_a_connection_that_rested_long_is_not_used_again(driver, pool):
    """idleTimeout of http, or else of tcp."""
    with ruled(driver, pool) as it:
        it.client.call("GET", "http://orders/")
        time.sleep(0.4)
        it.client.call("GET", "http://orders/")
        assert connections(it) == [1, 2]
        wait_until(lambda: len(it.upstream._live) == 1)


def test_every_connection_that_rested_long_is_closed(driver):
    """Not only the one that the next call would have taken."""
    together = threading.Barrier(4, timeout=10)
    script = [[together.wait, http()]] * 4 + [OK]
    with ruled(driver, "http: {idleTimeout: 0.2s}", script=script) as it:
        many_at_once(it, 4)

        def is_last_left() -> bool:
            if not driver.can("goes over the idle connection that was used last"):
                time.sleep(0.3)  # for none of them to be used meanwhile
            assert it.client.call("GET", "http://orders/")[1] == b"ok"
            return len(it.upstream._live) <= 1

        wait_until(is_last_left)


def _is_connected_to(sock: socket.socket, port: int) -> bool:
    try:
        return sock.family == socket.AF_INET and sock.getpeername()[1] == port
    except OSError:
        return False  # it is not connected


def own_end(port: int) -> socket.socket:
    """This process's end of a connection to a port: a second handle of the same socket."""
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):  # closed meanwhile
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                sock = socket.socket(fileno=os.dup(int(name)))
                if _is_connected_to(sock, port):
                    return sock
                sock.close()
    raise AssertionError("there is no connection")


def test_keep_alive_is_set_on_the_live_socket(driver):
    """tcpKeepalive, in the kernel's words."""
    pool = "tcp: {tcpKeepalive: {probes: 3, time: 7s, interval: 2s}}"
    with ruled(driver, pool) as it:
        it.client.call("GET", "http://orders/")
        with own_end(it.upstream.port) as sock:
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert sock.getsockopt(socket.IPPROTO_TCP, KEEP_IDLE) == 7
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == 2
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 3
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_without_a_rule_nobody_probes(driver):
    """As without the mesh."""
    with ruled(driver, "tcp: {connectTimeout: 5s}") as it:
        it.client.call("GET", "http://orders/")
        with own_end(it.upstream.port) as sock:
            assert not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


V1_OR_ANY = "match: [{uri: {exact: /v1}}]}, {route: [{destination: {host: orders, subset: all}}]"


def test_subsets_with_rules_of_their_own_share_no_connection(driver):
    """A rule says what each connection of its pool is; two subsets of one rule do share."""
    with closing(Upstream([OK])) as upstream:
        text = service("orders", upstream, subset="all")
        own = "trafficPolicy: {connectionPool: {tcp: {maxConnectionDuration: 1h}}}"
        text = text.replace(
            "subsets: [{name: all, labels: {in: all}}]",
            f"subsets: [{{name: all, labels: {{in: all}}, {own}}}]",
        )
        assert own in text
        world = World(text, route(V1_OR_ANY))
        with driver.client(world) as client:
            for path in ("/v1", "/v2", "/v1", "/v2"):
                client.call("GET", f"http://orders{path}")
        assert [request.connection for request in upstream.requests] == [1, 2, 1, 2]


def test_a_changed_rule_makes_new_connections_and_closes_the_old(driver):
    """The old one is let end what it is about, and is closed when it is idle."""
    answered = Wait()
    with ruled(
        driver,
        "http: {maxRequestsPerConnection: 9}",
        script=[OK, [http()[:-1], answered, b"k"], OK],
    ) as it:
        it.client.call("GET", "http://orders/")
        slow = it.client.open("GET", "http://orders/")
        policy = "connectionPool: {http: {maxRequestsPerConnection: 8}}"
        it.world.apply([service("orders", it.upstream, policy=policy)])
        it.client.call("GET", "http://orders/")
        answered.event.set()
        assert slow.read() == b"ok"  # from the connection of the old rule
        for _ in range(2):  # the first of them closes it
            it.client.call("GET", "http://orders/")
        wait_until(lambda: len(it.upstream._live) == 1)
        assert connections(it) == [1, 1, 2, 2, 2]
