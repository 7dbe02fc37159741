"""Apps whose calls are all traced and sent to an OTLP receiver, for real servers.

It is at OTLP_PORT, and spans go to it over gRPC where OTLP_GRPC_PORT says so.

`/` answers; `/out` calls the receiver, and answers with the context that it was sent.
"""

from __future__ import annotations

import os

import httpx
import requests
from tracing_world import traced_by

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.clients.httpx import AsyncMeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.policy.telemetry_plan import Tag
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

PORT = int(os.environ["OTLP_PORT"])
GRPC_PORT = os.environ.get("OTLP_GRPC_PORT")
UPSTREAM = "http://receiver.shop/"
RECEIVER = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: receiver, namespace: shop}}
spec:
  hosts: [receiver.shop]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {PORT}}}}}]
"""

mesh = traced_by(
    TestMesh(RECEIVER, "shop/app"),
    kind="opentelemetry",
    host="127.0.0.1",
    port=int(GRPC_PORT or PORT),
    path=None if GRPC_PORT else "/v1/traces",
    headers=(("x-token", "secret"),),
    tags=(Tag(name="zone", literal="a"),),
)


async def _asgi(scope, receive, send):
    body = b"ok"
    if scope["path"] == "/out":
        async with httpx.AsyncClient(transport=AsyncMeshTransport(mesh)) as client:
            body = (await client.get(UPSTREAM)).content
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def _wsgi(environ, start_response):
    body = b"ok"
    if environ["PATH_INFO"] == "/out":
        with requests.Session() as session:
            session.mount("http://", MeshAdapter(mesh))
            body = session.get(UPSTREAM, timeout=20).content
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]


async def asgi(scope, receive, send):
    """As a server calls it."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await AsgiMesh(_asgi, mesh)(scope, receive, send)


wsgi = WsgiMesh(_wsgi, mesh)
