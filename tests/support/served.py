"""The apps that real servers serve in tests: `served:wsgi` and `served:asgi`, in a mesh each.

Every answer says which process gave it and what the mesh had in force when it was asked.
"""

from __future__ import annotations

import json
import os

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.call import Call
from meshware.runtime.mesh import Mesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

if os.environ.get("SERVED_POLL_S"):
    # Looks more often than a worker needs to, so that many swaps take place in a short test.
    Mesh.current()._follower._poll_s = float(os.environ["SERVED_POLL_S"])
if os.environ.get("SERVED_START_AT_IMPORT"):
    Mesh.current().start()  # as an app may do that calls a service while it is imported


def answer(path: str, host: str, call: Call, authorization: str | None) -> bytes:
    """What every handler says."""
    current = Mesh.current().cell.current
    return json.dumps(
        {
            "ran": path,
            "host": host,
            "pid": os.getpid(),
            "generation": current.generation if current else 0,
            "request_id": call.request_id,
            "user": call.principal,
            "claims": dict(call.claims),
            "authorization": authorization,
        }
    ).encode()


def plain_wsgi(environ, start_response):
    """Answer whatever is asked."""
    body = answer(
        environ["PATH_INFO"],
        environ["HTTP_HOST"],
        environ["meshware"],
        environ.get("HTTP_AUTHORIZATION"),
    )
    start_response("200 OK", [("content-type", "text/plain"), ("content-length", str(len(body)))])
    return [body]


async def plain_asgi(scope, receive, send):
    """Answer whatever is asked; a WebSocket is accepted and closed."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.close"})
        return
    [host] = [value.decode() for name, value in scope["headers"] if name == b"host"]
    shown = dict(scope["headers"]).get(b"authorization")
    body = answer(scope["path"], host, scope["meshware"], None if shown is None else shown.decode())
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


wsgi = WsgiMesh(plain_wsgi)
asgi = AsgiMesh(plain_asgi)


def main() -> None:
    """Serve the WSGI app with werkzeug's development server."""
    from werkzeug.serving import make_server

    server = make_server("127.0.0.1", 0, wsgi, threaded=True)
    print(f"Listening at: http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
