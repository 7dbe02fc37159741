"""Apps for tests of Telemetry: `/out` calls `http://receiver.shop/`; every answer is 200."""

from __future__ import annotations

import httpx
import requests

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.clients.httpx import AsyncMeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.wsgi import MeshMiddleware as WsgiMesh

UPSTREAM = "http://receiver.shop/"


def _wsgi(environ, start_response):
    if environ["PATH_INFO"] == "/out":
        with requests.Session() as session:
            session.mount("http://", MeshAdapter())
            session.get(UPSTREAM, timeout=20)
    start_response("200 OK", [("content-type", "text/plain")])
    return [b"here"]


async def _asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/out":
        async with httpx.AsyncClient(transport=AsyncMeshTransport()) as client:
            await client.get(UPSTREAM)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"here"})


wsgi = WsgiMesh(_wsgi)
asgi = AsgiMesh(_asgi)
