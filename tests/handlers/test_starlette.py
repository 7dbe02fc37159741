"""What Starlette and FastAPI run for a request, as their own routers say."""

from __future__ import annotations

import warnings

import fastapi
import flask
import pytest
from handler_world import Runs
from inbound_drive import http_scope
from starlette.applications import Starlette
from starlette.endpoints import HTTPEndpoint
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.staticfiles import StaticFiles

from meshware.handlers.forecast import find_by_scope
from meshware.policy.inbound_facts import Handler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS = Runs()


class Things(HTTPEndpoint):
    """A class-based endpoint."""

    async def get(self, request):
        """Show things.

        ---
        operationId: showThings
        """


class Odd(BaseRoute):
    """A route that nobody knows."""

    def matches(self, scope):
        """Take everything under /odd."""
        return (Match.FULL if scope["path"].startswith("/odd") else Match.NONE), {}


class Failing(BaseRoute):
    """A route that fails."""

    def matches(self, scope):
        """Fail."""
        raise KeyError(scope["path"])


async def raw(scope, receive, send):
    """An ASGI app of no framework."""


def nobody_knows(app):
    """A middleware that shows nothing of the app behind it."""

    async def middleware(scope, receive, send):
        await app(scope, receive, send)

    return middleware


class Around:
    """A middleware as they are usually written."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


old = flask.Flask("old")
old.add_url_rule("/users/<int:id>", "user", RUNS.plain("old_user"))

users = fastapi.APIRouter(prefix="/users")
users.get("/{id}", operation_id="showUser")(RUNS.plain("show_user"))
users.delete("/{id}")(RUNS.plain("drop_user"))
users.add_route("/raw/{x:int}", RUNS.starlette("raw_user"))
users.mount("/static", StaticFiles(directory="."))
outer = fastapi.APIRouter()
outer.include_router(users, prefix="/{tenant}")
outer.get("/own")(RUNS.plain("own"))
api = fastapi.FastAPI()
api.include_router(outer, prefix="/v1")
api.include_router(users)
api.get("/plain")(RUNS.plain("plain"))
api.websocket("/ws/{room}")(RUNS.plain("room"))

APP = Starlette(
    routes=[
        Route("/", RUNS.starlette("home")),
        Route("/users/{id:int}", RUNS.starlette("show"), methods=["GET"]),
        Route("/users/{id:int}", RUNS.starlette("edit"), methods=["PUT", "PATCH"]),
        Route("/dir/", RUNS.starlette("dir")),
        Route("/things", Things),
        WebSocketRoute("/ws/{room}", RUNS.starlette("room")),
        Mount("/t/{tenant}", routes=[Route("/users/{id}", RUNS.starlette("tenant_user"))]),
        Mount("/api", api, middleware=[Middleware(Around)]),
        Mount("/static", StaticFiles(directory=".")),
        Mount("/raw", raw),
        Mount("/hidden", nobody_knows(Router([Route("/x", RUNS.starlette("hidden"))]))),
        Mount("/old", WSGIMiddleware(old)),
        Host("{sub}.example.org", Router([Route("/only", RUNS.starlette("hosted"))])),
        Mount("/fallback", Router([Route("/x", RUNS.starlette("x"))], default=raw)),
        Odd(),
    ]
)


def names(handlers):
    """One line for each handler: its last route and its function."""
    return None if handlers is None else [(one.routes[-1], one.functions[-1]) for one in handlers]


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        ("GET", "/", [("/", "shop.api.home")]),
        ("GET", "/users/7", [("/users/{id}", "shop.api.show")]),
        ("HEAD", "/users/7", [("/users/{id}", "shop.api.show")]),
        ("PUT", "/users/7", [("/users/{id}", "shop.api.edit")]),
        ("GET", "/users/%37", [("/users/{id}", "shop.api.show")]),
        ("DELETE", "/users/7", []),  # 405
        ("OPTIONS", "/users/7", []),
        ("get", "/users/7", []),
        ("GET", "/users/x", []),
        ("GET", "/USERS/7", []),
        ("GET", "//users/7", []),
        ("GET", "/users/7/", []),  # a redirect
        ("GET", "/dir", []),
        ("GET", "/dir/", [("/dir/", "shop.api.dir")]),
        ("GET", "/./users/7", []),
        ("GET", "/users/7%0a", [("/users/{id}", "shop.api.show")]),  # `$` in their expression
        ("GET", "/things", [("/things", f"{__name__}.Things")]),
        ("GET", "/t/acme/users/7", [("/t/{tenant}/users/{id}", "shop.api.tenant_user")]),
        ("GET", "/t%2facme/users/7", [("/t/{tenant}/users/{id}", "shop.api.tenant_user")]),
        ("GET", "/t/acme/other", []),
        ("GET", "/static/x.css", [("/static/{path}", "starlette.staticfiles.StaticFiles")]),
        ("GET", "/raw/x", None),
        ("GET", "/hidden/x", None),
        ("GET", "/odd/x", None),
        ("GET", "/fallback/x", [("/fallback/x", "shop.api.x")]),
        ("GET", "/fallback/y", None),
        ("GET", "/only", []),
        ("GET", "/api/plain", [("/api/plain", "shop.api.plain")]),
        ("GET", "/api/users/7", [("/api/users/{id}", "shop.api.show_user")]),
        ("DELETE", "/api/users/7", [("/api/users/{id}", "shop.api.drop_user")]),
        ("POST", "/api/users/7", []),
        ("GET", "/api/v1/own", [("/api/v1/own", "shop.api.own")]),
        ("GET", "/api/v1/a/users/7", [("/api/v1/{tenant}/users/{id}", "shop.api.show_user")]),
        ("POST", "/api/v1/a/users/7", []),
        ("GET", "/api/raw/7", [("/api/raw/{x}", "shop.api.raw_user")]),
        ("GET", "/api/v1/a/raw/7", [("/api/v1/{tenant}/raw/{x}", "shop.api.raw_user")]),
        ("GET", "/api/static/x",
         [("/api/static/{path}", "starlette.staticfiles.StaticFiles")]),
        ("GET", "/api/docs", [("/api/docs", "fastapi.applications.FastAPI.setup.<locals>."
                                            "swagger_ui_html")]),
        ("GET", "/api/nothing", []),
        ("GET", "/old/users/7", [("/old/users/{id}", "shop.api.old_user")]),
        ("GET", "/old/users/x", []),
        ("GET", "/old//users/7", [("/old/users/{id}", "shop.api.old_user")]),  # Flask's way
    ],
)  # fmt: skip
def test_the_routers_say_what_runs(method, target, found):
    """Through mounts, hosts, included routers, apps within apps, and over to WSGI."""
    scope = http_scope(target, method=method)
    before = {**scope, "state": dict(scope["state"])}
    assert names(find_by_scope(Around(APP), scope, None).handlers) == found
    assert scope == before  # whatever a router notes, it notes elsewhere
    assert not RUNS


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/ws/a", [("/ws/{room}", "shop.api.room")]),
        ("/api/ws/a", [("/api/ws/{room}", "shop.api.room")]),
        ("/users/7", []),
        ("/old/users/7", None),
    ],
)
def test_a_websocket_has_routes_of_its_own(target, found):
    """Those of requests are none of it."""
    assert names(find_by_scope(APP, http_scope(target, kind="websocket"), None).handlers) == found


def test_a_host_is_asked_of_the_header():
    """In any case, with its port."""
    scope = http_scope("/only", headers=[("host", "A.Example.org:8000")])
    assert names(find_by_scope(APP, scope, None).handlers) == [("/only", "shop.api.hosted")]


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/pre/users/7", "/pre", [("/users/{id}", "shop.api.show")]),
        ("/users/7", "/pre", [("/users/{id}", "shop.api.show")]),
        ("/prefix/users/7", "/pre", []),
    ],
)
def test_the_prefix_of_the_server_is_no_part_of_a_route(path, root, found):
    """It belongs to the deployment; the app's own routes do not hold it."""
    assert names(find_by_scope(APP, http_scope(path, root_path=root), None).handlers) == found


