"""When a response of an ASGI app has ended, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest
from asgi_world import nothing, swallow, told
from inbound_drive import asgi_call, http_scope
from inbound_world import NOTHING, policy

from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh


def messages_app(*messages, then=None):
    """An app that sends these, and does something behind them."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)
        if then is not None:
            then()

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
MORE = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": []}


@pytest.mark.parametrize(
    ("messages", "flags"),
    [
        ([START, BODY], "-"),
        ([START, MORE, MORE, BODY], "-"),
        ([START, {"type": "http.response.pathsend", "path": "/x"}], "-"),
        ([START, {"type": "http.response.zerocopysend", "file": 3}], "-"),
        ([{**START, "trailers": True}, BODY, {**TRAILERS, "more_trailers": True}, TRAILERS], "-"),
        ([{"type": "http.response.debug", "info": {}}, START, BODY], "-"),
        ([START, MORE], "DC"),
        ([{**START, "trailers": True}, BODY], "DC"),
        ([START], "DC"),
    ],
    ids=["whole", "in pieces", "path", "file", "trailers", "debug", "in the middle",
         "trailers missing", "headers alone"],
)  # fmt: skip
def test_a_response_ends_with_its_last_message(messages, flags):
    """What the app does behind it is not the caller's."""
    mesh = TestMesh(NOTHING)
    seen = []
    app = messages_app(*messages, then=lambda: seen.extend(mesh.events))

    async def call():
        await MeshMiddleware(app, mesh)(http_scope(), None, swallow)

    asyncio.run(call())
    assert told(mesh) == [(200, flags)]
    assert bool(seen) is (flags == "-"), "told before background work begins"


def test_a_caller_that_leaves_is_no_failure_of_the_app():
    """The server's `send` raises, and the app lets that pass."""
    mesh = TestMesh(NOTHING)
    answer = asgi_call(MeshMiddleware(messages_app(START, MORE, MORE, BODY), mesh), close_after=1)
    assert isinstance(answer.error, OSError)
    assert told(mesh) == [(200, "DC")]


def test_a_caller_that_leaves_before_a_refusal_is_told():
    """The refusal was decided all the same."""
    mesh = TestMesh(policy("DENY", {}))

    async def send(message):
        raise OSError("gone")

    async def call():
        with pytest.raises(OSError, match="gone"):
            await MeshMiddleware(nothing, mesh)(http_scope(), None, send)

    asyncio.run(call())
    assert told(mesh) == [(403, "DC")]
