"""Time-outs: policy's answer, the caller's raise, and neither is fooled by a byte now and then.

These are the tests of this project that do look at the clock: that a call ends in time is what is
promised. The slack is for machines that have other things to do.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import anyio
import pytest
from client_calls import Once
from client_drivers import DRIVERS
from client_world import World, every_driver, route, service, staged
from lasting import lasting
from upstreams import CLOSE, FAILS, HANG, OK, Drip, Upstream, chunked, http

pytestmark = pytest.mark.alone

HEAD = b"HTTP/1.1 200 OK\r\n" + b"X-Long: header\r\n" * 3
NOT_TRIO = [driver for driver in DRIVERS if driver.backend != "trio"]  # it warns, as without us
BY_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"
IN_CHUNKS = chunked(end=b"")

SLOW = {
    "head": [Drip(HEAD[:40], 0.15), CLOSE],
    "head-a-byte-a-second": [Drip(HEAD[:6], 1.0), CLOSE],
    "body": [BY_LENGTH, Drip(40 * b"x", 0.15), CLOSE],
    "body-a-byte-a-second": [BY_LENGTH, Drip(6 * b"x", 1.0), CLOSE],
    "chunks": [IN_CHUNKS, Drip(8 * b"1\r\nx\r\n", 0.15), CLOSE],
    "chunks-a-byte-a-second": [IN_CHUNKS, Drip(b"1\r\nx\r\n", 1.0), CLOSE],
}


@every_driver
def test_what_comes_byte_by_byte_is_cut_at_the_timeout(driver):
    """A head ends as 504, as when nothing had come; a body as the library's exception.

    Side by side, because that is quicker, and because one call's time is not another's.
    """

    def call(name: str) -> None:
        with lasting(1.0):
            response = client.open("GET", f"http://{name}/")
            if name.startswith("head"):
                assert (response.status, response.info.flags) == (504, "UT")
                assert response.read() == b"upstream request timeout"
            else:
                assert response.status == 200
                with pytest.raises(driver.errors.body_timed_out):
                    response.read()

    with ExitStack() as stack:
        slow = {name: stack.enter_context(closing(Upstream([SLOW[name]]))) for name in SLOW}
        policies = [service(name, slow[name]) + "---" + route("timeout: 1s", name) for name in SLOW]
        world = World(*policies)
        client = stack.enter_context(driver.client(world))
        with ThreadPoolExecutor(len(SLOW)) as threads:
            for done in [threads.submit(call, name) for name in SLOW]:
                done.result()
        for upstream in slow.values():
            upstream.wait_until_left()
        assert [event.flags for event in world.told] == ["UT"] * len(SLOW)
        assert [event.status for event in world.told if not event.complete] == [200] * 4
        assert world.nothing_in_flight()


@every_driver
@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's, to whom sends one
def test_a_request_that_the_upstream_does_not_take_is_cut_at_the_timeout(driver):
    """It stops reading, so that the system's buffers fill up."""
    with staged(driver, route("timeout: 300ms"), scripts=[[[HANG]]]) as it:
        it.upstream.answers_early = True
        with lasting(0.3):
            response, _ = it.client.call("PUT", "http://orders/", body=b"x" * 30_000_000)
        assert (response.status, response.info.flags) == (504, "UT")


@every_driver
def test_nothing_is_sent_after_the_total_timeout(driver):
    """Whatever policy would retry; the time-out spans all attempts and the waits between."""
    rule = route(
        "timeout: 250ms, retries: {attempts: 9, perTryTimeout: 100ms, retryOn: 5xx, backoff: 1ms}"
    )
    with staged(driver, rule, scripts=[[[HANG]]]) as it:
        with lasting(0.25):
            response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body) == (504, b"upstream request timeout")
        assert response.info.flags == "UT"
        made = response.info.attempts
        assert it.requests == made <= 3  # fewer on a machine that is slow just now
        time.sleep(0.1)  # as long as a try
        assert it.requests == made


@every_driver
def test_a_backoff_that_would_outlast_the_call_ends_with_it(driver):
    """No attempt follows it, not even one that would have been answered at once."""
    rule = route("timeout: 300ms, retries: {attempts: 9, retryOn: 5xx, backoff: 60s}")
    with staged(driver, rule, scripts=[[FAILS, OK]]) as it:
        with lasting(0.3):
            response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags, it.requests) == (504, "UT", 1)


