"""Whose failure it is: before the headers a response of the mesh, behind them an exception."""

from __future__ import annotations

import pytest
from client_world import REGISTRY_ONLY, every_driver, route, service, staged
from upstreams import CLOSE, OK, RESET, chunked, http, refusing

pytestmark = every_driver

CONNECT_ERROR = "upstream connect error or disconnect/reset before headers. "
CUT = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"

NO_ROUTE = route("match: [{uri: {exact: /other}}]")
NOBODY = route("", to="{host: orders, subset: nobody}")
OTHER = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: other}
spec:
  hosts: [other]
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}, {number: 8081, name: more, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1}]
---
"""
NO_CLUSTER = OTHER + route("", to="{host: other}")  # the port is the caller's: 80


def test_a_refused_connection_is_503_uf(driver):
    """After the retries that the default policy allows."""
    with refusing() as port, staged(driver, scripts=[], refusing=port) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert response.status == 503
        assert body.decode() == (
            f"{CONNECT_ERROR}retried and the latest reset reason: remote connection failure, "
            "transport failure reason: delayed connect error: Connection refused"
        )
        assert response.headers["content-type"] == "text/plain"
        assert response.headers["content-length"] == str(len(body))
        assert (response.info.flags, response.info.attempts) == ("UF,URX", 3)
        assert response.info.endpoint == f"127.0.0.1:{port}"


@pytest.mark.parametrize("end", [CLOSE, RESET], ids=["closed", "reset"])
def test_a_connection_lost_before_the_headers_is_503_uc(driver, end):
    """Once only: by default a request that was sent is not sent again."""
    with staged(driver, scripts=[[[end]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert response.status == 503
        assert body.decode() == f"{CONNECT_ERROR}reset reason: connection termination"
        assert (response.info.flags, it.requests) == ("UC", 1)


@pytest.mark.parametrize(
    ("rule", "status", "body", "flags"),
    [
        (NO_ROUTE, 404, "", "NR"),
        (NOBODY, 503, "no healthy upstream", "UH"),
        (NO_CLUSTER, 503, "", "NC"),
    ],
    ids=["no route", "no endpoint", "no such port"],
)
def test_what_policy_cannot_place_is_answered_without_a_connection(
    driver, rule, status, body, flags
):
    """Each as Envoy answers it."""
    with staged(driver, rule, scripts=[[OK]]) as it:
        response, received = it.client.call("GET", "http://orders/")
        assert (response.status, received.decode()) == (status, body)
        assert (response.info.flags, response.info.attempts) == (flags, 0)
        assert response.info.endpoint is None
        assert it.upstream.connections == 0


def test_an_unknown_host_is_an_empty_502_where_only_the_registry_may_be_called(driver):
    """No flag and no connection, as Istio's BlackHoleCluster."""
    with staged(driver, REGISTRY_ONLY, scripts=[[OK]]) as it:
        response, body = it.client.call("GET", f"http://{it.upstream.key}/")
        assert (response.status, body, response.info.flags) == (502, b"", "-")
        assert response.info.route == "block_all"
        assert it.upstream.connections == 0
        assert it.client.call("GET", "http://orders/")[1] == b"ok"


def test_a_head_request_gets_a_reply_without_a_body(driver):
    """Its length tells what a GET would get."""
    with staged(driver, route("match: [{method: {exact: PUT}}]"), scripts=[[OK]]) as it:
        response, body = it.client.call("HEAD", "http://orders/")
        assert (response.status, body) == (404, b"")
    with refusing() as port, staged(driver, scripts=[], refusing=port) as it:
        response, body = it.client.call("HEAD", "http://orders/")
        assert (response.status, body) == (503, b"")
        assert int(response.headers["content-length"]) > 80


