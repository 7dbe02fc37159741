"""Apps for real servers whose mesh stands within what is mounted, each with a secret and a page.

`/runs` is told by the outer app, in front of which no mesh stands.
"""

from __future__ import annotations

from typing import Any

import fastapi
import flask
from served_handlers import RUNS, WSGIMiddleware, flask_routes, runs, starlette_secret, told
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Host, Mount, Route, Router, WebSocketRoute
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.runtime.mesh import Mesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

__all__ = ["asgi", "wsgi"]


async def page(request: Any) -> PlainTextResponse:
    """Run."""
    RUNS["public"] += 1
    return PlainTextResponse("public")


class Secret(HTTPEndpoint):
    """Several methods."""

    async def get(self, request: Any) -> PlainTextResponse:
        """Run."""
        RUNS["secret"] += 1
        return PlainTextResponse("secret")

    post = get


async def talk(socket: Any) -> None:
    """Run."""
    RUNS["secret"] += 1
    await socket.accept()
    await socket.close()


def routes() -> list[Any]:
    """What is mounted."""
    return [
        Route("/admin/users/{id}", starlette_secret, methods=["GET", "POST"]),
        Route("/admin/class/{id}", Secret),
        Route("/admin/slash/", starlette_secret),
        WebSocketRoute("/admin/socket/{id}", talk),
        Route("/public/{rest:path}", page),
    ]


def of_fastapi() -> fastapi.FastAPI:
    """FastAPI, with a mesh among its middleware."""
    app = fastapi.FastAPI()
    router = fastapi.APIRouter(prefix="/admin")
    router.add_api_route("/users/{id}", fast_secret, methods=["GET", "POST"])
    router.add_api_route("/class/{id}", fast_secret)
    router.add_api_route("/slash/", fast_secret)
    router.add_api_websocket_route("/socket/{id}", talk)
    app.include_router(router)
    app.add_api_route("/public/{rest:path}", fast_page)
    app.add_middleware(AsgiMesh)
    return app


def fast_secret() -> str:
    """Run."""
    RUNS["secret"] += 1
    return "secret"


def fast_page() -> str:
    """Run."""
    RUNS["public"] += 1
    return "public"


def of_flask() -> flask.Flask:
    """Flask, with a mesh around it."""
    app = flask.Flask("within", static_folder=None)
    flask_routes(app)
    app.add_url_rule("/admin/slash/", "rest")
    app.wsgi_app = WsgiMesh(app.wsgi_app)  # type: ignore[method-assign]
    return app


with_mesh = [Middleware(AsgiMesh)]
Mesh.current().start()  # it is asked for its generation before any mesh is called
asgi = Starlette(
    routes=[
        Route("/runs", runs),
        Mount("/a", Starlette(routes=routes(), middleware=with_mesh)),
        Mount("/b", routes=routes(), middleware=with_mesh),
        Mount("/c", Router(routes(), middleware=with_mesh)),
        Mount("/d/{tenant}", of_fastapi()),
        Mount("/e", routes=[Mount("/e", routes=[Mount("/e", of_fastapi())])]),
        Mount("/f", WSGIMiddleware(of_flask())),
        Host("other", Starlette(routes=routes(), middleware=with_mesh)),
    ]
)
"""ASGI."""

outer = flask.Flask("outer", static_folder=None)
outer.add_url_rule("/runs", "runs", told)
inner = DispatcherMiddleware(of_flask(), {"/in": of_flask()})
wsgi = DispatcherMiddleware(outer, {"/a": of_flask(), "/b/b": inner})
"""WSGI."""
