"""Apps that tell who calls: ASGI and WSGI, under the mesh's middleware unless it is brought in."""

from __future__ import annotations

import json
import os

from meshware import current_call
from meshware.asgi import MeshMiddleware as ASGIMiddleware
from meshware.wsgi import MeshMiddleware as WSGIMiddleware

RUNS = os.environ.get("TELLING_RUNS")


def told(scheme: str, forwarded: str | None) -> bytes:
    """What the app knows of the call."""
    if RUNS:
        with open(RUNS, "a", encoding="utf-8") as file:
            file.write("x")
    call = current_call()
    peer = None if call is None else call.peer
    return json.dumps(
        {
            "is_in_mesh": call is not None,
            "peer": None if peer is None else peer.id,
            "by": None if peer is None else peer.proved_by,
            "scheme": scheme,
            "xfcc": forwarded,
            "pid": os.getpid(),
        }
    ).encode()


async def bare_asgi(scope, receive, send):
    """Tell, over HTTP and WebSocket."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    xfcc = dict(scope["headers"]).get(b"x-forwarded-client-cert")
    body = told(scope["scheme"], None if xfcc is None else xfcc.decode())
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": body.decode()})
        await send({"type": "websocket.close"})
        return
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def bare_wsgi(environ, start_response):
    """Tell."""
    body = told(environ["wsgi.url_scheme"], environ.get("HTTP_X_FORWARDED_CLIENT_CERT"))
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


asgi = ASGIMiddleware(bare_asgi)
wsgi = WSGIMiddleware(bare_wsgi)