def test_the_path_that_the_app_will_see_is_asked_about():
    """Where MeshConfig normalises paths, the one received is never routed."""
    scope = http_scope("/x/../users/7")
    assert names(find_by_scope(APP, scope, "/users/7").handlers) == [
        ("/users/{id}", "shop.api.show")
    ]


def test_an_operation_id_is_given_by_fastapi_or_written_in_a_docstring():
    """FastAPI makes one where the author wrote none, and publishes it."""

    def ids(target, method="GET"):
        found = find_by_scope(APP, http_scope(target, method=method), None).handlers
        return [one.operation_ids for one in found]

    assert ids("/api/users/7") == [("showUser",)]
    assert ids("/api/users/7", "DELETE") == [("drop_user_users__id__delete",)]
    assert ids("/things") == [("showThings",)]
    assert ids("/users/7") == [()]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one router is included twice, with its one ID
        published = api.openapi()["paths"]["/users/{id}"]
    assert published["delete"]["operationId"] == "drop_user_users__id__delete"


def test_a_router_that_fails_is_not_asked_twice(caplog):
    """The app would answer 500; which rule holds is not known."""
    from meshware.handlers.found import HandlersOfCall

    handlers = HandlersOfCall(find_by_scope, Starlette(routes=[Failing()]), http_scope("/"))
    assert handlers(None) is None
    assert handlers(None) is None
    assert handlers.found is not None
    [said] = caplog.messages  # with the place, for whoever has to mend it
    assert said.startswith("the app's router cannot be asked: KeyError: '/', in ")
    assert f"in {__file__}:" in said


