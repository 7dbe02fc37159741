"""Rules by route hold where the mesh stands within a mounted app, as they do in front of it."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import fastapi
import flask
import pytest
from handler_world import Runs, by_handler, ours
from inbound_drive import asgi_call, environ_of, http_scope, wsgi_call
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Host, Mount, Route, Router
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.handlers import mounts
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS = Runs()


def sub_starlette(mesh):
    """A sub-application with middleware of its own."""
    return Starlette(
        routes=[Route("/items/{id}", RUNS.starlette("item"))],
        middleware=[Middleware(AsgiMesh, mesh=mesh)],
    )


def sub_fastapi(mesh):
    """The same of FastAPI, in a router that it includes."""
    app = fastapi.FastAPI()
    router = fastapi.APIRouter()
    router.get("/{id}")(RUNS.fastapi("item"))
    app.include_router(router, prefix="/items")
    app.add_middleware(AsgiMesh, mesh=mesh)
    return app


def sub_flask():
    """The same of Flask."""
    app = flask.Flask("sub", static_folder=None)
    app.add_url_rule("/items/<id>", "item", RUNS.plain("item"))
    return app


def meshed_flask(mesh):
    """With a mesh of its own."""
    app = sub_flask()
    app.wsgi_app = WsgiMesh(app.wsgi_app, mesh)
    return app


def in_fastapi(path, app):
    """FastAPI that mounts an app."""
    outer = fastapi.FastAPI()
    outer.mount(path, app)
    return outer


def in_included(path, app, prefix=""):
    """FastAPI that includes a router with a mount."""
    outer = fastapi.FastAPI()
    router = fastapi.APIRouter()
    router.mount(path, app)
    outer.include_router(router, prefix=prefix)
    return outer


def hidden(app):
    """A wrapper through which nothing can be seen."""

    async def call(scope, receive, send):
        await app(scope, receive, send)

    return call


def foreign(prefix, app):
    """A dispatcher of somebody's own, over ASGI."""

    async def call(scope, receive, send):
        await app({**scope, "root_path": scope["root_path"] + prefix}, receive, send)

    return call


def foreign_wsgi(prefix, app):
    """And over WSGI."""

    def call(environ, start_response):
        moved = {
            **environ,
            "SCRIPT_NAME": environ["SCRIPT_NAME"] + prefix,
            "PATH_INFO": environ["PATH_INFO"].removeprefix(prefix),
        }
        return app(moved, start_response)

    return call


