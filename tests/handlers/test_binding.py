"""A call is held to the handler that its rules were told of: nothing else runs."""

from __future__ import annotations

import warnings

import fastapi
import flask
import pytest
from handler_world import Runs, by_handler, ours
from inbound_drive import asgi_call, asgi_call_async, environ_of, http_scope, wsgi_call
from inbound_world import mesh_config, policy, to
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route, WebSocketRoute

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS = Runs()
REFUSED = "RBAC: access denied"
NOT_ADMIN = ours("DENY", by_handler(functions=["admin"]))


@pytest.fixture(autouse=True)
def _no_runs():
    RUNS.clear()


class InPlace:
    """Does to the scope what headers say, as some middleware does."""

    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        for name, value in scope["headers"]:
            if name == b"x-test-path":
                scope["path"] = value.decode()
            if name == b"x-test-method":
                scope["method"] = value.decode()
        await self.app(scope, receive, send)


class Copying(InPlace):
    """The same, on a copy."""

    async def __call__(self, scope, receive, send):
        await super().__call__(dict(scope), receive, send)


class Bare(InPlace):
    """The same, on a copy without what the middleware does not know."""

    async def __call__(self, scope, receive, send):
        known = {key: value for key, value in scope.items() if not key.startswith("mesh")}
        await super().__call__(known, receive, send)


class InTask(BaseHTTPMiddleware):
    """Runs the app in a task of its own."""

    async def dispatch(self, request, call_next):
        request.scope["path"] = request.headers.get("x-test-path", request.scope["path"])
        request.scope["method"] = request.headers.get("x-test-method", request.scope["method"])
        return await call_next(request)


def starlette_app(middleware):
    """Starlette, with mounts."""
    return Starlette(
        routes=[
            Route("/open", RUNS.starlette("open")),
            Route("/admin", RUNS.starlette("admin")),
            Route("/both", RUNS.starlette("read"), methods=["GET"]),
            Route("/one", RUNS.starlette("write"), methods=["POST"]),
            Mount("/sub", routes=[Route("/admin", RUNS.starlette("admin"))]),
            Mount("/twin", routes=[Route("/open", RUNS.starlette("twin_open"))]),
        ],
        middleware=[Middleware(middleware)],
    )


def fastapi_app(middleware):
    """FastAPI, with an included router, twice."""
    app = fastapi.FastAPI(middleware=[Middleware(middleware)])
    router = fastapi.APIRouter()
    router.get("/open")(RUNS.fastapi("open"))
    router.get("/admin")(RUNS.fastapi("admin"))
    router.get("/both")(RUNS.fastapi("read"))
    router.post("/one")(RUNS.fastapi("write"))
    app.include_router(router)
    app.include_router(router, prefix="/sub")
    other = fastapi.APIRouter()
    other.get("/open")(RUNS.fastapi("twin_open"))
    app.include_router(other, prefix="/twin")
    return app


class WsgiRewriting:
    """Does to the environ what headers say."""

    def __init__(self, app):
        self.app = app

    def __call__(self, environ, start_response):
        environ = dict(environ)
        environ["PATH_INFO"] = environ.get("HTTP_X_TEST_PATH", environ["PATH_INFO"])
        environ["REQUEST_METHOD"] = environ.get("HTTP_X_TEST_METHOD", environ["REQUEST_METHOD"])
        return self.app(environ, start_response)


class WsgiBare(WsgiRewriting):
    """The same, on an environ without what the middleware does not know."""

    def __call__(self, environ, start_response):
        known = {key: value for key, value in environ.items() if not key.startswith("mesh")}
        return super().__call__(known, start_response)


def flask_app(middleware):
    """Flask, with a blueprint."""
    app = flask.Flask("bound")
    app.add_url_rule("/open", "open", RUNS.plain("open"))
    app.add_url_rule("/admin", "admin", RUNS.plain("admin"))
    app.add_url_rule("/both", "read", RUNS.plain("read"))
    app.add_url_rule("/one", "write", RUNS.plain("write"), methods=["POST"])
    sub = flask.Blueprint("sub", "bound", url_prefix="/sub")
    sub.add_url_rule("/admin", "admin", RUNS.plain("admin"))
    app.register_blueprint(sub)
    twin = flask.Blueprint("twin", "bound", url_prefix="/twin")
    twin.add_url_rule("/open", "open", RUNS.plain("twin_open"))
    app.register_blueprint(twin)
    app.wsgi_app = middleware(app.wsgi_app)
    return app


