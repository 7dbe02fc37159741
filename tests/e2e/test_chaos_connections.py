"""Peers that take a connection and do nothing with it, or do not even take it, or reset it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import pytest
from chaos import in_use
from client_world import every_driver, route, service, staged
from lasting import lasting
from upstreams import OK, RESET, Drip, Upstream, chunked

from meshware.testing import TestMesh

pytestmark = [every_driver, pytest.mark.alone]

HEAD = b"HTTP/1.1 200 OK\r\nX-Said: this\r\nContent-Length: 5\r\n\r\n"


@contextmanager
def listening(backlog: int, *, is_full: bool) -> Iterator[int]:
    """A port where nobody accepts; when its queue is full, the system drops who wants in."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=backlog))
        port: int = listener.getsockname()[1]
        while is_full:
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.05)
            try:
                waiting.connect(("127.0.0.1", port))
            except TimeoutError:
                break
        yield port


def connecting_takes(timeout: str) -> str:
    """What a traffic policy says of that."""
    return f"connectionPool: {{tcp: {{connectTimeout: {timeout}}}}}"


def world(*ports: int, policy: str, rule: str) -> TestMesh:
    """The service at these ports, under a traffic policy."""
    text = service("orders", *ports)
    default = "loadBalancer: {simple: ROUND_ROBIN}"
    return TestMesh([text.replace(default, f"{default}, {policy}"), route(rule)])


def test_a_connection_that_never_comes_about_is_cut_at_connect_timeout(driver):
    """It is 503 UF, nothing was sent, and a retry goes to somebody who answers."""
    with listening(0, is_full=True) as hole, closing(Upstream([OK])) as upstream:
        mesh = world(
            hole, policy=connecting_takes("200ms"), rule="timeout: 10s, retries: {attempts: 0}"
        )
        with driver.client(mesh) as client:
            with lasting(0.2):
                response, body = client.call("POST", "http://orders/", body=b"once")
            assert (response.status, response.info.flags, response.info.attempts) == (503, "UF", 1)
            assert body.endswith(b"reset reason: connection timeout")

        rule = "timeout: 10s, retries: {attempts: 1, retryOn: connect-failure, backoff: 1ms}"
        mesh = world(hole, upstream.port, policy=connecting_takes("200ms"), rule=rule)
        with driver.client(mesh) as client:
            answers = [client.call("POST", "http://orders/", body=b"once")[0] for _ in range(2)]
            assert [answer.status for answer in answers] == [200, 200]
            assert max(answer.info.attempts for answer in answers) == 2
        assert [request.body for request in upstream.requests] == [b"once"] * 2
        assert in_use(mesh) == ""


def test_the_calls_own_time_is_up_before_connect_timeout(driver):
    """Policy's is 504 UT, the caller's the library's exception; Istio's 10 s are not waited for."""
    with listening(0, is_full=True) as hole:
        mesh = world(hole, policy=connecting_takes("10s"), rule="timeout: 300ms")
        with driver.client(mesh) as client:
            with lasting(0.3):
                response, _ = client.call("GET", "http://orders/")
            assert (response.status, response.info.flags) == (504, "UT")
            if driver.can("counts connecting into the caller's time-out for the wait"):
                with lasting(0.2), pytest.raises(driver.error):
                    client.call("GET", "http://orders/", timeout_s=0.2)
            else:
                with lasting(0.3):
                    response, _ = client.call("GET", "http://orders/", timeout_s=0.2)
                assert (response.status, response.info.flags) == (504, "UT")
        assert in_use(mesh) == ""


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")  # aiohttp's advice
def test_a_peer_that_accepts_in_name_only_is_cut_at_the_timeout(driver):
    """The system took the connection and the request; no process ever will."""
    with listening(8, is_full=False) as port:
        mesh = world(
            port, policy=connecting_takes("5s"), rule="timeout: 300ms, retries: {attempts: 0}"
        )
        with driver.client(mesh) as client:
            with lasting(0.3):
                response, _ = client.call("PUT", "http://orders/", body=b"x" * 10)
            assert (response.status, response.info.flags) == (504, "UT")
            with lasting(0.3):  # more than the buffers of the system take
                response, _ = client.call("PUT", "http://orders/", body=b"x" * 30_000_000)
            assert (response.status, response.info.flags) == (504, "UT")
        assert in_use(mesh) == ""


@pytest.mark.parametrize("length", [0, 1, 9, 20, 40], ids="after {} bytes".format)
def test_a_reset_in_the_head_is_the_meshs_answer_and_may_be_tried_again(driver, length):
    """Nothing of it reached the caller yet. 503 UC, as where nothing had come at all."""
    broken = [HEAD[:length], RESET] if length else [RESET]
    with staged(driver, scripts=[[broken]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (503, "UC")
        assert body.endswith(b"reset reason: connection termination")
        assert in_use(it.world) == ""
    rule = route("retries: {attempts: 1, retryOn: reset, backoff: 1ms}")
    with staged(driver, rule, scripts=[[broken, OK]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body, response.info.attempts) == (200, b"ok", 2)


def test_slow_peers_do_not_slow_the_others_down(driver):
    """Twenty calls that get a byte now and then, and one at a time that is answered at once."""
    slow = [[b"HTTP/1.1 200 OK\r\n", Drip(b"X-Long: header\r\n" * 9, 0.1)]]
    slow_body = [[chunked(b"a", end=b""), Drip(b"1\r\nx\r\n" * 9, 0.1)]]
    with ExitStack() as stack:
        names = {"head": slow, "body": slow_body, "quick": [OK]}
        upstreams = {name: stack.enter_context(closing(Upstream(names[name]))) for name in names}
        policies = [
            service(name, upstreams[name])
            + "---"
            + route("timeout: 1s, retries: {attempts: 0}", name)
            for name in names
        ]
        mesh = TestMesh(policies)
        client = stack.enter_context(driver.client(mesh))

        def slowly(name: str) -> str:
            with lasting(1.0):
                response = client.open("GET", f"http://{name}/")
                if response.status == 504:
                    return response.info.flags
                with pytest.raises(driver.error):
                    response.read()
                response.close()
                return "cut"

        with ThreadPoolExecutor(20) as threads:
            begun = [threads.submit(slowly, name) for name in ("head", "body") * 10]
            quick = []
            while not all(done.done() for done in begun):
                at = time.monotonic()
                assert client.call("GET", "http://quick/")[1] == b"ok"
                quick.append(time.monotonic() - at)
            assert [done.result() for done in begun] == ["UT", "cut"] * 10
        assert sorted(quick)[len(quick) // 2] < 0.2, quick
        for name in ("head", "body"):
            upstreams[name].wait_until_left()
        assert in_use(mesh) == ""
