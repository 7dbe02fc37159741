"""A connection that the server closes as idle is nobody's failure, where repeating it hurts nobody.

Every server closes connections on which nothing comes for a while, and the next request may be on
its way just then. Policy says nothing about retries here: this is not one of them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from client_calls import Client, Once
from client_drivers import DRIVERS
from client_world import World, declared_safe, every_driver, kept, route, service, staged
from inbound_servers import PolicyFile, serving
from inbound_world import policy, to
from upstreams import CLOSE, OK, RESET, Wait, http

NO_RETRIES = route("retries: {attempts: 0}")
every_end = pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "reset"])


@every_driver
@every_end
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_what_is_safe_goes_over_a_fresh_connection(driver, method, end):
    """As the same attempt: policy allows none but the first, and the endpoint has not failed."""
    outlier = "outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100}"
    with staged(driver, NO_RETRIES, scripts=[[OK, [end], OK]]) as it:
        text = service("orders", *it.upstreams)
        it.world.apply(
            [text.replace("trafficPolicy: {", f"trafficPolicy: {{{outlier}, "), NO_RETRIES]
        )
        it.client.call("GET", "http://orders/")
        body = b"whole" * 10_000 if method == "PUT" else None
        response, text = it.client.call(method, "http://orders/", body=body)
        assert (response.status, text) == (200, b"ok")
        assert (response.info.attempts, response.info.flags) == (1, "-")
        first, lost, again = it.upstream.requests
        assert (first.connection, lost.connection, again.connection) == (1, 1, 2)
        assert lost.body == again.body == (body or b"")
        assert [request["x-envoy-attempt-count"] for request in (lost, again)] == ["1", "1"]
        assert lost["x-request-id"] == again["x-request-id"]
        assert it.client.call("GET", "http://orders/")[0].status == 200  # not ejected


@every_driver
@every_end
def test_what_is_not_safe_is_sent_once(driver, end):
    """The server may have acted on it before it closed."""
    with staged(driver, NO_RETRIES, scripts=[[OK, [end], OK]]) as it:
        it.client.call("GET", "http://orders/")
        response, _ = it.client.call("POST", "http://orders/", body=b"pay")
        assert (response.status, response.info.flags, it.requests) == (503, "UC", 2)


@every_driver
@pytest.mark.parametrize("is_safe", [True, False])
def test_the_owners_word_counts(driver, is_safe):
    """As for retries: for a POST, and against a GET."""
    method = "POST" if is_safe else "GET"
    policies = [NO_RETRIES, declared_safe(method, is_safe=is_safe)]
    with staged(driver, *policies, scripts=[[OK, [CLOSE], OK]]) as it:
        it.client.call("PUT", "http://orders/", body=b"x")
        response, _ = it.client.call(method, "http://orders/")
        assert (response.status, it.requests) == ((200, 3) if is_safe else (503, 2))


@every_driver
def test_a_body_that_is_gone_is_not_sent_again(driver):
    """What is left of it would be another request."""
    with staged(driver, NO_RETRIES, kept(0), scripts=[[OK, [CLOSE], OK]]) as it:
        it.client.call("GET", "http://orders/")
        response, _ = it.client.call("PUT", "http://orders/", body=Once(b"ab", b"cd"))
        assert (response.status, response.info.flags, it.requests) == (503, "UC", 2)


@every_driver
@every_end
def test_a_fresh_connection_that_is_lost_is_a_failure(driver, end):
    """The server has not closed it as idle; and one more is all there is."""
    with staged(driver, NO_RETRIES, scripts=[[[end]]]) as it:
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags, it.requests) == (503, "UC", 1)
    with staged(driver, NO_RETRIES, scripts=[[OK, [end]]]) as it:
        it.client.call("GET", "http://orders/")
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags, it.requests) == (503, "UC", 3)
        assert response.info.attempts == 1


@every_driver
def test_one_of_many_idle_connections_does_not_take_them_all_along(driver):
    """Sent again over a connection of its own, not over the next that may be stale as well."""
    go = Wait()
    with staged(driver, NO_RETRIES, scripts=[[[go, http()]] * 4 + [[CLOSE], OK]]) as it:
        with ThreadPoolExecutor(4) as threads:
            calls = [threads.submit(it.client.call, "GET", "http://orders/") for _ in range(4)]
            it.upstream.wait_until_requests(4)
            go.event.set()
            assert {call.result()[0].status for call in calls} == {200}
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, it.requests) == (200, 6)
        assert it.upstream.requests[-1].connection == 5


@every_driver
def test_an_answer_that_began_is_not_asked_for_again(driver):
    """The server was there: what came of it is a broken answer."""
    with staged(driver, NO_RETRIES, scripts=[[OK, [b"HTTP/1.1 2", CLOSE], OK]]) as it:
        it.client.call("GET", "http://orders/")
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags, it.requests) == (502, "UPE", 2)


def test_gunicorns_idle_timeout_is_never_seen(tmp_path):
    """It closes after 2 s; callers of every kind come just then, and find an answer each time."""
    policy_file = PolicyFile(tmp_path / "run")
    policy_file.write(policy("ALLOW", to(paths=["/*"])))
    command = ["gunicorn", "--no-control-socket", "--log-level", "info", "--keep-alive", "2"]
    command += ["-b", "127.0.0.1:0", "-k", "gthread", "--threads", "64", "served:wsgi"]
    with serving(command, tmp_path / "server", policy_file.path) as server, ExitStack() as stack:
        world = World(service("orders", server.port), NO_RETRIES)

        def call(kind: str, client: Client, seed: int) -> Counter[tuple[str, int]]:
            chance = random.Random(seed)
            found: Counter[tuple[str, int]] = Counter()
            for _ in range(6):
                response, _ = client.call("GET", "http://orders/")
                found[kind, response.status] += 1
                time.sleep(1.97 + chance.random() * 0.06)
            return found

        with ThreadPoolExecutor(8 * len(DRIVERS)) as threads:
            calls = []
            for driver in DRIVERS:
                client = stack.enter_context(driver.client(world))
                calls += [threads.submit(call, driver.name, client, seed) for seed in range(8)]
            found = sum((done.result() for done in calls), Counter())
        assert found == {(driver.name, 200): 48 for driver in DRIVERS}
        assert world.nothing_in_flight()
        stale = [said for said in world.said if said[0] == "failure"]
        print(f"sent again: {len(stale)} of {found.total()}")
