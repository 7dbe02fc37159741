"""Two apps in a mesh whose calls are all traced: `web` calls `orders`, which fails at first.

Served once for each workload that MESH_WORKLOAD names. `/buy` of web calls `/flaky` of orders,
which answers 503 to the first attempt; `/lost` calls a service that nobody has. `/boom` raises.
"""

from __future__ import annotations

import httpx
from tracing_world import traced_by

from meshware.asgi import MeshMiddleware
from meshware.clients.httpx import AsyncMeshTransport
from meshware.runtime.mesh import Mesh

CALLS = {"/buy": "http://orders/flaky?card=4111-secret", "/lost": "http://nobody-at-all.invalid/x"}

failed: set[str] = set()


async def app(scope, receive, send):
    """Answer whatever is asked."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path, status = scope["path"], 200
    if path == "/boom":
        raise ValueError("as the test wants it: 4111-secret")
    if path in CALLS:
        async with httpx.AsyncClient(transport=AsyncMeshTransport()) as client:
            status = (await client.get(CALLS[path])).status_code
    elif path == "/flaky":
        asked = scope["meshware"].request_id
        status = 200 if asked in failed else 503
        failed.add(asked)
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


_meshed = MeshMiddleware(app)


async def asgi(scope, receive, send):
    """Have each generation trace all calls."""
    mesh = Mesh.current()
    if mesh.cell.current is not None and mesh.cell.current.telemetry.inbound.tracing is None:
        traced_by(mesh)
    await _meshed(scope, receive, send)