@pytest.mark.parametrize("app", [raw, nobody_knows(APP), object()])
def test_what_is_of_no_framework_is_not_known(app):
    """Or what hides it."""
    assert find_by_scope(app, http_scope("/"), None).handlers is None


def test_a_ring_of_wrappers_ends():
    """Whoever wraps himself is asked only so often."""
    ring = Around(None)
    ring.app = ring
    assert find_by_scope(ring, http_scope("/"), None).handlers is None


def test_a_fastapi_with_a_root_path_routes_behind_it():
    """As it sets the scope's itself when it is called."""
    app = fastapi.FastAPI()
    app.root_path = "/pre"
    app.get("/x")(RUNS.plain("x"))
    scope = http_scope("/pre/x")
    assert find_by_scope(app, scope, None).handlers == (
        Handler(routes=("/x",), functions=("x", "shop.api.x"), operation_ids=("x_x_get",)),
    )
    assert scope["root_path"] == ""


def test_frontends_of_fastapi_are_not_known(tmp_path):
    """Which file one answers with is its own matter; a regular route comes first."""
    (tmp_path / "index.html").write_text("hello", encoding="utf-8")
    app = fastapi.FastAPI()
    app.get("/x")(RUNS.plain("x"))
    app.frontend("/", directory=tmp_path)
    assert names(find_by_scope(app, http_scope("/x"), None).handlers) == [("/x", "shop.api.x")]
    assert find_by_scope(app, http_scope("/y"), None).handlers is None


def test_a_function_in_front_hides_nothing_from_a_mesh_within_the_app():
    """Starlette says in the scope which app it is."""
    from meshware.asgi import MeshMiddleware

    app = Starlette(
        routes=[Route("/x", RUNS.starlette("x"))],
        middleware=[Middleware(MeshMiddleware), Middleware(nobody_knows)],
    )
    behind = nobody_knows(app.router)
    scope = http_scope("/x", app=app)
    assert names(find_by_scope(behind, scope, None).handlers) == [("/x", "shop.api.x")]
    elsewhere = Starlette(routes=[Route("/x", RUNS.starlette("x"))])
    assert find_by_scope(behind, http_scope("/x", app=elsewhere), None).handlers is None


def test_a_made_operation_id_is_every_one_that_it_may_be():
    """FastAPI takes one of several methods for its end, another in another process."""
    from fastapi import FastAPI

    from meshware.handlers.starlette import _made_ids

    app = FastAPI()

    @app.api_route("/x", methods=["GET", "POST", "PUT"])
    def danger():
        """Run."""

    @app.api_route("/y", methods=["GET", "POST"], operation_id="mine")
    def named():
        """Run."""

    several, own = (route for route in app.routes if getattr(route, "path", "") in ("/x", "/y"))
    assert set(_made_ids(several)) == {"danger_x_get", "danger_x_post", "danger_x_put"}
    assert _made_ids(own) == ("mine",)
