"""A call that is over is gone at once: nothing of it waits for the collector of cycles."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from inbound_drive import environ_of, http_scope

import meshware
from meshware.asgi import MeshMiddleware as AsgiMiddleware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMiddleware


class Marker:
    """Something that only the scope or environ of a call holds."""


@pytest.fixture
def no_collector():
    """Only references are counted here."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_an_asgi_call_leaves_no_cycle():
    """The scope holds the call, and the call looks into the scope for its route."""
    marks = []

    async def app(scope, receive, send):
        marks.append(weakref.ref(scope["mark"]))
        assert meshware.current_call().route is None
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def swallow(_message):
        pass

    mesh = TestMesh([])
    meshed = AsgiMiddleware(app, mesh=mesh)

    async def call():
        await meshed({**http_scope("/"), "mark": Marker()}, swallow, swallow)

    asyncio.run(call())
    mesh.events.clear()  # an event refers to its request, and goes as soon as it is told
    assert [mark() for mark in marks] == [None]


@pytest.mark.usefixtures("no_collector")
def test_a_wsgi_call_leaves_no_cycle():
    """The environ holds the call, and the call looks into the environ for its route."""
    marks = []

    def app(environ, start_response):
        marks.append(weakref.ref(environ["mark"]))
        start_response("200 OK", [])
        return [b"ok"]

    mesh = TestMesh([])
    meshed = WsgiMiddleware(app, mesh=mesh)

    def call():
        environ = {**environ_of("/"), "mark": Marker()}
        body = meshed(environ, lambda *_: lambda _data: None)
        assert b"".join(body) == b"ok"
        body.close()

    call()
    mesh.events.clear()
    assert [mark() for mark in marks] == [None]
