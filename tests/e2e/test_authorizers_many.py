"""Many questions at once, callers that leave, and authorizers that are functions of the app."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from authorizer_server import Asked, ok
from authorizer_world import (
    fresh,
    world,
)

__all__ = ["fresh", "world"]  # fixtures


def test_32_at_once_are_asked_about_each_for_itself(world):
    def by_path(asked: Asked) -> bytes:
        number = int(asked.path.rpartition("/")[2])
        time.sleep(0.05)
        return ok(403 if number % 3 == 0 else 200, b"", ("x-user", f"user-{number}"))

    world.authorizer.answer = by_path

    def ask(number: int) -> tuple[int, str | None]:
        reply = world.ask(f"/http/{number}")
        return reply.status, reply.seen["x-user"] if reply.status == 200 else None

    world.authorizer.most_under_way = 0
    with ThreadPoolExecutor(32) as callers:
        found = list(callers.map(ask, range(192)))
    assert found == [
        (403, None) if number % 3 == 0 else (200, f"user-{number}") for number in range(192)
    ]
    assert world.authorizer.most_under_way >= 8


def test_connections_to_the_authorizer_are_used_again(world):
    before = world.authorizer.connections
    for _ in range(20):
        assert world.ask("/http/x").status == 200
    assert world.authorizer.connections - before <= 2


def test_a_connection_that_went_stale_is_no_failure(world):
    """Whatever the method: a question may be asked again."""
    world.authorizer.answer = lambda asked: ok()
    for _ in range(3):
        assert world.ask("/http/x", "POST", {}, b"x").status == 200
        # Answers, and closes behind the answer without a word of it.
        world.authorizer.answer = lambda asked: ok()
        for connection in list(world.authorizer._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert world.ask("/http/x", "POST", {}, b"x").status == 200


def test_a_caller_that_goes_away_while_it_is_asked_about_reaches_no_handler(world):
    before = world.runs
    is_asked, may_answer = threading.Event(), threading.Event()

    def held(asked: Asked) -> bytes:
        is_asked.set()
        may_answer.wait(10)
        return ok()

    world.authorizer.answer = held
    with socket.create_connection(("127.0.0.1", world.server.port)) as caller:
        caller.sendall(b"GET /open/x HTTP/1.1\r\nHost: app\r\n\r\n")
        assert is_asked.wait(10)
    if world.server.popen.args[0].endswith("uvicorn"):
        time.sleep(0.3)
        may_answer.set()
        time.sleep(0.2)
        assert world.runs == before
    may_answer.set()
    world.authorizer.answer = lambda asked: ok()
    assert world.ask("/http/x").status == 200


@pytest.mark.parametrize("prefix", ["/plain", "/async"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/true", 200),
        ("/allow", 200),
        ("/false", 403),
        ("/none", 403),
        ("/deny", 401),
        ("/raise", 403),
        ("/odd", 403),
        ("/slow", 403),
    ],
)
def test_a_function_decides(world, prefix, path, status):
    before = world.runs
    reply = world.ask(prefix + path, headers={"x-user": "me"})
    assert reply.status == status
    assert world.runs == before + (status == 200)
    if path == "/allow":
        seen = reply.seen
        assert seen["x-user"] == "ann"
        assert seen["host"].startswith("127.0.0.1")
        assert "x-envoy-me" not in seen
    if path == "/deny":
        assert (reply.body, reply.headers["www-authenticate"]) == (b"who are you", "Badge")
    assert b"secret" not in reply.body


@pytest.mark.parametrize(
    ("path", "is_error"),
    [
        ("/plain{}/base", True),
        ("/plain{}/cancelled", True),
        ("/plain{}/limit", True),
        ("/plain{}/exit", False),
        ("/async{}/base", True),
        ("/async{}/task", True),
        ("/async{}/cancelled", True),
        ("/async{}/exit", False),
    ],
)
def test_whatever_a_function_raises_is_its_own(world, path, is_error):
    """An exception of any class refuses, and ends no worker; none to end the process fails open."""
    if path.endswith("/limit") and "gevent" not in world.server.popen.args:
        is_error = False
    before = world.runs
    for _ in range(3):
        reply = world.ask(path.format(""))
        assert (reply.status, b"secret" in reply.body) == (403, False)
    assert world.runs == before
    assert world.ask(path.format("-open")).status == (200 if is_error else 403)
    assert world.runs == before + is_error
    for word in ("exited with code", "Exception in ", "Error handling request"):
        assert word not in world.server.words()


def test_a_function_that_is_not_registered_refuses_and_is_told_of_once(world):
    before = world.runs
    for _ in range(3):
        reply = world.ask("/nobody/x")
        assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    assert world.runs == before
    assert world.server.words().count("policy asks authorizer 'nobody'") == 1
    assert world.server.words().count("RuntimeError: secret") == 2
