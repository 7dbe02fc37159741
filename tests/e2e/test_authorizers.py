"""CUSTOM policies with real authorizers, behind Flask and FastAPI on real servers, over sockets."""

from __future__ import annotations

import hashlib
import json
import time

import pytest
from authorizer_server import Asked, ok
from authorizer_world import (
    fresh,
    world,
)

__all__ = ["fresh", "world"]  # fixtures


def test_a_request_that_no_rule_matches_is_not_asked_about(world):
    assert world.ask("/").status == 200
    assert world.authorizer.asked == []


def test_what_is_asked_is_what_envoy_asks(world):
    headers = {
        "Host": "shop.example.com:8080",
        "Authorization": "Bearer x",
        "X-Show": "one",
        "X-Also-This": "two",
        "X-Not": "three",
        "X-Envoy-Me": "four",
        "X-Forwarded-Client-Cert": "By=spiffe://evil;URI=spiffe://evil",
        "X-Request-Id": "11111111-2222-4333-8444-555555555555",
        "Cookie": "a=b",
    }
    reply = world.ask("/http/a%20b?q=1", "PUT", headers, b"hello")
    assert reply.status == 200
    asked = world.last()
    assert (asked.method, asked.target) == ("PUT", "/check/http/a%20b?q=1")
    assert asked.header("host") == "shop.example.com:8080"
    assert asked.header("content-length") == "0"
    assert asked.body == b""
    assert asked.header("authorization") == "Bearer x"
    assert asked.header("x-show") == "one"
    assert asked.header("x-also-this") == "two"
    assert asked.header("x-extra") == "of /http/a%20b?q=1"
    assert asked.header("x-show-2") == "fixed"
    assert asked.header("x-request-id") == "11111111-2222-4333-8444-555555555555"
    for name in ("x-not", "x-envoy-me", "x-forwarded-client-cert", "cookie"):
        assert asked.header(name) is None
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (5, hashlib.sha256(b"hello").hexdigest())


def test_what_the_authorizer_sets_the_app_sees_in_place_of_the_callers(world):
    world.authorizer.answer = lambda asked: ok(
        200,
        b"ignored",
        ("X-User", "ann"),
        ("x-auth-a", "1"),
        ("x-auth-a", "2"),
        ("x-not-allowed", "1"),
        ("x-ok-a", "down"),
        ("X-Envoy-Auth-Headers-To-Remove", "x-gone, host,x-envoy-x"),
        ("Host", "evil"),
        ("X-Envoy-Internal", "true"),
        ("X-Forwarded-Client-Cert", "URI=spiffe://evil"),
        ("X-Forwarded-For", "1.2.3.4"),
    )
    reply = world.ask("/http/x", headers={"X-User": "me", "X-Gone": "1", "x-stays": "1"})
    assert reply.status == 200
    seen = reply.seen
    assert (seen["x-user"], seen["x-auth-a"], seen["x-stays"]) == ("ann", "2", "1")
    assert not seen.keys() & {
        "x-gone", "x-not-allowed", "x-envoy-internal", "x-forwarded-client-cert", "x-ok-a",
        "x-forwarded-for", "x-envoy-auth-headers-to-remove",
    }  # fmt: skip
    assert seen["host"].startswith("127.0.0.1")
    assert reply.headers.get_all("x-ok-a") == ["down"]
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_later_rules_go_by_what_the_authorizer_set(world):
    """The app would see `bob`, so the DENY rule about him has to."""
    before = world.runs
    world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "bob"))
    reply = world.ask("/http/x", headers={"x-user": "ann"})
    assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "ann"))
    assert world.runs == before
    assert world.ask("/http/x", headers={"x-user": "bob"}).seen["x-user"] == "ann"


@pytest.mark.parametrize("status", [201, 302, 401, 403, 404, 429, 499])
def test_a_refusal_is_the_callers_answer(world, status):
    before = world.runs
    world.authorizer.answer = lambda asked: ok(
        status,
        "nicht erlaubt: ä".encode(),
        ("WWW-Authenticate", "Bearer"),
        ("Location", "https://login.example.com/"),
        ("X-Why", "because"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "them"),
        ("Keep-Alive", "timeout=5"),
    )
    reply = world.ask("/http/x")
    assert (reply.status, reply.body.decode()) == (status, "nicht erlaubt: ä")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["location"] == "https://login.example.com/"
    assert reply.headers["x-why"] == "because"
    assert reply.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert reply.headers.get_all("content-type") == ["text/html; charset=utf-8"]
    assert "them" not in reply.headers.get_all("server", [])
    assert len(reply.headers.get_all("date", [])) <= 1
    assert reply.headers["keep-alive"] != "timeout=5"
    few = world.ask("/few/x")
    assert (few.status, few.headers["x-why"]) == (status, "because")
    assert few.headers["location"] is not None
    assert few.headers["set-cookie"] is None
    assert few.headers["content-type"] == "text/plain"
    assert world.runs == before


