"""Functions that are asked while the call, the worker or the process ends."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from typing import Any

import greenlet
import pytest
import trio
from asking_world import asks
from inbound_drive import http_scope, wsgi_call
from inbound_world import mesh_config

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.authz import Authorizer, Request
from meshware.events import InboundEvent
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh


def mesh(function: Authorizer) -> TestMesh:
    """A mesh that would let in whatever the function fails at."""
    providers = [{"name": "opa", "inProcess": {"failOpen": True}}]
    return TestMesh(
        [mesh_config(extensionProviders=providers), asks()], authorizers={"opa": function}
    )


def never(environ: Any, start_response: Any) -> list[bytes]:
    """An app that must not run."""
    raise AssertionError


async def never_async(scope: Any, receive: Any, send: Any) -> None:
    """An app that must not run."""
    raise AssertionError


def interrupt(request: Request) -> bool:
    """Be interrupted, as by Ctrl-C."""
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(5)
    return True


def be_ended(request: Request) -> bool:
    """Be ended by the server's signal handler."""
    os.kill(os.getpid(), signal.SIGUSR1)
    time.sleep(5)
    return True


def be_killed(request: Request) -> bool:
    """Be ended as a greenlet."""
    raise greenlet.GreenletExit


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (interrupt, KeyboardInterrupt),
        (be_ended, SystemExit),
        (be_killed, greenlet.GreenletExit),
    ],
)
def test_a_worker_that_ends_is_not_held_up(function, error):
    before = signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7))
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    it = mesh(function)
    try:
        with pytest.raises(error):
            wsgi_call(WsgiMesh(never, it), "/")
    finally:
        signal.signal(signal.SIGUSR1, before)
        signal.signal(signal.SIGINT, interrupted)
    assert [event.flags for event in it.events if isinstance(event, InboundEvent)] == ["DC"]


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_call_that_is_cancelled_stays_so(library):
    """Its function gets the cancellation, and neither answer nor app comes of it."""
    sent: list[Any] = []
    seen: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def in_asyncio() -> None:
        begun = asyncio.Event()

        async def function(request: Request) -> bool:
            begun.set()
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                seen.append("cancelled")
                raise
            return True

        async def receive() -> Any:
            await asyncio.Event().wait()

        app = AsgiMesh(never_async, mesh(function))
        serving = asyncio.create_task(app(http_scope("/x"), receive, send))
        await begun.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    async def in_trio() -> None:
        async def function(request: Request) -> bool:
            scope.cancel()
            try:
                await trio.sleep(30)
            except trio.Cancelled:
                seen.append("cancelled")
                raise
            return True

        async def receive() -> Any:
            await trio.sleep_forever()

        with trio.CancelScope() as scope:
            await AsgiMesh(never_async, mesh(function))(http_scope("/x"), receive, send)
        assert scope.cancelled_caught

    if library == "asyncio":
        asyncio.run(in_asyncio())
    else:
        trio.run(in_trio)
    assert (sent, seen) == ([], ["cancelled"])
