"""Answers that are no HTTP, or mean two things: every client refuses the same ones.

What one of them took for an answer another would take for a failure; and what follows on the
connection could be taken for the answer to the next request.
"""

from __future__ import annotations

import pytest
from client_world import every_driver, route, staged
from upstreams import CLOSE, HANG, Wait, chunked, http

pytestmark = every_driver

STATUS = b"HTTP/1.1 200 OK\r\n"
CHUNKED = STATUS + b"Transfer-Encoding: chunked\r\n\r\n"

BAD_HEADS = {
    "no HTTP at all": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "an empty line first": b"\r\n" + http(),
    "a version in words": b"HTTP/one 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a status in words": b"HTTP/1.1 fine\r\nContent-Length: 2\r\n\r\nok",
    "a signed status": b"HTTP/1.1 +200 OK\r\nContent-Length: 2\r\n\r\nok",
    "a long status": b"HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\nok",
    "two lengths": STATUS + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
    "two lengths in a line": STATUS + b"Content-Length: 2, 3\r\n\r\nok!",
    "a length in words": STATUS + b"Content-Length: two\r\n\r\nok",
    "a negative length": STATUS + b"Content-Length: -2\r\n\r\nok",
    "a signed length": STATUS + b"Content-Length: +2\r\n\r\nok",
    "an unknown coding": STATUS + b"Transfer-Encoding: gzip\r\n\r\nok",
    "two codings": STATUS + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunked twice": STATUS + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n0\r\n\r\n",
    "a first line that continues another": STATUS + b" Content-Length: 2\r\n\r\nok",
    "a line without a colon": STATUS + b"Content-Length: 2\r\nnonsense\r\n\r\nok",
    "a header without a name": STATUS + b"Content-Length: 2\r\n: x\r\n\r\nok",
    "a blank before the colon": STATUS + b"Content-Length : 2\r\n\r\nok",
    "a blank in a name": STATUS + b"Content Length: 2\r\n\r\nok",
    "a NUL in a value": STATUS + b"X-A: a\0b\r\nContent-Length: 2\r\n\r\nok",
    "a bare carriage return": STATUS + b"X-A: a\rContent-Length: 1\r\nContent-Length: 2\r\n\r\nok",
    "101 that nobody asked for": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
}


LENIENT = {
    "an empty line first": "refuses an empty line before the status line",
    "a first line that continues another": "refuses a first header that begins with a blank",
}


