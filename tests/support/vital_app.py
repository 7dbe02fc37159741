"""Apps of which a test wants to see the health, behind the mesh: one of WSGI, one of ASGI."""

import asyncio
import time
from pathlib import Path

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.wsgi import MeshMiddleware


def _wait() -> None:
    while not Path("go").exists():
        time.sleep(0.01)


def app(environ, start_response):
    """Answer with the status of the path, `/status/500` with 500; `/wait` once a file is there."""
    path = environ["PATH_INFO"]
    if path == "/wait":
        _wait()
    status = path.rpartition("/")[2] if path.startswith("/status/") else "200"
    start_response(f"{status} Said", [("content-type", "text/plain")])
    return [b"twelve bytes"]


application = MeshMiddleware(app)


async def asgi(scope, receive, send):
    """`/block` holds the loop until a file is there; all else is answered at once."""
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    if scope["path"] == "/block":
        _wait()  # what people should not do
    kind = type(asyncio.get_running_loop()).__module__
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": kind.encode()})


application_asgi = AsgiMesh(asgi)
