"""The current call, in tasks and threads of ASGI apps."""

from __future__ import annotations

import asyncio

import pytest
from asgi_world import ok, plain_receive, swallow, told
from inbound_drive import asgi_call, asgi_call_async, http_scope
from inbound_scenarios import current_id
from inbound_world import NOTHING

import meshware
from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh


def test_each_call_has_its_own_current_call():
    """Two that run at once do not see each other's, and nothing stays."""

    async def app(scope, receive, send):
        mine = scope["meshware"].request_id
        for _ in range(5):
            await asyncio.sleep(0)
            assert current_id() == mine
        await ok(scope, receive, send)

    async def both():
        meshed = MeshMiddleware(app, TestMesh(NOTHING))
        scopes = [
            http_scope("/", headers=[("host", "app"), ("x-request-id", f"r{number}")])
            for number in range(20)
        ]
        answers = await asyncio.gather(*(asgi_call_async(meshed, scope) for scope in scopes))
        assert [answer.text for answer in answers] == [f"r{number}" for number in range(20)]
        assert meshware.current_call() is None
        # One after the other in one task, as a server with keep-alive might do it.
        for scope in scopes[:3]:
            await meshed(scope, None, swallow)
            assert meshware.current_call() is None

    asyncio.run(both())


@pytest.mark.parametrize("failure", [ZeroDivisionError, asyncio.CancelledError])
def test_nothing_is_left_behind_when_the_app_fails(failure):
    """Neither in the task that called it."""

    async def app(scope, receive, send):
        raise failure

    mesh = TestMesh(NOTHING)

    async def call():
        with pytest.raises(failure):
            await MeshMiddleware(app, mesh)(http_scope(), plain_receive, swallow)
        assert meshware.current_call() is None

    asyncio.run(call())
    assert told(mesh) == [(500, "-") if failure is ZeroDivisionError else (0, "DC")]


def test_an_exception_of_the_app_passes_unchanged():
    """The very same object, whether before or after the response began."""
    for is_late in (False, True):
        error = ZeroDivisionError("mine")

        async def app(scope, receive, send, is_late=is_late, error=error):
            if is_late:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

        answer = asgi_call(MeshMiddleware(app, TestMesh(NOTHING)))
        assert answer.error is error
        assert answer.messages == (["http.response.start"] if is_late else [])


def test_a_cancelled_call_is_told_once():
    """The caller went away while the app was waiting."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    mesh = TestMesh(NOTHING)

    async def cancel():
        task = asyncio.create_task(MeshMiddleware(app, mesh)(http_scope(), None, swallow))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert told(mesh) == [(200, "DC")]


def test_a_call_that_garbage_collection_ends_is_told_too():
    """A server that drops the coroutine: no error, one event."""

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    mesh = TestMesh(NOTHING)
    call = MeshMiddleware(app, mesh)(http_scope(), None, swallow)

    async def begin():
        call.send(None)

    asyncio.run(begin())  # a context of its own, in which the call was bound
    call.close()
    assert told(mesh) == [(0, "DC")]
    assert meshware.current_call() is None
