"""What is forecast is what runs: of any request, on every framework."""

from __future__ import annotations

import asyncio

import flask
import pytest
from handler_world import Runs, by_handler, ours
from hypothesis import given, settings
from hypothesis import strategies as st
from inbound_drive import asgi_call_async, environ_of, http_scope, wsgi_call

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.handlers.forecast import find_by_environ, find_by_scope
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

RUNS = Runs()
ASKS = ours("DENY", by_handler(functions=["never"]))

PIECES = st.sampled_from(
    ["/", "//", "a", "b", "1", "users", "sub", "x", "files", ".", "..", "%2f", "%2e", "%0a", "%25",
     "%C3%A9", "%ff", "\\", ";", "A", "-", "+"]
)  # fmt: skip
PATHS = st.lists(PIECES, max_size=8).map(lambda pieces: "/" + "".join(pieces))
METHODS = st.sampled_from(["GET", "HEAD", "POST", "OPTIONS", "DELETE", "get"])


def starlette_app():
    """Starlette, with routers below."""
    from starlette.applications import Starlette
    from starlette.routing import Mount, Route

    def route(path, name, **more):
        return Route(path, RUNS.starlette(name), **more)

    return Starlette(
        routes=[
            route("/", "home"),
            route("/users/{id:int}", "user_int"),
            route("/users/{id}", "user", methods=["GET", "DELETE"]),
            route("/users/", "users"),
            route("/files/{rest:path}", "files"),
            Mount("/sub", routes=[route("/", "sub_home"), route("/{a}/{b}", "sub_ab"),
                                  Mount("/x", routes=[route("/a", "sub_x_a")])]),
            Mount("/a/{b}", routes=[route("/users", "a_users"), route("/{x:path}", "a_rest")]),
        ]
    )  # fmt: skip


def fastapi_app():
    """FastAPI, with routers included."""
    import fastapi

    app = fastapi.FastAPI(openapi_url=None)
    router = fastapi.APIRouter()
    router.get("/users/{id:int}")(RUNS.fastapi("user_int"))
    router.get("/users/{id}")(RUNS.fastapi("user"))
    router.delete("/users/{id}")(RUNS.fastapi("drop"))
    router.get("/files/{rest:path}")(RUNS.fastapi("files"))
    inner = fastapi.APIRouter(prefix="/x")
    inner.get("/a")(RUNS.fastapi("x_a"))
    inner.post("/a/")(RUNS.fastapi("x_a_post"))
    router.include_router(inner, prefix="/sub")
    app.get("/")(RUNS.fastapi("home"))
    app.include_router(router)
    app.include_router(router, prefix="/a/{b}")
    app.mount("/b", starlette_app())
    return app


def flask_app():
    """Flask, with a blueprint."""
    app = flask.Flask("laws", static_folder=None)

    def add(owner, path, name, **more):
        owner.add_url_rule(path, name, RUNS.plain(name), **more)

    add(app, "/", "home")
    add(app, "/users/<int:id>", "user_int")
    add(app, "/users/<id>", "user", methods=["GET", "DELETE"])
    add(app, "/users/", "users")
    add(app, "/files/<path:rest>", "files")
    add(app, "/x", "x", strict_slashes=False, methods=["POST", "OPTIONS"])
    sub = flask.Blueprint("sub", "laws", url_prefix="/sub")
    add(sub, "/<a>/<b>", "sub_ab")
    add(sub, "/x/a/", "sub_x_a")
    app.register_blueprint(sub)
    return app


def asgi_law(app):
    """The law over ASGI."""
    plain, meshed = app, AsgiMesh(app, TestMesh([ASKS]))

    def law(path, method):
        scope = http_scope(path, method=method)
        found = find_by_scope(plain, dict(scope), None).handlers
        RUNS.clear()
        asyncio.run(asgi_call_async(plain, dict(scope)))
        ran = set(RUNS)
        RUNS.clear()
        answer = asyncio.run(asgi_call_async(meshed, dict(scope)))
        return found, ran, answer.status, set(RUNS)

    return law


def wsgi_law(app):
    """The law over WSGI."""
    plain, meshed = app, WsgiMesh(app, TestMesh([ASKS]))

    def law(path, method):
        environ = environ_of(path, method=method)
        found = find_by_environ(plain, dict(environ), None).handlers
        RUNS.clear()
        wsgi_call(plain, environ=dict(environ))
        ran = set(RUNS)
        RUNS.clear()
        answer = wsgi_call(meshed, environ=dict(environ))
        return found, ran, answer.status, set(RUNS)

    return law


LAWS = {
    "starlette": asgi_law(starlette_app()),
    "fastapi": asgi_law(fastapi_app()),
    "flask": wsgi_law(flask_app()),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@settings(max_examples=300, deadline=None)
@given(path=PATHS, method=METHODS)
def test_the_handler_that_is_forecast_is_the_one_that_runs(law, path, method):
    """And behind the mesh nothing else, nor anything less."""
    found, ran, status, ran_behind = law(path, method)
    assert found is not None
    assert {one.functions[0] for one in found} == ran
    if status == 400:  # what can mean two things is never routed
        assert not ran_behind
    else:
        assert status != 403
        assert ran_behind == ran
