"""Limits on connections over real sockets: who waits, who is refused, and that all get through."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

from client_world import Stage, every_driver, service, staged, wait_until
from upstreams import Wait, http


def limited(it: Stage, *more: str, **http_limits: int) -> None:
    """Give the service of a stage one connection."""
    text = service("orders", *it.upstreams)
    before = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"
    assert before in text
    pool = {"tcp": {"maxConnections": 1}, "http": http_limits}
    policy = json.dumps({"connectionPool": pool})
    it.world.apply([text.replace(before, f"trafficPolicy: {policy}"), *more])


LATE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - {match: [{uri: {exact: /late}}], route: [{destination: {host: orders}}], timeout: 200ms}
    - {route: [{destination: {host: orders}}]}
"""


def brief(client, path: str) -> tuple[int, str, bytes]:
    """Make a call; return its status, its flags and its body."""
    response, body = client.call("GET", f"http://orders{path}")
    return response.status, response.info.flags, body


@every_driver
def test_a_call_waits_for_the_only_connection(driver):
    """It is sent when the one before has ended; a third is refused at once."""
    held = Wait()
    script = [[held, http(200, b"first")], [http(200, b"second")]]
    with (
        staged(driver, scripts=[script]) as it,
        ThreadPoolExecutor(2) as pool,
    ):
        limited(it, http1MaxPendingRequests=1)
        first = pool.submit(brief, it.client, "/1")
        it.upstream.wait_until_seen()
        second = pool.submit(brief, it.client, "/2")
        wait_until(lambda: ("wait",) in it.world.said)
        status, flags, body = brief(it.client, "/3")
        assert (status, flags) == (503, "UO")
        assert body.endswith(b"reset reason: overflow")
        assert it.requests == 1
        held.event.set()
        assert first.result() == (200, "-", b"first")
        assert second.result() == (200, "-", b"second")
        assert it.requests == 2


@every_driver
def test_who_waits_too_long_is_told_so(driver):
    """504 by policy's time-out, while the connection stays with whoever has it."""
    held = Wait()
    with (
        staged(driver, scripts=[[[held, http(200, b"first")]]]) as it,
        ThreadPoolExecutor(1) as pool,
    ):
        limited(it, LATE)
        first = pool.submit(brief, it.client, "/1")
        it.upstream.wait_until_seen()
        assert brief(it.client, "/late") == (504, "UT", b"upstream request timeout")
        held.event.set()
        assert first.result() == (200, "-", b"first")
        assert it.requests == 1


@every_driver
def test_everybody_gets_a_turn(driver):
    """Forty calls through one connection, eight at a time."""
    with (
        staged(driver, scripts=[[[http()]]]) as it,
        ThreadPoolExecutor(8) as pool,
    ):
        limited(it)
        answers = list(pool.map(lambda n: brief(it.client, f"/{n}"), range(40)))
        assert answers == [(200, "-", b"ok")] * 40
        assert it.requests == 40
        assert it.upstream.connections == 1


@every_driver
def test_a_call_that_is_cancelled_while_it_waits_passes_its_turn_on(driver):
    """Whoever waits behind it gets the connection."""
    held = Wait()
    with (
        staged(driver, scripts=[[[held, http()], [http()]]]) as it,
        ThreadPoolExecutor(2) as pool,
    ):
        limited(it)
        first = pool.submit(brief, it.client, "/1")
        it.upstream.wait_until_seen()
        waits = WaitsFor(it.world)
        it.client.cancel_when(waits, lambda: it.client.call("GET", "http://orders/2"))
        third = pool.submit(brief, it.client, "/3")
        wait_until(lambda: it.world.said.count(("wait",)) == 2)
        held.event.set()
        assert first.result() == third.result() == (200, "-", b"ok")
        assert it.requests == 2


class WaitsFor:
    """An event that is set once somebody waits for a connection."""

    def __init__(self, world) -> None:
        self._world = world

    def wait(self, _timeout_s: float) -> bool:
        wait_until(lambda: ("wait",) in self._world.said)
        return True
