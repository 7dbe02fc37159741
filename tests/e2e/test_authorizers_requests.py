"""What authorizers are shown of bodies and of other protocols, over sockets."""

from __future__ import annotations

import contextlib
import hashlib
import json
import select
import socket
import time
from collections.abc import Iterator

import pytest
from authorizer_server import ok
from authorizer_world import (
    fresh,
    world,
)
from inbound_servers import Server

__all__ = ["fresh", "world"]  # fixtures


def test_the_body_is_shown_and_reaches_the_app_unchanged(world):
    body = bytes(range(256)) * 300
    reply = world.ask("/body/x", "POST", {"content-type": "application/octet-stream"}, body)
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (len(body), hashlib.sha256(body).hexdigest())
    asked = world.last()
    assert (asked.body, asked.header("content-length")) == (body, str(len(body)))
    assert asked.header("x-envoy-auth-partial-body") == "false"


def test_a_body_that_is_too_large_is_413_and_nobody_is_asked(world):
    before = world.runs
    reply = world.ask("/body/x", "POST", {}, b"a" * 100_001)
    assert (reply.status, reply.body) == (413, b"Payload Too Large")
    assert (world.authorizer.asked, world.runs) == ([], before)
    assert world.ask("/body/x", "POST", {}, b"a" * 100_000).status == 200


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 500_000])
def test_part_of_a_body_is_shown_and_all_of_it_reaches_the_app(world, size):
    body = b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]
    reply = world.ask("/part/x", "POST", {}, body)
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (size, hashlib.sha256(body).hexdigest())
    asked = world.last()
    assert asked.body == body[:1000]
    assert asked.header("x-envoy-auth-partial-body") == ("true" if size > 1000 else "false")


def test_a_chunked_body_is_shown_and_replayed(world):
    def chunks() -> Iterator[bytes]:
        for number in range(20):
            yield b"%03d" % number * 10

    body = b"".join(chunks())
    connection = world.server.connect()
    try:
        connection.request("POST", "/body/x", body=chunks(), encode_chunked=True)
        response = connection.getresponse()
        said = json.loads(response.read())
    finally:
        connection.close()
    assert world.last().body == body
    assert (said["length"], said["digest"]) == (len(body), hashlib.sha256(body).hexdigest())


@pytest.mark.parametrize(
    ("target", "answer", "code", "message"),
    [
        ("/http/pkg.Svc/M", ok(403, "nö %".encode()), "7", "n%C3%B6 %25"),
        ("/http/pkg.Svc/M", ok(401, b"who"), "16", "who"),
        ("/http/pkg.Svc/M", ok(429, b""), "14", None),
        ("/http/pkg.Svc/M", ok(302, b""), "2", None),
        ("/http/pkg.Svc/M", None, "7", None),
        ("/few/pkg.Svc/M", None, "14", None),
    ],
)
def test_a_grpc_request_is_refused_in_grpc(world, target, answer, code, message):
    world.authorizer.answer = lambda asked: answer
    reply = world.ask(target, "POST", {"content-type": "application/grpc+proto"}, b"\0\0\0\0\0")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers.get_all("content-type") == ["application/grpc"]
    assert reply.headers["grpc-status"] == code
    assert reply.headers["grpc-message"] == message


@pytest.mark.parametrize("drips", [False, True])
def test_callers_that_keep_their_body_back_hold_nobody_up_for_long(world, drips):
    """More of them than the server has threads, one byte now and then or none; then 408."""
    before, asked = world.runs, list(world.authorizer.asked)
    callers = [socket.create_connection(("127.0.0.1", world.server.port)) for _ in range(42)]
    try:
        for caller in callers:
            caller.sendall(b"POST /body/x HTTP/1.1\r\nHost: app\r\nContent-Length: 90000\r\n\r\nhe")
        waiting = set(callers)
        until = time.monotonic() + 25
        received = dict.fromkeys(callers, b"")
        while waiting and time.monotonic() < until:
            ready, _, _ = select.select(list(waiting), [], [], 0.3)
            for caller in ready:
                try:
                    more = caller.recv(65536)
                except ConnectionResetError:
                    more = b""
                received[caller] += more
                if not more:
                    waiting.discard(caller)
            for caller in waiting if drips else ():
                with contextlib.suppress(OSError):
                    caller.sendall(b"l")
        assert not waiting
        for answer in received.values():
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert answer.endswith(b"Request Timeout")
    finally:
        for caller in callers:
            caller.close()
    assert (world.runs, world.authorizer.asked) == (before, asked)
    assert world.ask("/body/x", "POST", {}, b"hello").status == 200
    assert "Traceback" not in world.server.words()


def handshake(server: Server, target: str) -> bytes:
    """Ask for a WebSocket, and return what comes back at once."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = (
            f"GET {target} HTTP/1.1\r\nHost: app\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        connection.sendall(head.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                break
            received += more
        return received


def test_a_websocket_is_asked_about_before_it_is_accepted(world):
    before = world.runs
    world.authorizer.answer = lambda asked: ok(401, b"no", ("x-why", "no"))
    for name in ("http", "body"):
        assert handshake(world.server, f"/ws/{name}/x").startswith(b"HTTP/1.1 401")
    assert world.runs == before
    assert world.last().body == b""
    if world.server.popen.args[0].endswith("uvicorn"):
        world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "ann"), ("x-ok-a", "1"))
        accepted = handshake(world.server, "/ws/http/x")
        assert accepted.startswith(b"HTTP/1.1 101")
        assert b"x-ok-a: 1" in accepted.lower()
        assert world.runs == before + 1
