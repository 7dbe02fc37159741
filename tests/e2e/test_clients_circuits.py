"""Outlier detection, limits and stickiness over real sockets, the same over every client."""

from __future__ import annotations

import json
from collections import Counter

from client_drivers import Driver
from client_world import Stage, every_driver, service, staged
from upstreams import FAILS, HANG, OK, http


def limited(it: Stage, **policy: object) -> None:
    """Give the service of a stage another traffic policy."""
    text = service("orders", *it.upstreams)
    before = "trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}"
    assert before in text
    it.world.apply(text.replace(before, f"trafficPolicy: {json.dumps(policy)}"))


def answers(it: Stage) -> Counter[int]:
    """How many requests came to each upstream, by its place."""
    return Counter({n: len(upstream.requests) for n, upstream in enumerate(it.upstreams)})


@every_driver
def test_an_endpoint_that_fails_is_asked_no_more(driver: Driver):
    """After the first error here; its neighbour takes its calls."""
    outlier = {"consecutive5xxErrors": 1, "maxEjectionPercent": 50, "baseEjectionTime": "60s"}
    with staged(driver, scripts=[[FAILS], [OK]]) as it:
        limited(it, loadBalancer={"simple": "ROUND_ROBIN"}, outlierDetection=outlier)
        statuses = [it.client.call("GET", "http://orders/")[0].status for _ in range(8)]
        assert sorted(statuses) == [200] * 7 + [500]
        assert answers(it) == {0: 1, 1: 7}


@every_driver
def test_a_call_over_the_limit_is_answered_without_asking_anybody(driver: Driver):
    """A body that is not read yet is a request under way."""
    body = [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe", HANG]
    with staged(driver, scripts=[[body]]) as it:
        limited(it, connectionPool={"http": {"http2MaxRequests": 1}})
        first = it.client.open("GET", "http://orders/")
        second, text = it.client.call("GET", "http://orders/")
        assert (second.status, second.info.flags) == (503, "UO")
        assert text.endswith(b"reset reason: overflow")
        assert second.headers["x-envoy-overloaded"] == "true"
        first.close()
        assert it.requests == 1


@every_driver
def test_a_cookie_keeps_the_caller_at_one_endpoint(driver: Driver):
    """The mesh makes it, the library's own jar brings it back."""
    hashing = {"httpCookie": {"name": "who", "ttl": "60s", "path": "/"}}
    with staged(driver, scripts=[[[http()]]] * 3) as it:
        limited(it, loadBalancer={"consistentHash": hashing})
        first, _ = it.client.call("GET", "http://orders/")
        assert first.headers["set-cookie"].startswith('who="')
        own = None if driver.can("keeps cookies") else first.headers["set-cookie"].split(";")[0]
        for _ in range(6):
            headers = {} if own is None else {"Cookie": own}
            again, _ = it.client.call("GET", "http://orders/", headers=headers)
            assert "set-cookie" not in again.headers
        assert sorted(answers(it).values()) == [0, 0, 7]
