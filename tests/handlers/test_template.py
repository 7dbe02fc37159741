"""The route that a call tells is the one that rules know: without the server's prefix."""

from __future__ import annotations

import warnings

import fastapi
import flask
import pytest
from handler_world import Runs, by_handler, ours
from inbound_drive import asgi_call, environ_of, http_scope, wsgi_call
from inbound_world import NOTHING
from starlette.applications import Starlette
from starlette.routing import Host, Mount, Route
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS = Runs()


def starlette_app():
    """Mounts, with parameters and without, a host, and an app of no framework."""

    async def raw(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    routes = [Route("/users/{id:int}", RUNS.starlette("user"))]
    return Starlette(
        routes=[
            *routes,
            Mount("/v1", routes=[*routes, Mount("/raw", raw), Mount("/{tenant}", routes=routes)]),
            Mount("/{id}", routes=[Mount("/in", routes=routes), Mount("/raw", raw)]),
            Host("other", Starlette(routes=[Route("/only", RUNS.starlette("only"))])),
        ]
    )


def fastapi_app():
    """Included routers, and a mount within one."""
    app = fastapi.FastAPI(openapi_url=None)
    router = fastapi.APIRouter(prefix="/users")
    router.get("/{id}")(RUNS.fastapi("user"))
    sub = fastapi.FastAPI(openapi_url=None)
    sub.include_router(router, prefix="/sub")
    outer = fastapi.APIRouter()
    outer.mount("/mounted", sub)
    outer.include_router(router, prefix="/deep")
    app.include_router(router)
    app.include_router(router, prefix="/v1")
    app.include_router(outer)
    app.mount("/{tenant}/in", sub)
    return app


@pytest.mark.parametrize("root", ["", "/pre"])
@pytest.mark.parametrize(
    ("make", "target", "route"),
    [
        (starlette_app, "/users/7", "/users/{id}"),
        (starlette_app, "/v1/users/7", "/v1/users/{id}"),
        (starlette_app, "/v1/acme/users/7", "/v1/{tenant}/users/{id}"),
        (starlette_app, "/v1/other/users/8", "/v1/{tenant}/users/{id}"),
        (starlette_app, "/v1/raw/x", "/v1/raw/{path}"),
        (starlette_app, "/x/raw/y", None),
        (starlette_app, "/5/in/users/7", "/{id}/in/users/{id}"),
        (starlette_app, "/only", "/only"),
        (starlette_app, "/nothing", None),
        (fastapi_app, "/users/7", "/users/{id}"),
        (fastapi_app, "/v1/users/7", "/v1/users/{id}"),
        (fastapi_app, "/deep/users/7", "/deep/users/{id}"),
        (fastapi_app, "/mounted/sub/users/7", "/mounted/sub/users/{id}"),
        (fastapi_app, "/acme/in/sub/users/7", "/{tenant}/in/sub/users/{id}"),
    ],
)
def test_a_call_tells_the_route_of_rules_over_asgi(make, target, route, root):
    """Under a root path of the server's as well, and however the app is put together."""
    mesh = TestMesh(NOTHING)
    headers = [("host", "other" if target == "/only" else "app")]
    asgi_call(AsgiMesh(make(), mesh), scope=http_scope(root + target, root_path=root,
                                                       headers=headers))  # fmt: skip
    assert [event.route for event in mesh.events] == [route]
    if route is not None and "raw" not in route:
        by_rule = TestMesh(ours("DENY", by_handler(routes=[route])))
        scope = http_scope(root + target, root_path=root, headers=headers)
        assert asgi_call(AsgiMesh(make(), by_rule), scope=scope).status == 403


def flask_app():
    """Flask."""
    app = flask.Flask("labels", static_folder=None)
    app.add_url_rule("/users/<int:id>", "user", RUNS.plain("user"))
    return app


def test_a_call_tells_the_route_of_rules_over_wsgi():
    """With the mounts of a dispatcher, and without SCRIPT_NAME."""
    mesh = TestMesh(NOTHING)
    app = WsgiMesh(DispatcherMiddleware(flask_app(), {"/in": flask_app()}), mesh)
    for root in ("", "/pre"):
        for target in ("/users/7", "/in/users/7"):
            wsgi_call(app, environ=environ_of(target, SCRIPT_NAME=root))
    both = ["/users/<int:id>", "/in/users/<int:id>"]
    assert [event.route for event in mesh.events] == both + both


def test_a_mesh_within_tells_the_same():
    """The mounts in front of it belong to the route."""
    mesh = TestMesh(NOTHING)
    inner = flask_app()
    inner.wsgi_app = WsgiMesh(inner.wsgi_app, mesh)
    asgi_call(Starlette(routes=[Mount("/old", WSGIMiddleware(inner))]), "/old/users/7")
    asgi_call(Starlette(routes=[Mount("/{old}", WSGIMiddleware(inner))]), "/x/users/7")
    sub = fastapi_app()
    sub.add_middleware(AsgiMesh, mesh=mesh)
    outer = Starlette(routes=[Mount("/{a}", sub)])
    asgi_call(outer, scope=http_scope("/pre/x/v1/users/7", root_path="/pre"))
    assert [event.route for event in mesh.events] == [
        "/old/users/<int:id>",
        "/{old}/users/<int:id>",
        "/{a}/v1/users/{id}",
    ]


def test_paths_of_mounts_that_callers_make_up_are_not_kept_for_ever():
    """The memory of them is bounded."""
    from meshware.handlers import template

    mesh = TestMesh(NOTHING)
    app = AsgiMesh(starlette_app(), mesh)
    template._known.clear()
    for number in range(template._MOST + 10):
        asgi_call(app, f"/v1/t{number}/users/7")
    assert 0 < len(template._known) <= template._MOST
    assert {event.route for event in mesh.events} == {"/v1/{tenant}/users/{id}"}


def test_a_call_that_nothing_handles_takes_no_name_from_those_after_it():
    """405 of the same route comes first."""
    mesh = TestMesh(NOTHING)
    app = AsgiMesh(starlette_app(), mesh)
    for method in ("DELETE", "GET"):
        asgi_call(app, "/v1/acme/users/7", method=method)
    assert [event.status for event in mesh.events] == [405, 200]
    assert mesh.events[1].route == "/v1/{tenant}/users/{id}"