# The way in which the mesh is mounted, the request, and the route as it is documented.
MOUNTED = {
    "Starlette in Starlette": (
        lambda mesh: Starlette(routes=[Mount("/api", sub_starlette(mesh))]),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "FastAPI in FastAPI": (
        lambda mesh: in_fastapi("/api", sub_fastapi(mesh)),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "FastAPI in an included router": (
        lambda mesh: in_included("/api", sub_fastapi(mesh)),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "FastAPI in a router that is included below a prefix": (
        lambda mesh: in_included("/{b}", sub_fastapi(mesh), "/a"),
        "/a/b/items/5",
        "/a/{b}/items/{id}",
    ),
    "mounts in mounts": (
        lambda mesh: Starlette(
            routes=[Mount("/a", routes=[Mount("/b", app=in_fastapi("/c", sub_fastapi(mesh)))])]
        ),
        "/a/b/c/items/5",
        "/a/b/c/items/{id}",
    ),
    "a mount with a parameter": (
        lambda mesh: Starlette(routes=[Mount("/{tenant}", sub_starlette(mesh))]),
        "/acme/items/5",
        "/{tenant}/items/{id}",
    ),
    "a parameter that looks like another mount": (
        lambda mesh: Starlette(
            routes=[Mount("/v1/api", routes=[]), Mount("/{tenant}", sub_starlette(mesh))]
        ),
        "/v1/items/5",
        "/{tenant}/items/{id}",
    ),
    "middleware of a mount": (
        lambda mesh: Starlette(
            routes=[
                Mount("/api", routes=[Route("/items/{id}", RUNS.starlette("item"))],
                      middleware=[Middleware(AsgiMesh, mesh=mesh)])
            ]
        ),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "middleware of a router": (
        lambda mesh: Starlette(
            routes=[
                Mount("/api", Router([Route("/items/{id}", RUNS.starlette("item"))],
                                     middleware=[Middleware(AsgiMesh, mesh=mesh)]))
            ]
        ),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "wrapped by hand": (
        lambda mesh: Starlette(
            routes=[
                Mount("/api", AsgiMesh(
                    Starlette(routes=[Route("/items/{id}", RUNS.starlette("item"))]), mesh))
            ]
        ),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "a host, and a mount": (
        lambda mesh: Starlette(
            routes=[Host("app", Router([Mount("/api", sub_starlette(mesh))]))]
        ),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "a host": (
        lambda mesh: Starlette(routes=[Host("app", sub_starlette(mesh))]),
        "/items/5",
        "/items/{id}",
    ),
    "Flask in Starlette": (
        lambda mesh: Starlette(routes=[Mount("/{old}", WSGIMiddleware(meshed_flask(mesh)))]),
        "/old/items/5",
        "/{old}/items/{id}",
    ),
    "Flask in a dispatcher in Starlette": (
        lambda mesh: Starlette(
            routes=[
                Mount("/old", WSGIMiddleware(
                    DispatcherMiddleware(sub_flask(), {"/in": meshed_flask(mesh)})))
            ]
        ),
        "/old/in/items/5",
        "/old/in/items/{id}",
    ),
    "in front of Flask in Starlette": (
        lambda mesh: Starlette(routes=[Mount("/old", AsgiMesh(WSGIMiddleware(sub_flask()), mesh))]),
        "/old/items/5",
        "/old/items/{id}",
    ),
    "Flask in a dispatcher": (
        lambda mesh: DispatcherMiddleware(sub_flask(), {"/api": meshed_flask(mesh)}),
        "/api/items/5",
        "/api/items/{id}",
    ),
    "Flask in dispatchers": (
        lambda mesh: DispatcherMiddleware(
            sub_flask(),
            {"/a": DispatcherMiddleware(sub_flask(), {"/b": meshed_flask(mesh)})},
        ),
        "/a/b/items/5",
        "/a/b/items/{id}",
    ),
    "in front of a dispatcher": (
        lambda mesh: WsgiMesh(DispatcherMiddleware(sub_flask(), {"/api": sub_flask()}), mesh),
        "/api/items/5",
        "/api/items/{id}",
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _no_runs():
    RUNS.clear()


def status_of(make, target, *policies, root=""):
    """What comes back of a request, and how often the handler ran for it."""
    app = make(TestMesh(list(policies)))
    RUNS.clear()
    if isinstance(app, DispatcherMiddleware | WsgiMesh | flask.Flask) or make in FOREIGN_WSGI:
        environ = environ_of(target, SCRIPT_NAME=root)
        return wsgi_call(app, environ=environ).status, RUNS["item"]
    scope = http_scope(root + target, root_path=root)
    answer = asgi_call(app, scope=scope)
    return answer.status, RUNS["item"]


FOREIGN_WSGI: list = []
WAYS = pytest.mark.parametrize(("make", "target", "route"), MOUNTED.values(), ids=MOUNTED)
ROOTS = pytest.mark.parametrize("root", ["", "/pre", "/pre/fix"])


@WAYS
@ROOTS
def test_a_route_is_denied_by_the_name_that_is_documented(make, target, route, root):
    """With the templates of all mounts in front."""
    for value in (route, f"{route[:6]}*", f"*{route[3:]}"):
        rule = ours("DENY", by_handler(routes=[value]))
        assert status_of(make, target, rule, root=root) == (403, 0), value
    others = ours("DENY", by_handler(routes=["/other/{id}", "/x/*", f"{route}/x"]))
    assert status_of(make, target, others, root=root) == (200, 1)


@WAYS
@ROOTS
def test_a_route_is_allowed_by_that_name_alone(make, target, route, root):
    """Not by the part of it that the app within knows, nor by the path that was asked for."""
    assert status_of(make, target, ours("ALLOW", by_handler(routes=[route])), root=root) == (
        200,
        1,
    )
    for value in {"/items/{id}", target, target.replace("/5", "/{id}"), f"/pre{route}"} - {route}:
        rule = ours("ALLOW", by_handler(routes=[value]))
        assert status_of(make, target, rule, root=root) == (403, 0), value


@WAYS
@ROOTS
def test_the_twin_of_the_field_goes_by_that_name(make, target, route, root):
    """DENY of all but it lets it pass; ALLOW of all but it, or but part of it, does not."""
    but = ours("DENY", by_handler(notRoutes=[route]))
    assert status_of(make, target, but, root=root) == (200, 1)
    but = ours("DENY", by_handler(notRoutes=["/other"]))
    assert status_of(make, target, but, root=root) == (403, 0)
    but = ours("ALLOW", by_handler(notRoutes=[route]))
    assert status_of(make, target, but, root=root) == (403, 0)
    but = ours("ALLOW", by_handler(notRoutes=["/other"]))
    assert status_of(make, target, but, root=root) == (200, 1)


WITHIN = [name for name in MOUNTED if not name.startswith("in front of a")]


@pytest.mark.parametrize("name", WITHIN)
def test_what_refuses_holds_for_the_name_within_as_well(name):
    """Rules that were written for the app alone go on holding."""
    make, target, _ = MOUNTED[name]
    rule = ours("DENY", by_handler(routes=["/items/{id}"]))
    assert status_of(make, target, rule) == (403, 0)


@pytest.mark.parametrize("count", [1, 12, 60])
def test_an_index_of_rules_finds_it_too(count):
    """Among many rules one is found by its value."""
    make, target, route = MOUNTED["Starlette in Starlette"]
    rules = [by_handler(routes=[f"/other/{n}"]) for n in range(count)]
    found = ours("DENY", *rules, by_handler(routes=[route]))
    assert status_of(make, target, found) == (403, 0)
    within = ours("DENY", *rules, by_handler(routes=["/items/{id}"]))
    assert status_of(make, target, within) == (403, 0)
    assert status_of(make, target, ours("DENY", *rules)) == (200, 1)
    assert status_of(make, target, ours("ALLOW", *rules, by_handler(routes=[route]))) == (
        200, 1,
    )  # fmt: skip
    within = ours("ALLOW", *rules, by_handler(routes=["/items/{id}"]))
    assert status_of(make, target, within) == (403, 0)


# --- where the mounts cannot be known -------------------------------------------------------------

UNKNOWN = {
    "behind what hides it": lambda mesh: Starlette(
        routes=[Mount("/{tenant}", hidden(sub_starlette(mesh)))]
    ),
    "behind what moves it": lambda mesh: Starlette(
        routes=[Mount("/api", foreign("/x", sub_starlette(mesh)))]
    ),
}


@pytest.mark.parametrize("make", UNKNOWN.values(), ids=UNKNOWN)
@pytest.mark.parametrize(
    ("value", "denied"),
    [
        ("/{tenant}/items/{id}", 403),
        ("/api/items/{id}", 403),
        ("/items/{id}", 403),
        ("/anything/*", 403),
        ("*/items/{id}", 403),
        ("*", 403),
        ("*/other", 200),
        ("/items/{id}/x", 200),
        ("/api/things/{id}", 200),
    ],
)
def test_where_mounts_are_not_known_what_may_be_meant_is_refused(make, value, denied):
    """A value that cannot end in the route of the app within is of another route."""
    target = "/api/x/items/5" if make is UNKNOWN["behind what moves it"] else "/api/items/5"
    deny = ours("DENY", by_handler(routes=[value]))
    assert (status_of(make, target, deny))[0] == denied
    allow = ours("ALLOW", by_handler(routes=[value]))
    expected = 200 if value == "*" else 403
    assert (status_of(make, target, allow))[0] == expected
    but = ours("ALLOW", by_handler(notRoutes=[value]))
    assert (status_of(make, target, but))[0] == (403 if denied == 403 else 200)


def test_a_dispatcher_of_ones_own_looks_like_a_server():
    """What refuses holds with its prefix and without; what allows goes by the route without."""

    def over_asgi(mesh):
        return foreign("/api", sub_starlette(mesh))

    def over_wsgi(mesh):
        return foreign_wsgi("/api", meshed_flask(mesh))

    FOREIGN_WSGI.append(over_wsgi)
    for make in (over_asgi, over_wsgi):
        for value, denied, allowed in (
            ("/items/{id}", 403, 200),
            ("/api/items/{id}", 403, 403),
            ("/pre/api/items/{id}", 403, 403),
            ("/pre/items/{id}", 200, 403),
            ("/other", 200, 403),
        ):
            deny = ours("DENY", by_handler(routes=[value]))
            assert (status_of(make, "/api/items/5", deny, root="/pre"))[0] == denied, value
            allow = ours("ALLOW", by_handler(routes=[value]))
            assert (status_of(make, "/api/items/5", allow, root="/pre"))[0] == allowed, value


def test_a_prefix_of_ever_so_many_parts_is_not_taken_apart():
    """Callers of gunicorn's on loopback choose it."""

    def make(mesh):
        return foreign("/a" * 2000, sub_starlette(mesh))

    target = "/a" * 2000 + "/items/5"
    assert (status_of(make, target, ours("DENY", by_handler(routes=["/b/items/{id}"]))))[0] == 403
    assert (status_of(make, target, ours("ALLOW", by_handler(routes=["/items/{id}"]))))[0] == 403


def test_a_mounted_fastapi_may_say_where_it_is_by_itself():
    """It then puts that in the place of what the router found."""

    def make(mesh):
        sub = sub_fastapi(mesh)
        sub.root_path = "/api"
        return in_fastapi("/{name}", sub)

    for value, denied, allowed in (
        ("/{name}/items/{id}", 403, 200),
        ("/items/{id}", 403, 403),
        ("/other/{id}", 200, 403),
    ):
        rule = ours("DENY", by_handler(routes=[value]))
        assert status_of(make, "/api/items/5", rule)[0] == denied, value
        rule = ours("ALLOW", by_handler(routes=[value]))
        assert status_of(make, "/api/items/5", rule)[0] == allowed, value


@pytest.mark.parametrize("prefix", ["/public", "", "/api", "/api/public", "/api/x/.."])
def test_a_prefix_that_callers_choose_moves_no_route(prefix):
    """ProxyFix within a mount puts in what a header says, in the place of the mount's."""

    def make(mesh):
        within = ProxyFix(meshed_flask(mesh), x_prefix=1)
        return DispatcherMiddleware(sub_flask(), {"/api": within})

    def status(action, value):
        app = make(TestMesh(ours(action, by_handler(routes=[value]))))
        environ = environ_of(
            "/api/items/5", headers=[("host", "app"), ("x-forwarded-prefix", prefix)]
        )
        return wsgi_call(app, environ=environ).status  # fmt: skip

    assert status("DENY", "/api/items/{id}") == 403
    assert status("DENY", "/items/{id}") == 403
    is_moved = prefix not in ("", "/api")
    assert status("ALLOW", "/public/items/{id}") == 403
    assert status("ALLOW", "/items/{id}") == 403
    assert status("ALLOW", "/api/items/{id}") == (403 if is_moved else 200)


class Fixed(DispatcherMiddleware):
    """A dispatcher whose mounts cannot be put in another's place."""

    mounts = property(lambda self: self.fixed)

    def __init__(self, app, mounts):
        self.app, self.fixed = app, mounts


def test_a_dispatcher_that_cannot_be_asked_serves_its_calls():
    """What refuses holds for what may be meant; what allows by route does not."""

    def make(mesh):
        return Fixed(sub_flask(), {"/api": meshed_flask(mesh)})

    def status(action, value):
        app = make(TestMesh(ours(action, by_handler(routes=[value]))))
        return wsgi_call(app, environ=environ_of("/api/items/5")).status

    assert status("DENY", "/other") == 200
    assert status("DENY", "/api/items/{id}") == 403
    assert status("DENY", "*/items/{id}") == 403
    assert status("ALLOW", "/api/items/{id}") == 403
    assert status("ALLOW", "/items/{id}") == 403
    assert status("ALLOW", "*") == 200


def test_a_dispatcher_is_not_asked_where_nobody_wants_to_know(monkeypatch):
    """A call takes its way through it once."""
    asked = []
    rehearsed = mounts.chosen
    monkeypatch.setattr(mounts, "chosen", lambda *a: asked.append(a) or rehearsed(*a))
    plain = DispatcherMiddleware(sub_flask(), {"/api": sub_flask()})
    WsgiMesh(plain)  # from here on dispatchers leave traces
    assert wsgi_call(plain, environ=environ_of("/api/items/5")).status == 200
    assert not asked
    rule = ours("DENY", by_handler(routes=["/api/items/{id}"]))
    told = DispatcherMiddleware(sub_flask(), {"/api": meshed_flask(TestMesh(rule))})
    assert wsgi_call(told, environ=environ_of("/api/items/5")).status == 403
    assert asked


LATE = """
import flask, sys
sys.path.insert(0, sys.argv[1])
from handler_world import by_handler, ours
from inbound_drive import environ_of, wsgi_call
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

def make(action):
    app = flask.Flask("late", static_folder=None)
    app.add_url_rule("/items/<id>", "item", lambda id: "ran")
    rule = ours(action, by_handler(routes=["/api/items/{id}"]))
    app.wsgi_app = MeshMiddleware(app.wsgi_app, TestMesh(rule))
    return app

assert "werkzeug.middleware.dispatcher" not in sys.modules
found = []
app = make(sys.argv[2])
from werkzeug.middleware.dispatcher import DispatcherMiddleware
outer = DispatcherMiddleware(app, {"/api": app})
for _ in range(3):
    found.append(wsgi_call(outer, environ=environ_of("/api/items/5")).status)
print(*found)
"""


@pytest.mark.parametrize(("action", "found"), [("DENY", "403 403 403"), ("ALLOW", "403 200 200")])
def test_a_dispatcher_that_is_imported_late_is_not_overlooked(action, found):
    """The first call that has passed it unseen has a prefix that is not known."""
    support = str(Path(__file__).parents[1] / "support")
    done = subprocess.run(
        [sys.executable, "-c", LATE, support, action],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == found


def test_functions_and_operation_ids_hold_wherever_the_mesh_stands():
    """They have no prefix."""
    make, target, _ = MOUNTED["FastAPI in FastAPI"]
    for fields in ({"functions": ["item"]}, {"operationIds": ["item_items__id__get"]}):
        assert status_of(make, target, ours("DENY", by_handler(**fields))) == (403, 0)
        assert status_of(make, target, ours("ALLOW", by_handler(**fields))) == (200, 1)
