"""Which connection a call goes over: kept for the next one, shared with no other service."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from client_calls import Once
from client_world import World, every_driver, route, service, staged
from upstreams import CLOSE, FAILS, OK, RESET, Upstream, Wait, chunked, http

pytestmark = every_driver


@pytest.mark.parametrize("answer", [http(), chunked(b"ok")], ids=["by length", "in chunks"])
def test_a_connection_is_used_again(driver, answer):
    """As long as bodies are read to their end."""
    with staged(driver, scripts=[[[answer]]]) as it:
        for method, body in (("GET", None), ("POST", b"x"), ("PUT", Once(b"a", b"b"))) * 2:
            assert it.client.call(method, "http://orders/", body=body)[1] == b"ok"
        assert (it.upstream.connections, it.requests) == (1, 6)


def test_a_connection_that_the_server_ends_is_not_kept(driver):
    """Whether it says so or is of HTTP/1.0."""
    endings = [http(200, b"ok", "Connection: close"), http().replace(b"HTTP/1.1", b"HTTP/1.0")]
    with staged(driver, scripts=[[[ending, CLOSE] for ending in endings]]) as it:
        for _ in endings:
            assert it.client.call("GET", "http://orders/")[1] == b"ok"
        assert it.upstream.connections == 2


@pytest.mark.parametrize("body", [None, b"pay", "once"], ids=["GET", "POST", "a one-shot body"])
def test_a_connection_that_went_stale_is_not_used(driver, body):
    """The server has closed it since: nothing is sent over it, so anything may be."""
    with staged(driver, scripts=[[OK]]) as it:
        it.client.call("GET", "http://orders/")
        it.upstream.close_idle()
        response, _ = it.client.call(
            "GET" if body is None else "POST",
            "http://orders/",
            body=Once(b"pa", b"y") if body == "once" else body,
        )
        assert (response.status, response.info.attempts) == (200, 1)
        assert it.upstream.requests[-1].body == (b"pay" if body else b"")
        assert (it.upstream.connections, it.requests) == (2, 2)


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "reset"])
@pytest.mark.parametrize(
    ("method", "status", "sent"), [("GET", 200, 3), ("POST", 503, 2)], ids=["GET", "POST"]
)
def test_a_connection_that_ends_as_it_is_used_is_tried_again_if_safe(
    driver, method, status, sent, end
):
    """The server may have acted on what came, and closed then: only what is safe goes again."""
    rule = route("retries: {attempts: 2, retryOn: reset}")
    with staged(driver, rule, scripts=[[OK, [end], OK]]) as it:
        it.client.call("GET", "http://orders/")
        response, _ = it.client.call(method, "http://orders/")
        assert (response.status, it.requests) == (status, sent)
        assert it.upstream.requests[1].connection == 1


def test_two_services_at_one_address_share_no_connection(driver):
    """What one was checked for says nothing about the other."""
    with closing(Upstream([OK])) as upstream:
        world = World(service("orders", upstream) + "---" + service("stock", upstream))
        with driver.client(world) as client:
            for name in ("orders", "stock", "orders", "stock"):
                assert client.call("GET", f"http://{name}/")[1] == b"ok"
        seen = [(request["host"], request.connection) for request in upstream.requests]
        assert seen == [("orders", 1), ("stock", 2)] * 2


def test_the_subsets_of_a_service_share_connections(driver):
    """They are one service, and were checked as one."""
    rule = route(
        "match: [{uri: {exact: /v1}}]}, {route: [{destination: {host: orders, subset: all}}]"
    )
    with closing(Upstream([OK])) as upstream:
        world = World(service("orders", upstream, subset="all"), rule)
        with driver.client(world) as client:
            for path in ("/v1", "/v2"):
                response, _ = client.call("GET", f"http://orders{path}")
                assert response.status == 200
        assert {event.cluster for event in world.told} == {
            "outbound|80||orders.default.svc.cluster.local",
            "outbound|80|all|orders.default.svc.cluster.local",
        }
        assert upstream.connections == 1


def test_calls_at_the_same_time_have_a_connection_each(driver):
    """As many as there are calls; nobody waits for another's answer, and none is mixed up."""
    together = threading.Barrier(8, timeout=10)
    answer = [together.wait, http()]
    with staged(driver, scripts=[[answer]]) as it:
        with ThreadPoolExecutor(8) as threads:
            calls = [
                threads.submit(it.client.call, "GET", f"http://orders/{n}", headers={"X-N": str(n)})
                for n in range(8)
            ]
            assert {call.result()[1] for call in calls} == {b"ok"}
        assert it.upstream.connections == 8
        assert all(request.target == f"/{request['x-n']}" for request in it.upstream.requests)


def test_a_retry_goes_to_another_endpoint(driver):
    """And the caller is told which one answered."""
    rule = route("retries: {attempts: 1, retryOn: 5xx}")
    with staged(driver, rule, scripts=[[FAILS], [FAILS]]) as it:
        response, _ = it.client.call("GET", "http://orders/")
        assert [len(upstream.requests) for upstream in it.upstreams] == [1, 1]
        [last] = [up for up in it.upstreams if up.requests[0]["x-envoy-attempt-count"] == "2"]
        assert response.info.endpoint == last.key


def test_closing_the_client_closes_its_connections(driver):
    """Idle ones at once; also those of what passes through."""
    with staged(driver, scripts=[[OK]]) as it:
        it.client.call("GET", "http://orders/")
        it.client.call("GET", f"http://{it.upstream.key}/")
        assert it.upstream.connections == 2
        it.client.close()
        it.upstream.wait_until_left()


def test_a_call_keeps_the_policy_that_it_began_with(driver):
    """A swap in the middle of it changes the next call, not this one."""
    answered = Wait()
    rule = route("retries: {attempts: 1, retryOn: 5xx}")
    with staged(driver, rule, scripts=[[[answered, *FAILS], OK]]) as it:
        with ThreadPoolExecutor(1) as threads:
            call = threads.submit(it.client.call, "GET", "http://orders/")
            it.upstream.wait_until_seen()
            it.world.apply([service("other")])
            answered.event.set()
            response, _ = call.result()
        assert (response.status, response.info.attempts) == (200, 2)
        assert it.world.last.generation == 1