CASES = [
    *((starlette_app, middleware) for middleware in (InPlace, Copying, Bare, InTask)),
    *((fastapi_app, middleware) for middleware in (InPlace, Copying, Bare, InTask)),
    *((flask_app, middleware) for middleware in (WsgiRewriting, WsgiBare)),
]


def ask(make, middleware, policies, target, *, method="GET", **headers):
    """Status, body and runs of one call, and the event that was told."""
    mesh = TestMesh(policies)
    pairs = [("host", "app"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    app = make(middleware)
    if make is flask_app:
        answer = wsgi_call(WsgiMesh(app, mesh), target, method=method, headers=pairs)
    else:
        answer = asgi_call(AsgiMesh(app, mesh), target, method=method, headers=pairs)
    assert answer.error is None
    return answer.status, answer.text, dict(RUNS), mesh.events[-1]


@pytest.mark.parametrize(("make", "middleware"), CASES)
class TestBehindMiddleware:
    """Whatever stands between the mesh and the router."""

    @pytest.mark.parametrize("target", ["/open", "/nothing", "/twin/open", "/twin/nothing"])
    @pytest.mark.parametrize("path", ["/admin", "/sub/admin"])
    def test_a_path_that_is_rewritten_afterwards_runs_nothing(self, make, middleware, target, path):
        """The rule was asked of another handler, or of none."""
        found = ask(make, middleware, [NOT_ADMIN], target, x_test_path=path)
        assert found[:3] == (403, REFUSED, {})
        assert found[3].status == 403
        assert found[3].reason == "rbac_access_denied_another_handler"
        assert found[3].is_refused
        assert found[3].candidates == (target,)

    def test_a_method_that_is_overridden_runs_nothing(self, make, middleware):
        """It was decided for 405."""
        policies = [ours("DENY", by_handler(functions=["write"]))]
        found = ask(make, middleware, policies, "/one", x_test_method="POST")
        assert (found[0], found[2]) == (403, {})
        assert ask(make, middleware, policies, "/one")[0] == 405

    def test_what_was_decided_runs(self, make, middleware):
        """With its own answer."""
        assert ask(make, middleware, [NOT_ADMIN], "/open")[0::2] == (200, {"open": 1})
        assert ask(make, middleware, [NOT_ADMIN], "/both")[0] == 200
        assert ask(make, middleware, [NOT_ADMIN], "/nothing")[0] == 404
        assert ask(make, middleware, [NOT_ADMIN], "/both", method="POST")[0] == 405
        assert ask(make, middleware, [NOT_ADMIN], "/admin")[0] == 403
        assert ask(make, middleware, [NOT_ADMIN], "/sub/admin")[0] == 403
        assert RUNS["admin"] == 0

    def test_a_path_that_is_allowed_by_its_handler_leads_to_no_other(self, make, middleware):
        """ALLOW is held to it as DENY is."""
        policies = [ours("ALLOW", by_handler(routes=["/open"]))]
        assert ask(make, middleware, policies, "/open")[0] == 200
        found = ask(make, middleware, policies, "/open", x_test_path="/twin/open")
        assert (found[0], found[2]) == (403, {"open": 1})

    @pytest.mark.parametrize(
        "policies",
        [
            [],
            [policy("DENY", to(paths=["/never"]))],
            [ours("DENY", by_handler(functions=["admin"], methods=["PURGE"]))],
            [ours("DENY", by_handler(functions=["admin"], paths=["/never"]))],
        ],
        ids=["no policy", "by path", "never asked: method", "never asked: path"],
    )
    def test_a_call_whose_rules_asked_nothing_is_left_alone(self, make, middleware, policies):
        """What middleware does is the app's own matter then."""
        found = ask(make, middleware, policies, "/open", x_test_path="/twin/open")
        assert (found[0], found[2]) == (200, {"twin_open": 1})


def test_a_websocket_is_closed_before_it_is_accepted():
    """As any refusal of one."""

    async def room(websocket):
        RUNS["room"] += 1
        await websocket.accept()

    app = Starlette(
        routes=[WebSocketRoute("/open", RUNS.starlette("open")), WebSocketRoute("/admin", room)],
        middleware=[Middleware(InPlace)],
    )
    mesh = TestMesh([ours("DENY", by_handler(functions=["room"]))])
    headers = [("host", "app"), ("x-test-path", "/admin")]
    answer = asgi_call(AsgiMesh(app, mesh), scope=http_scope("/open", kind="websocket",
                                                             headers=headers))  # fmt: skip
    assert answer.messages == ["websocket.close"]
    assert not RUNS
    direct = asgi_call(AsgiMesh(app, mesh), scope=http_scope("/admin", kind="websocket"))
    assert direct.messages == ["websocket.close"]
    assert not RUNS


def test_a_handler_may_call_another_part_of_its_app():
    """That is the app's doing, and no way around: the handler itself was let in."""

    async def outer(request):
        RUNS["outer"] += 1
        inner = await asgi_call_async(plain, http_scope("/admin"))
        return PlainTextResponse(str(inner.status))

    plain = Starlette(
        routes=[Route("/outer", outer), Route("/admin", RUNS.starlette("admin"))],
    )
    answer = asgi_call(AsgiMesh(plain, TestMesh([NOT_ADMIN])), "/outer")
    assert (answer.status, answer.text) == (200, "200")
    assert RUNS == {"outer": 1, "admin": 1}


def test_flask_within_starlette_is_held_to_its_rule():
    """Through the bridge, with and without a middleware that rewrites."""
    inner = flask_app(WsgiRewriting)
    app = Starlette(routes=[Mount("/old", WSGIMiddleware(inner))])
    mesh = TestMesh([NOT_ADMIN])

    def status(target, **headers):
        pairs = [("host", "app"), *((name.replace("_", "-"), value)
                                    for name, value in headers.items())]  # fmt: skip
        return asgi_call(AsgiMesh(app, mesh), target, headers=pairs).status

    assert status("/old/open") == 200
    assert status("/old/admin") == 403
    assert status("/old/sub/admin") == 403
    assert status("/old/open", x_test_path="/admin") == 403
    assert status("/old/nothing", x_test_path="/admin") == 403
    assert RUNS == {"open": 1}


@pytest.mark.parametrize("mode", ["NONE", "BASE", "DECODE_AND_MERGE_SLASHES"])
@pytest.mark.parametrize("make", [starlette_app, fastapi_app, flask_app])
def test_a_path_that_mesh_config_rewrites_is_the_one_that_is_asked_about(make, mode):
    """What the app sees is what is routed."""
    policies = [mesh_config(pathNormalization={"normalization": mode}), NOT_ADMIN]
    middleware = WsgiRewriting if make is flask_app else InPlace
    for target in ("/admin", "/x/../admin", "//admin", "/%61dmin", "/x%2f..%2fadmin", "/sub/admin"):
        assert ask(make, middleware, policies, target)[0] in (403, 404)
    assert not RUNS
    assert ask(make, middleware, policies, "/open")[0] == 200


def test_audit_alone_holds_nobody_to_anything():
    """What is only told is not enforced."""
    from meshware.policy.document.authorization_policy import (
        MeshAuthorizationPolicySpec,
        MeshOperation,
        MeshRule,
        MeshTo,
    )
    from meshware.policy.inbound_rules import NamedPolicy, compile_inbound

    def binds(action, is_dry_run=False, **operation):
        spec = MeshAuthorizationPolicySpec(
            action=action, rules=(MeshRule(to=(MeshTo(operation=MeshOperation(**operation)),)),)
        )
        named = NamedPolicy(namespace="a", name="b", spec=spec, is_dry_run=is_dry_run)
        return compile_inbound([named]).binds_handlers

    assert binds("DENY", routes=("/a",))
    assert binds("ALLOW", not_functions=("a",))
    assert not binds("DENY", paths=("/a",))


def test_the_environ_that_the_router_sees_is_a_copy():
    """Nothing of the forecast is left in the server's own."""
    app = flask_app(WsgiRewriting)
    environ = environ_of("/open")
    answer = wsgi_call(WsgiMesh(app, TestMesh([NOT_ADMIN])), environ=environ)
    assert answer.status == 200
    assert set(environ) - set(environ_of("/open")) == {"meshware", "HTTP_X_REQUEST_ID"}