@pytest.mark.parametrize("name", BAD_HEADS)
def test_what_is_no_head_is_502_upe(driver, name):
    """Envoy's answer to a protocol error; the connection is not used again."""
    with staged(driver, scripts=[[[BAD_HEADS[name], HANG]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        if name in LENIENT and not driver.can(LENIENT[name]):
            assert (response.status, body) == (200, b"ok")
            return
        assert (response.status, response.info.flags) == (502, "UPE")
        assert body.endswith(b"reset reason: protocol error")
        it.upstream.wait_until_left()


@pytest.mark.parametrize("length", [1, 9, 20, 40], ids="after {} bytes".format)
def test_a_head_that_was_cut_is_502_upe(driver, length):
    """Also where what came would do for a head, without its last lines."""
    head = b"HTTP/1.1 200 OK\r\nX-Said: this\r\nX-Not-Said: that\r\n\r\n"
    with staged(driver, scripts=[[[head[:length], CLOSE]]]) as it:
        response, _ = it.client.call("GET", "http://orders/")
        assert (response.status, response.info.flags) == (502, "UPE")


def test_early_hints_alone_are_no_answer(driver):
    """The connection was closed in the middle of one."""
    with staged(
        driver, scripts=[[[b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", CLOSE]]]
    ) as it:
        response, _ = it.client.call("GET", "http://orders/")
        is_told = driver.can("takes a connection lost after early hints for a broken answer")
        expected = (502, "UPE") if is_told else (503, "UC")
        assert (response.status, response.info.flags) == expected


BAD_CHUNKS = {
    "a size in words": b"five\r\nhello\r\n0\r\n\r\n",
    "no size": b"\r\nhello\r\n0\r\n\r\n",
    "a size as Python writes it": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a size with an underscore": b"0_5\r\nhello\r\n0\r\n\r\n",
    "a signed size": b"+5\r\nhello\r\n0\r\n\r\n",
    "a negative size": b"-5\r\nhello\r\n0\r\n\r\n",
    "a blank before the size": b" 5\r\nhello\r\n0\r\n\r\n",
    "a size beyond all bounds": b"f" * 21 + b"\r\nhello\r\n0\r\n\r\n",
    "a size that ends with a line feed": b"5\nhello\r\n0\r\n\r\n",
    "more data than its size": b"5\r\nhello!\r\n0\r\n\r\n",
    "another end": b"5\r\nhello..0\r\n\r\n",
    "no trailer behind it": b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n",
}


@pytest.mark.parametrize("name", BAD_CHUNKS)
def test_a_broken_chunk_is_the_librarys_exception(driver, name):
    """The headers have been given; the call is told as broken, and its connection closed."""
    go = Wait()
    answer = [CHUNKED, go, BAD_CHUNKS[name], HANG]
    with staged(driver, route("timeout: 5s"), scripts=[[answer]]) as it:
        response = it.client.open("GET", "http://orders/")
        go.event.set()
        with pytest.raises(driver.error):
            response.read()
        assert (it.world.last.status, it.world.last.flags) == (200, "UPE")
        assert not it.world.last.complete
        it.upstream.wait_until_left()


GOOD = {
    "an extension": CHUNKED + b"5;a=b\r\nhello\r\n0\r\n\r\n",
    "blanks behind a size": CHUNKED + b"5  \r\nhello\r\n0\r\n\r\n",
    "zeros before a size": CHUNKED + b"0005\r\nhello\r\n000\r\n\r\n",
    "trailers": CHUNKED + b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "a line feed at the end": CHUNKED + b"5\r\nhello\r\n0\r\n\n",
    "capitals": STATUS + b"transfer-ENCODING: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a length and chunks": STATUS + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n0\r\n\r\n",
    "one length twice": STATUS + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "one length twice in a line": STATUS + b"Content-Length: 5, 5\r\n\r\nhello",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello",
    "line feeds only": b"HTTP/1.1 200 OK\nContent-Length: 5\n\nhello",
    "a continued line": STATUS + b"X-A: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "bytes beyond ASCII": STATUS + b"X-A: gr\xfc\xdfe\r\nContent-Length: 5\r\n\r\nhello",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + http(200, b"hello"),
    "several of them": b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" * 3
    + http(200, b"hello"),
    "processing": b"HTTP/1.1 102 Processing\r\n\r\n" + http(200, b"hello"),
    "continue": b"HTTP/1.1 100 Continue\r\n\r\n" + http(200, b"hello"),
}


STRICT = {
    "a length and chunks": "takes a length beside chunks",
    "one length twice": "takes one length said twice",
    "one length twice in a line": "takes one length said twice",
}


@pytest.mark.parametrize("name", GOOD)
def test_what_may_be_sent_is_understood(driver, name):
    """And the connection is where the next answer begins: none is taken for another's."""
    with staged(driver, scripts=[[[GOOD[name]], [http(201, b"next")]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        if name in STRICT and not driver.can(STRICT[name]):
            assert (response.status, response.info.flags) == (502, "UPE")
            return
        assert (response.status, body, response.info.flags) == (200, b"hello", "-")
        assert it.world.last.complete
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body) == (201, b"next")
        assert it.upstream.connections == 1


def test_an_answer_that_nobody_asked_for_is_nobodys(driver):
    """What came behind an answer is not the answer to the next request."""
    with staged(driver, scripts=[[[http() + http(200, b"not asked for")], [http(201)]]]) as it:
        assert it.client.call("GET", "http://orders/")[1] == b"ok"
        response, _ = it.client.call("GET", "http://orders/")
        assert response.status == 201


def test_a_broken_answer_may_be_repeated_where_policy_says_so(driver):
    """It is an attempt that failed, as any other."""
    rule = route("retries: {attempts: 2, retryOn: 5xx}")
    broken = [BAD_HEADS["two lengths"], CLOSE]
    with staged(driver, rule, scripts=[[broken, [chunked(b"o", b"k")]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body, response.info.attempts) == (200, b"ok", 2)
