"""WebSockets are decided before they are accepted."""

from __future__ import annotations

import asyncio

import pytest
from asgi_world import nothing, told
from inbound_drive import http_scope
from inbound_scenarios import current_id
from inbound_world import NOTHING, policy, to

from meshware.asgi import MeshMiddleware
from meshware.runtime.mesh import Mesh
from meshware.testing import TestMesh


def socket(app, target="/chat", *, extensions=None, received=(), headers=(("host", "app"),)):
    """Offer a WebSocket to an app; return what it sent."""
    sent = []
    waiting = [{"type": "websocket.connect"}, *received, {"type": "websocket.disconnect"}]

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = http_scope(target, kind="websocket", headers=headers, extensions=extensions or {})
    asyncio.run(app(scope, receive, send))
    return sent, 2 + len(received) - len(waiting)


async def chat(scope, receive, send):
    """Accept, answer one message, and go."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": current_id()})
    await send({"type": "websocket.close", "code": 1000})


def test_a_websocket_is_refused_before_it_is_accepted():
    """Closed, which servers answer with 403; nothing was received."""
    mesh = TestMesh(policy("DENY", to(paths=["/chat"]), name="quiet"))
    sent, received = socket(MeshMiddleware(nothing, mesh))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "RBAC: access denied"}]
    assert received == 0
    [event] = mesh.events
    assert (event.status, event.policy, event.method) == (403, "default/quiet", "GET")


@pytest.mark.parametrize(
    ("policies", "status", "body"),
    [(policy("DENY", {}), 403, b"RBAC: access denied"), (None, 503, b"no policy")],
    ids=["denied", "no policy"],
)
def test_a_websocket_refusal_is_a_response_where_the_server_offers_that(policies, status, body):
    """Status and body as for any other request."""
    mesh = Mesh() if policies is None else TestMesh(policies)
    app = MeshMiddleware(nothing, mesh)
    [start, end], _ = socket(app, extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert (b"content-length", str(len(body)).encode()) in start["headers"]
    assert (end["type"], end["body"]) == ("websocket.http.response.body", body)


def test_a_malformed_websocket_is_closed():
    """As 400 would be."""
    mesh = TestMesh(NOTHING)
    sent, _ = socket(MeshMiddleware(nothing, mesh), headers=())
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert told(mesh) == [(403, "-")]


def test_a_websocket_that_may_pass_carries_the_call():
    """For as long as it lasts; 101 is its status."""
    mesh = TestMesh(policy("ALLOW", to(paths=["/chat"])))
    sent, _ = socket(
        MeshMiddleware(chat, mesh),
        received=[{"type": "websocket.receive", "text": "hi"}],
        headers=(("host", "app"), ("x-request-id", "r-9")),
    )
    assert sent[1] == {"type": "websocket.send", "text": "r-9"}
    assert told(mesh) == [(101, "-")]


def test_a_websocket_that_the_app_refuses_is_403():
    """The server answers so."""

    async def app(scope, receive, send):
        await send({"type": "websocket.close", "code": 4000})

    mesh = TestMesh(NOTHING)
    socket(MeshMiddleware(app, mesh))
    assert told(mesh) == [(403, "-")]


def test_a_websocket_that_the_caller_leaves_has_ended():
    """Neither side owes the other anything."""

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        assert [(await receive())["type"] for _ in "12"][1] == "websocket.disconnect"

    mesh = TestMesh(NOTHING)
    socket(MeshMiddleware(app, mesh))
    assert told(mesh) == [(101, "-")]
