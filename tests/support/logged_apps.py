"""Apps whose calls are logged as `LOGS` says: `logged_apps:flask_app`, `logged_apps:fastapi_app`.

`LOGS` is JSON: lists of the fields of a `LogPlan` for `inbound` and `outbound`; in place of policy,
since what is tested is what becomes of a plan.
"""

from __future__ import annotations

import json
import logging
import os
import time

from fastapi import FastAPI, Request
from fastapi import Response as FastAPIResponse

import meshware.runtime.mesh as wired
from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.policy.telemetry_plan import LogPlan, SidePlan, TelemetryPlan
from meshware.wsgi import MeshMiddleware as WsgiMesh

_written = json.loads(os.environ["LOGS"])
PLAN = TelemetryPlan(
    **{
        side: SidePlan(logs=tuple(LogPlan(provider="test", **each) for each in plans))
        for side, plans in _written.items()
    }
)
_build = wired.build_snapshot


def _planned(*arguments, **keywords):
    snapshot = _build(*arguments, **keywords)
    snapshot.telemetry = PLAN
    return snapshot


wired.build_snapshot = _planned


class Bad(logging.Handler):
    """Raises, or blocks for ever."""

    def createLock(self) -> None:
        """Have none: at exit logging waits for it, and this test is not about that."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        if os.environ["BAD_HANDLER"] == "raises":
            raise RuntimeError("as the test wants it")
        while True:
            time.sleep(3600)


if "BAD_HANDLER" in os.environ:
    logging.getLogger("meshware.access").setLevel(logging.INFO)
    logging.getLogger("meshware.access").addHandler(Bad())


def _flask():
    import requests
    from flask import Flask, Response, request

    from meshware.clients.requests import MeshAdapter

    app = Flask(__name__)
    session = requests.Session()
    session.mount("http://", MeshAdapter())

    @app.get("/")
    @app.get("/things/<name>")
    def thing(name="none"):
        return Response("hello", headers={"x-pid": str(os.getpid())})

    @app.get("/out")
    def out():
        answer = session.get("http://other/things/far?from=flask", timeout=10)
        return {"status": answer.status_code, "id": request.headers["x-request-id"]}

    app.wsgi_app = WsgiMesh(app.wsgi_app)
    return app


def _fastapi():
    import httpx

    from meshware.clients.httpx import AsyncMeshTransport

    app = FastAPI()
    client = httpx.AsyncClient(transport=AsyncMeshTransport())

    @app.get("/")
    @app.get("/things/{name}")
    async def thing(name: str = "none"):
        return FastAPIResponse("hello", headers={"x-pid": str(os.getpid())})

    @app.get("/out")
    async def out(request: Request):
        answer = await client.get("http://other/things/far?from=fastapi")
        return {"status": answer.status_code, "id": request.headers["x-request-id"]}

    app.add_middleware(AsgiMesh)
    return app


def __getattr__(name: str):
    """Make an app when a server asks for it."""
    if name == "flask_app":
        return _flask()
    if name == "fastapi_app":
        return _fastapi()
    raise AttributeError(name)


async def _plain(scope, receive, send):
    """Answer with the status and status of gRPC that the request asks for."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    asked = dict(scope["headers"])
    while (await receive()).get("more_body"):
        pass
    status = int(asked.get(b"x-status", b"200"))
    headers = [(b"content-type", b"text/plain"), (b"x-b", b"response")]
    if b"x-grpc" in asked:
        headers.append((b"grpc-status", asked[b"x-grpc"]))
    body = b"" if status == 204 or scope["method"] == "HEAD" else b"hello"
    headers += [(b"content-length", b"5")] if status != 204 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


plain = AsgiMesh(_plain)
