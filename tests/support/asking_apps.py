"""Apps behind authorizers: `asking_apps:flask_app` and `asking_apps:fastapi_app`.

Every handler counts its runs in a file, and says what it was given.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from flask import Flask, request

import meshware
from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.authz import Allow, Deny
from meshware.wsgi import MeshMiddleware as WsgiMesh

if "READ_S" in os.environ:
    import meshware.asgi.asking
    import meshware.wsgi.asking

    for driver in (meshware.asgi.asking, meshware.wsgi.asking):
        driver.MOST_READ_S = float(os.environ["READ_S"])  # type: ignore[attr-defined]

gevent = sys.modules.get("gevent")


def note() -> None:
    """Count a run."""
    with open(os.environ["RUNS"], "ab") as runs:
        runs.write(b"x")


def said(headers: list[tuple[str, str]], body: bytes, path: str) -> dict[str, Any]:
    """What a handler says."""
    return {
        "path": path,
        "headers": sorted([name.lower(), value] for name, value in headers),
        "length": len(body),
        "digest": hashlib.sha256(body).hexdigest(),
    }


# --- in process -------------------------------------------------------------------------------


def _decided(asked: meshware.authz.Request) -> Any:
    match asked.path.rpartition("/")[2]:
        case "true":
            return True
        case "false":
            return False
        case "none":
            return None
        case "allow":
            return Allow({"x-user": "ann", "host": "evil", "x-envoy-me": "1"})
        case "deny":
            return Deny(401, "who are you", {"www-authenticate": "Badge"})
        case "raise":
            raise RuntimeError("secret")
        case "base":
            raise BaseException("secret base")
        case "cancelled":
            raise asyncio.CancelledError
        case "exit":
            raise SystemExit(3)
        case "odd":
            return "yes"
        case "body":
            assert asked.body is not None
            return Allow({"x-digest": hashlib.sha256(asked.body).hexdigest()})
    return False


@meshware.authorizer("plain")
@meshware.authorizer("plain-open")
def plain(asked: meshware.authz.Request) -> Any:
    """Decide in a thread."""
    if asked.path.endswith("/slow"):
        time.sleep(1.5)
        return True
    if asked.path.endswith("/limit"):
        if gevent is None:
            return False
        with gevent.Timeout(0.1):  # a BaseException
            gevent.sleep(3)
        return True
    if asked.path.endswith("/where"):
        return Allow({"x-thread": threading.current_thread().name})
    return _decided(asked)


@meshware.authorizer("async")
@meshware.authorizer("async-open")
async def in_task(asked: meshware.authz.Request) -> Any:
    """Decide in a task."""
    await asyncio.sleep(0)
    if asked.path.endswith("/slow"):
        await asyncio.sleep(30)
        return True
    if asked.path.endswith("/task"):
        task = asyncio.ensure_future(asyncio.sleep(5))
        asyncio.get_running_loop().call_later(0.05, task.cancel)
        await task
        return True
    if asked.path.endswith("/where"):
        return Allow({"x-thread": threading.current_thread().name})
    return _decided(asked)


# --- Flask ------------------------------------------------------------------------------------

flask_app = Flask("asking")


@flask_app.route("/", defaults={"path": ""}, methods=["GET", "POST", "HEAD", "PUT"])
@flask_app.route("/<path:path>", methods=["GET", "POST", "HEAD", "PUT"])
def handle(path: str) -> dict[str, Any]:
    """Say what was given."""
    note()
    return said(list(request.headers.items()), request.get_data(), request.path)


flask_app.wsgi_app = WsgiMesh(flask_app.wsgi_app)  # type: ignore[method-assign]


# --- FastAPI ----------------------------------------------------------------------------------

fastapi_app = FastAPI()


@fastapi_app.websocket("/ws/{rest:path}")
async def talk(socket: WebSocket) -> None:
    """Accept, and say one word."""
    note()
    await socket.accept()
    await socket.send_text(json.dumps(dict(socket.headers)))
    await socket.close()


@fastapi_app.api_route("/{path:path}", methods=["GET", "POST", "HEAD", "PUT"])
async def answer(request: Request, path: str) -> dict[str, Any]:
    """Say what was given."""
    note()
    body = await request.body()
    return said(request.headers.items(), body, request.url.path)


fastapi_app.add_middleware(AsgiMesh)
