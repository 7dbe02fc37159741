"""Hosts that the mesh does not know: called as without it, which a bare client shows here."""

from __future__ import annotations

import pytest
import requests
from client_calls import Once
from client_drivers import Driver
from client_world import RETRY_5XX, every_driver, route, staged
from upstreams import CLOSE, FAILS, HANG, OK, PATIENCE_S, RESET, Upstream, http, refusing

pytestmark = every_driver

PROXIES = "goes to hosts that the mesh does not know through the environment's proxies"


def failure(driver: Driver, mesh, url: str, **options) -> tuple[type, type]:
    """Return the classes of the exception that a call ends with, and of what it says it is from."""
    with driver.client(mesh) as client, pytest.raises(driver.error) as caught:
        client.call("GET", url, **options)
    return type(caught.value), type(getattr(caught.value, "request", None))


def test_a_request_is_the_librarys_own(driver):
    """Not one header more or less, and none of ours."""
    options = {"headers": {"Host": "shop.example", "X-Mine": "1"}, "body": b"abc"}
    with staged(driver, scripts=[[OK]]) as it:
        url = f"http://{it.upstream.key}/a/%2e%2e/b?c=%20d"
        response, _ = it.client.call("POST", url, **options)
        with driver.client(None) as bare:
            bare.call("POST", url, **options)
        ours, theirs = it.upstream.requests
        assert (ours.headers, ours.target, ours.body) == (theirs.headers, theirs.target, b"abc")
        assert ours["host"] == "shop.example"
        assert (response.info.route, response.info.attempts) == ("allow_any", 1)
        assert response.info.endpoint is None


def test_an_answer_is_delivered_whatever_it_is(driver):
    """No retry, no policy: only an event that says so."""
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS]]) as it:
        response, body = it.client.call("GET", f"http://{it.upstream.key}/")
        assert (response.status, body, it.requests) == (500, b"broken", 1)
        assert (it.world.last.cluster, it.world.last.status) == ("PassthroughCluster", 500)
        assert it.world.last.complete


@pytest.mark.parametrize(
    "answer",
    [
        [CLOSE],
        [RESET],
        [b"SSH-2.0-OpenSSH\r\n", CLOSE],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", CLOSE],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab", CLOSE],
        [HANG],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", HANG],
    ],
    ids=["closed", "reset", "garbage", "cut", "cut chunk", "silent", "silent in its body"],
)
def test_a_failure_is_the_librarys_own(driver, answer):
    """The very exception that a bare client raises, and as many requests."""
    with staged(driver, route(RETRY_5XX), scripts=[[answer]]) as it:
        url = f"http://{it.upstream.key}/"
        bare = failure(driver, None, url, timeout_s=0.1)
        sent = it.requests
        if driver.can("sends a lost request to a host that the mesh does not know once"):
            assert sent == 1
        it.upstream.requests.clear()
        assert failure(driver, it.world, url, timeout_s=0.1) == bare
        assert it.requests == len(it.world.told) == sent
        assert not it.world.told[-1].complete


def test_a_refused_connection_is_the_librarys_own(driver):
    """No local reply for hosts that are not the mesh's."""
    with refusing() as port, staged(driver, scripts=[]) as it:
        url = f"http://127.0.0.1:{port}/"
        expected = driver.errors.refused
        assert failure(driver, it.world, url) == failure(driver, None, url)
        assert failure(driver, it.world, url)[0] is expected


def test_a_time_out_is_for_single_operations_there(driver):
    """As in the library without the mesh: a body that goes on may take longer."""
    body = [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", HANG]
    with staged(driver, route("timeout: 50ms"), scripts=[[body, OK]]) as it:
        url = f"http://{it.upstream.key}/"
        with pytest.raises(driver.errors.body_timed_out):
            it.client.call("GET", url, timeout_s=0.2)
        assert it.client.call("GET", url, timeout_s=PATIENCE_S)[1] == b"ok"


@pytest.mark.parametrize("is_back", [False, True], ids=["out of the mesh", "into the mesh"])
def test_a_redirect_is_followed_as_the_library_does(driver, is_back):
    """Each request is decided on its own: one may be the mesh's, the next one not."""
    with staged(driver, scripts=[[]]) as it:
        urls = ["http://orders/a", f"http://{it.upstream.key}/b"]
        start, target = reversed(urls) if is_back else urls
        it.upstream.script = [[http(302, b"", f"Location: {target}")], OK]
        response, body = it.client.call("GET", start, follow=True)
        assert (response.status, body) == (200, b"ok")
        assert response.info.route == ("default" if is_back else "allow_any")
        assert [event.status for event in it.world.told] == [302, 200]
        hosts = [request["host"] for request in it.upstream.requests]
        assert hosts == [url.split("/")[2] for url in (start, target)]
        with_attempts = [bool(r.all("x-envoy-attempt-count")) for r in it.upstream.requests]
        assert with_attempts == [not is_back, is_back]


def test_a_body_that_is_gone_is_sent_once(driver):
    """With the library's own headers."""
    with staged(driver, scripts=[[OK]]) as it:
        url = f"http://{it.upstream.key}/"
        assert it.client.call("POST", url, body=Once(b"ab", b"cd"))[1] == b"ok"
        [request] = it.upstream.requests
        assert (request.body, request.all("x-request-id")) == (b"abcd", [])


def test_the_environments_proxy_is_used_for_strangers_only(driver, monkeypatch):
    """A service of the mesh is dialled where policy says, whatever the environment says."""
    proxy = Upstream([[http(200, b"proxied")]])
    try:
        monkeypatch.setenv("http_proxy", f"http://{proxy.key}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        with staged(driver, scripts=[[OK]]) as it:
            if not driver.can(PROXIES):
                with pytest.raises(driver.error):  # there is no such host
                    it.client.call("GET", "http://stranger.invalid/")
                assert it.client.call("GET", "http://orders/")[1] == b"ok"
                assert proxy.requests == []
                return
            assert it.client.call("GET", "http://stranger.example/a?b")[1] == b"proxied"
            assert it.client.call("GET", "http://orders/")[1] == b"ok"
            assert it.client.call("GET", f"http://{it.upstream.key}/")[1] == b"ok"
        [request] = proxy.requests
        assert (request.target, request["host"]) == (
            "http://stranger.example/a?b",
            "stranger.example",
        )
    finally:
        proxy.close()


def test_a_session_keeps_its_cookies(driver):
    """Of strangers and of services alike: they are the library's business."""
    cookie = [http(200, b"", "Set-Cookie: a=1")]
    with staged(driver, scripts=[[cookie, OK, cookie, OK]]) as it:
        for url in (f"http://{it.upstream.key}/", "http://orders/"):
            it.client.call("GET", url)
            it.client.call("GET", url)
        sent = [request.all("cookie") for request in it.upstream.requests]
        if driver.module is requests:  # a name without a dot is not a domain to its cookie jar
            assert sent[:2] == [[], ["a=1"]]
        elif not driver.can("keeps cookies"):
            assert sent == [[]] * 4
        else:
            assert sent == [[], ["a=1"]] * 2