def test_a_refusal_of_a_head_request_has_no_body(world):
    world.authorizer.answer = lambda asked: ok(403, b"", ("x-why", "no"))
    reply = world.ask("/http/x", "HEAD")
    assert (reply.status, reply.body, reply.headers["x-why"]) == (403, b"", "no")


def test_the_connection_goes_on_behind_a_refusal(world):
    world.authorizer.answer = lambda asked: ok(403 if "no" in asked.path else 200, b"no")
    connection = world.server.connect()
    try:
        for target, status in [("/http/no", 403), ("/http/yes", 200), ("/http/no", 403)] * 2:
            assert world.ask(target, connection=connection).status == status
    finally:
        connection.close()


GARBAGE = {
    "nothing": None,
    "words": b"hello\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-User: ann",
    "lines by LF": b"HTTP/1.1 200 OK\nConnection: close\nContent-Length: 0\n\n",
    "a header folded": b"HTTP/1.1 200 OK\r\nX-User: a\r\n nn\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX-User: a\rx-y: b\r\nContent-Length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-User: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a name with a space": b"HTTP/1.1 200 OK\r\nX User: a\r\nContent-Length: 0\r\n\r\n",
    "no header": b"HTTP/1.1 200 OK\r\nX-User\r\nContent-Length: 0\r\n\r\n",
    "a body cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk without size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "a chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nabc\r\n0\r\n\r\n",
    "chunks cut off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n2\r\nab\r\n",
    "interim without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "a head too large": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a body too large": b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 2_000_000,
    "a second status line": b"HTTP/1.1 200 OK\r\nHTTP/1.1 403 No\r\nConnection: close\r\n\r\n",
    "a broken interim": b"HTTP/1.1 103 Early\r\nX\r\n\r\nHTTP/1.1 200 OK\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n",
    "an interim alone": b"HTTP/1.1 100 Continue\r\nConnection: close\r\n\r\n",
    "trailers of another kind": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n0\r\nX\r\n\r\n",
    "500, cut off": b"HTTP/1.1 500 No\r\nContent-Length: 9\r\nConnection: close\r\n\r\n",
    "500": ok(500, b"broken"),
    "503": ok(503, b"busy", ("x-user", "ann")),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_answer_refuses_unless_policy_says_otherwise(world, name):
    """One that is not clearly an answer is none; nothing of it reaches app or caller."""
    before = world.runs
    world.authorizer.answer = lambda asked: GARBAGE[name]
    reply = world.ask("/http/x")
    assert (reply.status, reply.body, reply.headers["x-user"]) == (403, b"", None)
    assert world.runs == before
    assert world.ask("/few/x").status == 503
    assert world.runs == before
    reply = world.ask("/open/x", headers={"x-user": "me"})
    assert (reply.status, reply.seen["x-user"]) == (200, "me")


NO = b"HTTP/1.1 403 No\r\nX-Why: because\r\nContent-Type: text/html\r\nConnection: close\r\n"
BROKEN_REFUSALS = {
    "a body of 1.1 MB": (NO + b"Content-Length: 1100000\r\n\r\n" + b"a" * 1_100_000, 403, True),
    "a body of 2 MB to the end": (NO + b"\r\n" + b"a" * 2_000_000, 403, True),
    "chunks of 2 MB": (
        NO + b"Transfer-Encoding: chunked\r\n\r\n" + b"ffff\r\n%b\r\n" % (b"a" * 65535) * 32,
        403, True,
    ),
    "a body cut off": (NO + b"Content-Length: 10\r\n\r\nabc", 403, True),
    "chunks cut off": (NO + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", 403, True),
    "chunks of garbage": (NO + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n\r\n", 403, True),
    "trailers of garbage": (NO + b"Transfer-Encoding: chunked\r\n\r\n0\r\nx\r\n\r\n", 403, True),
    "two lengths": (NO + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 403, True),
    "another encoding": (NO + b"Transfer-Encoding: gzip\r\n\r\nab", 403, True),
    "a header of 200 kB": (NO + b"X-Big: " + b"a" * 200_000 + b"\r\n\r\n", 403, True),
    "a header cut off": (NO + b"X-Cut: a", 403, True),
    "a folded header": (NO + b"X-Folded: a\r\n b\r\n\r\n", 403, True),
    "a bare CR": (NO + b"X-Cr: a\rX-Evil: b\r\n\r\n", 403, True),
    "a NUL": (NO + b"X-Nul: a\0b\r\n\r\n", 403, True),
    "no header": (NO + b"nothing\r\n\r\n", 403, True),
    "a second status line": (NO + b"HTTP/1.1 200 OK\r\n\r\n", 403, True),
    "401": (NO.replace(b"403", b"401") + b"Content-Length: 10\r\n\r\nabc", 401, True),
    "302": (NO.replace(b"403", b"302") + b"Content-Length: 10\r\n\r\nabc", 302, True),
    "201": (NO.replace(b"403", b"201") + b"Content-Length: 10\r\n\r\nabc", 201, True),
    "behind an interim": (
        b"HTTP/1.1 100 Continue\r\n\r\n" + NO + b"Content-Length: 10\r\n\r\nabc", 403, True
    ),
    "behind a broken interim": (b"HTTP/1.1 103 Early\r\nX\r\n\r\n" + NO + b"\r\n", 403, True),
    "a status line alone": (b"HTTP/1.1 403 Connection: close\r\n", 403, False),
    "lines by LF": (b"HTTP/1.1 403 No\nConnection: close\n\n", 403, False),
    "another version": (b"HTTP/2.0 403 No\r\nConnection: close\r\n\r\n", 403, True),
    "a bell in the status line": (b"HTTP/1.1 403 \a\r\nConnection: close\r\n\r\n", 403, True),
    "status 000": (NO.replace(b"403", b"000") + b"Content-Length: 0\r\n\r\n", 403, False),
    "status 099": (NO.replace(b"403", b"099") + b"Content-Length: 0\r\n\r\n", 403, False),
    "status 101": (NO.replace(b"403", b"101") + b"Upgrade: x\r\n\r\n", 403, False),
    "status 600": (NO.replace(b"403", b"600") + b"Content-Length: 0\r\n\r\n", 403, False),
    "status 999": (NO.replace(b"403", b"999") + b"Content-Length: 0\r\n\r\n", 403, False),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN_REFUSALS)
def test_a_refusal_stays_one_whatever_becomes_of_the_rest_of_it(world, name):
    """`failOpen` is for no answer; here is one, and the caller gets what is sound of it."""
    data, status, has_headers = BROKEN_REFUSALS[name]
    has_headers = has_headers and b"X-Why" in data
    before = world.runs
    world.authorizer.answer = lambda asked: data
    for target in ("/http/x", "/open/x"):
        reply = world.ask(target)
        assert (reply.status, reply.body) == (status, b"")
        assert reply.headers["x-why"] == ("because" if has_headers else None)
        for header in ("x-big", "x-cut", "x-folded", "x-cr", "x-evil", "x-nul"):
            assert reply.headers[header] is None
        assert reply.headers["content-type"] != "text/html"
    assert world.runs == before


def test_a_refusal_that_is_late_with_its_body_is_one(world):
    """Nothing more comes, or a byte now and then."""
    before = world.runs
    head = b"HTTP/1.1 403 No\r\nX-Why: because\r\n"
    for data in (head + b"Content-Length: 9\r\n\r\nab", head, b"HTTP/1.1 403 No\r\n"):
        world.authorizer.answer = lambda asked, data=data: data
        for target in ("/late/x", "/late-open/x"):
            reply = world.ask(target)
            assert (reply.status, reply.body) == (403, b"")
            assert reply.headers["x-why"] == ("because" if b"X-Why" in data else None)
    assert world.runs == before


def test_an_authorizer_that_is_down_refuses(world):
    before = world.runs
    assert (world.ask("/down/x").status, world.runs) == (403, before)


def test_a_slow_authorizer_refuses_in_time(world):
    before = world.runs

    def silent(asked: Asked) -> bytes:
        time.sleep(4)
        return ok()

    world.authorizer.answer = silent
    started = time.monotonic()
    assert world.ask("/late/x").status == 403
    assert time.monotonic() - started < 3.5
    assert world.runs == before
    assert world.ask("/late-open/x").status == 200


def test_answers_in_chunks_or_to_the_end_and_behind_interim_ones_count(world):
    for data in (
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
    ):
        world.authorizer.answer = lambda asked, data=data: data
        assert world.ask("/http/x").status == 200
    world.authorizer.answer = lambda asked: (
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nno\r\n4;x=y\r\n way\r\n0\r\n\r\n"
    )
    assert world.ask("/http/x").body == b"no way"
