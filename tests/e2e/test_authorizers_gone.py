"""Callers that go away while an authorizer is asked about them."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import trio
from asking_world import (
    Dialling,
    ask,
    asks,
    at,
    authorizer,
    config,
    service,
)
from authorizer_server import Asked, ok
from inbound_drive import asgi_call, http_scope

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.events import InboundEvent

__all__ = ["ask", "authorizer"]  # fixtures


class Leaving:
    """An ASGI call whose caller goes away while an authorizer is asked about it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"", "more_body": False}
        ]
        self.sent: list[dict[str, Any]] = []
        self.runs = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_caller_that_leaves_ends_the_question(library, authorizer):
    """Its event says DC, nothing is in flight, and neither app nor caller hears of it."""
    held = threading.Event()

    def answer(asked: Asked) -> bytes:
        held.wait(5)
        return ok()

    authorizer.answer = answer
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    call = Leaving()

    async def receive() -> dict[str, Any]:
        if call.messages:
            return call.messages.pop()
        while not authorizer.asked:  # noqa: ASYNC110 - it happens in another thread
            await (asyncio if library == "asyncio" else trio).sleep(0.01)
        return {"type": "http.disconnect"}

    async def main() -> None:
        await AsgiMesh(call.app, mesh)(http_scope("/x"), receive, call.send)

    if library == "asyncio":
        asyncio.run(main())
    else:
        trio.run(main)
    held.set()
    assert (call.runs, call.sent) == (0, [])
    [inbound] = [event for event in mesh.events if isinstance(event, InboundEvent)]
    assert (inbound.status, inbound.flags) == (0, "DC")
    [outbound] = [event for event in mesh.events if not isinstance(event, InboundEvent)]
    assert outbound.flags == "DC"


def test_a_cancelled_call_ends_the_question(authorizer):
    authorizer.answer = lambda asked: time.sleep(1) or ok()  # type: ignore[func-returns-value]
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    call = Leaving()

    async def receive() -> dict[str, Any]:
        if call.messages:
            return call.messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        serving = asyncio.create_task(
            AsgiMesh(call.app, mesh)(http_scope("/x"), receive, call.send)
        )
        while not authorizer.asked:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())
    assert (call.runs, call.sent) == (0, [])
    assert [event.flags for event in mesh.events if isinstance(event, InboundEvent)] == ["DC"]


def test_what_was_received_meanwhile_reaches_the_app_and_so_does_the_end(authorizer):
    """Message by message: the body in its pieces, then that the caller has gone."""
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    pieces = [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]
    waiting, seen = list(pieces), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            seen.append(await receive())
            if seen[-1]["type"] == "http.disconnect":
                return

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None: ...

    asyncio.run(AsgiMesh(app, mesh)(http_scope("/x", method="POST"), receive, send))
    assert seen == pieces


def test_a_caller_that_waits_to_be_told_to_send_is_not_told_by_the_mesh(authorizer):
    """`Expect: 100-continue`: a server says go on when the body is first asked for."""
    authorizer.answer = lambda asked: ok(403)
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    headers = (("host", "app"), ("expect", "100-continue"))
    answer = asgi_call(AsgiMesh(Leaving().app, mesh), "/x", method="POST", headers=headers)
    assert (answer.status, answer.was_body_read) == (403, False)
