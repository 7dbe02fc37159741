"""Apps that know nothing of the mesh, for `opentelemetry-instrument`; all but one."""

from __future__ import annotations

from typing import Any

import httpx
import requests
from fastapi import FastAPI
from flask import Flask
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route


def clients() -> dict[str, object]:
    """What this process's clients are, and how often this call was decided."""
    import meshware
    from meshware.clients.httpx import MeshTransport
    from meshware.clients.requests import MeshAdapter

    call = meshware.current_call()
    with requests.Session() as session, httpx.Client() as client:
        return {
            "has_call": call is not None,
            "requests": isinstance(session.get_adapter("http://x"), MeshAdapter),
            "httpx": isinstance(client._transport, MeshTransport),
            "httpx.get": _is_meshed(proxy=None, verify=True, timeout=5, trust_env=True),
            "own httpx": _is_meshed(verify=False),
            "decided": _decided(call),
        }


def _is_meshed(**settings: Any) -> bool:
    """Say whether an httpx client of these settings calls through the mesh."""
    from meshware.clients.httpx import MeshTransport

    with httpx.Client(**settings) as client:
        return isinstance(client._transport, MeshTransport)


def _decided(call: object) -> int:
    """How many admissions refer to a call."""
    import gc

    from meshware.inbound.passage import Admission

    return sum(isinstance(one, Admission) and one.call is call for one in gc.get_objects())


def ok() -> str:
    """Answer."""
    return "ok"


def secret() -> str:
    """What policy refuses."""
    return "secret"


flask_app = Flask(__name__)
flask_app.get("/")(ok)
flask_app.get("/secret")(secret)
flask_app.get("/clients")(clients)


async def _text(request: Request) -> Response:
    return PlainTextResponse("ok")


async def _clients(request: Request) -> Response:
    return JSONResponse(clients())


starlette_app = Starlette(
    routes=[Route("/", _text), Route("/secret", _text), Route("/clients", _clients)]
)


def _fastapi() -> FastAPI:
    app = FastAPI()
    app.get("/")(ok)
    app.get("/secret")(secret)
    app.get("/clients")(clients)
    return app


fastapi_app = _fastapi()
meshed_app = _fastapi()


def _put_middleware() -> None:
    from meshware.asgi import MeshMiddleware

    meshed_app.add_middleware(MeshMiddleware)


_put_middleware()
