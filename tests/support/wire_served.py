"""What servers serve in tests of the wire: each app in a mesh of each policy, one server for all.

A request says which by `X-World: <policy>|<app>`, so that its target stays as it was sent.
`wire_served:asgi` and `wire_served:wsgi`; as a program it is werkzeug's or waitress's server.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from typing import Any

from inbound_world import NOTHING, policy, to, when
from wire_apps import ASGI_APPS, WSGI_APPS

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

POLICIES = {
    "open": NOTHING,
    "deny exact": policy("DENY", to(paths=["/admin"])),
    "deny below": policy("DENY", to(paths=["/admin", "/admin/*"])),
    "deny prefix": policy("DENY", to(paths=["/admin*"])),
    "allow public": policy("ALLOW", to(paths=["/public/*"])),
    "deny below a prefix": policy("DENY", to(paths=["/api/admin", "/api/admin/*"])),
    "allow below a prefix": policy("ALLOW", to(paths=["/api/public/*", "/public/*"])),
    "allow all with a prefix": policy("ALLOW", to(paths=["/api/*"])),
    "deny host": policy("DENY", to(hosts=["evil.example"])),
    "allow host": policy("ALLOW", to(hosts=["app.example"])),
    "deny role": policy("DENY", when("request.headers[x-role]", "admin")),
    "allow role": policy("ALLOW", when("request.headers[x-role]", "user")),
    "deny method": policy("DENY", to(methods=["DELETE"])),
    "allow address": policy("ALLOW", {"from": [{"source": {"ipBlocks": ["10.0.0.0/8"]}}]}),
}


IS_ASGI = os.environ["WIRE_KIND"] == "asgi"
# Before the first request: what is slow to import must not be taken for silence.
APPS = {name: make() for name, make in (ASGI_APPS if IS_ASGI else WSGI_APPS).items()}


@cache
def world_of(name: str) -> Any:
    """An app in its mesh."""
    rules, _, app = name.partition("|")
    return (AsgiMesh if IS_ASGI else WsgiMesh)(APPS[app], TestMesh(POLICIES[rules]))


async def asgi(scope: Any, receive: Any, send: Any) -> None:
    """Hand a call to its world; `bare` says what the server hands over."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    worlds = [value.decode() for name, value in scope["headers"] if name.lower() == b"x-world"]
    if worlds and worlds[0] == "bare":
        raw = scope.get("raw_path")
        seen = {
            "path": scope["path"],
            "target": None if raw is None else raw.decode("latin-1"),
            "root": scope.get("root_path", ""),
        }
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(seen).encode()})
        return
    await world_of(worlds[0] if worlds else "allow public|raw")(scope, receive, send)


def wsgi(environ: Any, start_response: Any) -> Any:
    """Hand a call to its world; `bare` says what the server hands over."""
    world = environ.get("HTTP_X_WORLD")
    if world == "bare":
        seen = {
            "path": environ["PATH_INFO"],
            "target": environ.get("RAW_URI") or environ.get("REQUEST_URI"),
            "root": environ.get("SCRIPT_NAME", ""),
        }
        start_response("200 OK", [])
        return [json.dumps(seen).encode()]
    return world_of(world or "allow public|raw")(environ, start_response)


def main() -> None:
    """Serve the WSGI side with werkzeug's development server, or with waitress."""
    if sys.argv[1] == "waitress":
        from waitress.server import create_server

        server: Any = create_server(wsgi, listen=f"127.0.0.1:{sys.argv[2]}", url_prefix=sys.argv[3])
        server.run()
    else:
        from werkzeug.serving import make_server

        server = make_server("127.0.0.1", int(sys.argv[2]), wsgi, threaded=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
