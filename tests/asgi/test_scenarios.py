"""The shared script, over the ASGI middleware."""

from __future__ import annotations

import asyncio

import fastapi
import pytest
from inbound_scenarios import FILE_SIZE, SCENARIOS, current_id, pieces, play, seen
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from meshware.asgi import MeshMiddleware


def raw(mesh):
    """An app without a framework."""

    async def app(scope, receive, send):
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        path, status, late = scope["path"], 200, False
        assert scope["meshware"].request_id == current_id()
        if path == "/boom":
            raise ZeroDivisionError
        if path == "/hello":
            chunks = ["hello"]
        elif path == "/echo":
            chunks = [(await receive())["body"].decode()]
        elif path == "/stream":
            chunks = pieces()
        elif path == "/boom-late":
            chunks, late = ["some "], True
        elif path == "/seen":
            chunks = [seen(headers.get)]
        elif path == "/call":
            inner = asyncio.create_task(asyncio.to_thread(current_id))
            chunks = [f"{current_id()} {await inner}"]
        elif path == "/call-in-body":
            chunks = (current_id() for _ in range(1))
        elif path == "/file":
            chunks = ["x" * FILE_SIZE]
        else:
            status, chunks = 404, ["not found"]
        await send({"type": "http.response.start", "status": status, "headers": []})
        for chunk in chunks:
            body = chunk.encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if late:
            raise ZeroDivisionError
        await send({"type": "http.response.body", "body": b""})

    return MeshMiddleware(app, mesh)


# --- Starlette and FastAPI: the handlers are the same ---------------------------------------------


async def hello(request: Request):
    return PlainTextResponse("hello")


async def echo(request: Request):
    return PlainTextResponse((await request.body()).decode())


async def stream(request: Request):
    return StreamingResponse(pieces())


async def boom(request: Request):
    raise ZeroDivisionError


async def boom_late(request: Request):
    async def body():
        yield "some "
        raise ZeroDivisionError

    return StreamingResponse(body())


async def seen_headers(request: Request):
    return PlainTextResponse(seen(request.headers.get))


def call(request: Request):  # not async: in a thread of the framework's
    assert request.scope["meshware"].request_id == current_id()
    return PlainTextResponse(f"{current_id()} {asyncio.run(asyncio.to_thread(current_id))}")


async def call_in_body(request: Request):
    return StreamingResponse(current_id() for _ in range(1))


async def file(request: Request):
    return PlainTextResponse("x" * FILE_SIZE)


HANDLERS = {
    "/hello": hello,
    "/stream": stream,
    "/boom": boom,
    "/boom-late": boom_late,
    "/seen": seen_headers,
    "/call": call,
    "/call-in-body": call_in_body,
    "/file": file,
}


def starlette(mesh):
    """As its users put the mesh in."""
    app = Starlette(
        routes=[
            *(Route(path, handler) for path, handler in HANDLERS.items()),
            Route("/echo", echo, methods=["POST"]),
        ]
    )
    app.add_middleware(MeshMiddleware, mesh=mesh)
    return app


def fast(mesh):
    """FastAPI, likewise."""
    app = fastapi.FastAPI()
    for path, handler in HANDLERS.items():
        app.add_api_route(path, handler, methods=["GET", "HEAD"], response_model=None)
    app.add_api_route("/echo", echo, methods=["POST"], response_model=None)
    app.add_middleware(MeshMiddleware, mesh=mesh)
    return app


def around(mesh):
    """The mesh around the whole of an app."""
    return MeshMiddleware(
        Starlette(
            routes=[
                *(Route(path, handler) for path, handler in HANDLERS.items()),
                Route("/echo", echo, methods=["POST"]),
            ]
        ),
        mesh,
    )


@pytest.mark.parametrize("make", [raw, starlette, fast, around])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_caller_and_the_mesh_see_the_same_as_over_wsgi(make, scenario):
    """One script, every driver."""
    play(make, "asgi", scenario)