@pytest.mark.parametrize(
    "answer",
    [
        [CUT, CLOSE],
        [CUT, RESET],
        [chunked(b"abc", end=b""), CLOSE],
        [chunked(b"abc", end=b""), RESET],
        [chunked(b"abc", end=b"5\r\nab"), CLOSE],
        [chunked(b"abc", end=b"5"), CLOSE],
        [chunked(b"abc", end=b"0"), CLOSE],
        [chunked(b"abc", end=b"0\r\n"), CLOSE],
        [chunked(b"abc", end=b"0\r\nX-Trailer: a\r\n"), CLOSE],
    ],
    ids=[
        "short of its length",
        "short of its length, reset",
        "between chunks",
        "between chunks, reset",
        "within a chunk",
        "within the size of a chunk",
        "within the size of the last chunk",
        "without its last line",
        "within the trailers",
    ],
)
def test_a_body_that_was_cut_is_the_librarys_exception(driver, answer):
    """Never a shorter success; the status that was given stands, and is told as not complete."""
    with staged(driver, route("retries: {attempts: 2, retryOn: 5xx}"), scripts=[[answer]]) as it:
        response = it.client.open("GET", "http://orders/")
        assert response.status == 200
        with pytest.raises(driver.error):
            response.read()
        response.close()
        assert it.requests == 1
        assert (it.world.last.status, it.world.last.complete) == (200, False)
        assert it.world.last.flags == ("UC" if RESET in answer else "UPE")
        assert it.world.nothing_in_flight()
        it.upstream.wait_until_left()


def test_a_call_that_reads_at_once_fails_the_same_way(driver):
    """As most apps call: no streaming, the body is there when the call returns."""
    with staged(driver, scripts=[[OK, [CUT, CLOSE], [chunked(b"a", end=b""), CLOSE]]]) as it:
        assert it.client.get("http://orders/") == (200, b"ok")
        for _ in range(2):
            with pytest.raises(driver.error):
                it.client.get("http://orders/")
        assert [event.flags for event in it.world.told] == ["-", "UPE", "UPE"]


def test_a_body_without_length_ends_with_its_connection(driver):
    """HTTP/1.0's way: nobody can tell a whole one from a cut one, so it is whole."""
    with staged(driver, scripts=[[[b"HTTP/1.1 200 OK\r\n\r\nabc", CLOSE]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body) == (200, b"abc")
        assert it.world.last.complete


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"),
        ("GET", http(200, b"")),
        ("GET", chunked()),
    ],
    ids=["HEAD", "204", "304", "no length", "no chunks"],
)
def test_an_answer_without_a_body_is_complete(driver, method, answer):
    """And its connection is used again."""
    with staged(driver, scripts=[[[answer]]]) as it:
        for _ in range(2):
            _, body = it.client.call(method, "http://orders/")
            assert body == b""
        assert [event.complete for event in it.world.told] == [True, True]
        assert it.upstream.connections == 1


@pytest.mark.filterwarnings("ignore:Sending a large body")  # aiohttp's, to whom sends one
def test_an_early_answer_to_a_long_request_is_the_answer(driver):
    """A server that refuses a body before it has it all is understood, not taken for broken."""
    refusal = [http(413, b"too long", "Connection: close"), CLOSE]
    with staged(driver, scripts=[[refusal]]) as it:
        it.upstream.answers_early = True
        response, body = it.client.call("PUT", "http://orders/", body=b"x" * 20_000_000)
        if response.info.flags == "-":  # else the system threw the answer away, with the connection
            assert (response.status, body) == (413, b"too long")
        else:
            assert (response.status, response.info.flags) == (503, "UC")
        assert it.requests == 1


def test_without_policy_nothing_goes_out(driver):
    """Fail closed: 503 with Retry-After, also for what would pass through."""
    with staged(driver, service("other"), scripts=[[OK]]) as it:
        it.world.cell.current = None
        for url in ("http://orders/", f"http://{it.upstream.key}/"):
            response, _ = it.client.call("GET", url)
            assert (response.status, response.headers["retry-after"]) == (503, "1")
        assert it.upstream.connections == 0