@every_driver
def test_a_slow_try_is_repeated_within_the_time_for_one(driver):
    """A per-try time-out is a failed attempt like any other."""
    rule = route("timeout: 10s, retries: {attempts: 2, perTryTimeout: 200ms, retryOn: 5xx}")
    with staged(driver, rule, scripts=[[[Drip(HEAD, 0.1)], OK]]) as it:
        with lasting(0.2):
            response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.attempts, response.info.flags) == (200, 2, "-")


@every_driver
@pytest.mark.parametrize("answer", [[HANG], [Drip(HEAD, 0.1)]], ids=["silence", "bytes"])
def test_the_callers_timeout_bounds_the_whole_wait_for_headers(driver, answer):
    """All attempts together, as it would with a sidecar; it raises the library's own exception."""
    rule = route("timeout: 10s, retries: {attempts: 9, perTryTimeout: 150ms, retryOn: 5xx}")
    with staged(driver, rule, scripts=[[answer]]) as it:
        with lasting(0.25), pytest.raises(driver.errors.headers_timed_out) as caught:
            it.client.open("GET", "http://orders/", timeout_s=0.25)
        if hasattr(caught.value, "request"):
            assert caught.value.request.url == "http://orders/"
        assert (it.world.last.flags, it.world.last.status) == ("DC", 0)
        assert it.requests == it.world.last.attempts <= 2  # one on a machine that is slow just now
        it.upstream.wait_until_left()


@every_driver
def test_policys_timeout_answers_where_it_is_the_earlier_one(driver):
    """And the caller's raises where that is: each in its own way."""
    with staged(driver, route("timeout: 300ms"), scripts=[[[HANG]]]) as it:
        with lasting(0.3):
            response, _ = it.client.call("GET", "http://orders/", timeout_s=5)
        assert (response.status, response.info.flags) == (504, "UT")


@every_driver
def test_the_callers_timeout_is_for_single_reads_of_a_body(driver):
    """As the libraries say it: a slow body is theirs to read for as long as it goes on."""
    script = [[b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", Drip(b"hello worlds", 0.03)]]
    silent = [[b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", HANG]]
    with staged(driver, scripts=[script + silent]) as it:
        with lasting(12 * 0.03):
            _, body = it.client.call("GET", "http://orders/", timeout_s=0.2)
        assert body == b"hello worlds"
        with lasting(0.2), pytest.raises(driver.errors.body_timed_out):
            it.client.call("GET", "http://orders/", timeout_s=0.2)
        assert [event.flags for event in it.world.told] == ["-", "UT"]


@every_driver
def test_a_call_without_any_timeout_waits(driver):
    """Istio's default is none, and the libraries may be told so too."""
    with staged(driver, scripts=[[[Drip(http(200, b"slow"), 0.005)]]]) as it:
        response, body = it.client.call("GET", "http://orders/", body=None, timeout_s=None)
        assert (response.status, body) == (200, b"slow")


@pytest.mark.parametrize("driver", NOT_TRIO, ids=[driver.name for driver in NOT_TRIO])
def test_a_slow_body_of_the_callers_own_counts(driver):
    """The time-out of policy is for the call, whoever is slow."""

    class Slow(Once):
        def __iter__(self):
            for chunk in super().__iter__():
                time.sleep(0.1)
                yield chunk

        async def __aiter__(self):
            for chunk in super().__iter__():
                await anyio.sleep(0.1)
                yield chunk

    with staged(driver, route("timeout: 150ms"), scripts=[[OK]]) as it:
        response, _ = it.client.call("PUT", "http://orders/", body=Slow(*[b"x"] * 4))
        assert (response.status, response.info.flags) == (504, "UT")
        assert not any(request.is_whole for request in it.upstream.requests)


@every_driver
def test_the_time_of_one_call_is_not_that_of_the_next_on_its_connection(driver):
    """A kept connection obeys whoever uses it now, and nobody after."""
    with staged(driver, route("timeout: 250ms"), scripts=[[OK, [Drip(http(), 0.002)]]]) as it:
        assert it.client.call("GET", "http://orders/")[0].status == 200
        time.sleep(0.2)
        assert it.client.call("GET", "http://orders/")[1] == b"ok"
        assert it.upstream.connections == 1
