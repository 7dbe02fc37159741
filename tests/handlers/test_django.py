"""What Django runs for a request, as its own URL configuration says."""

from __future__ import annotations

import warnings

import django_urls
import pytest
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from handler_world import by_handler, ours
from inbound_drive import asgi_call, environ_of, http_scope, wsgi_call
from inbound_world import policy
from starlette.applications import Starlette
from starlette.routing import Mount
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.handlers.forecast import find_by_environ, find_by_scope
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from starlette.middleware.wsgi import WSGIMiddleware

RUNS = django_urls.RUNS
WSGI = get_wsgi_application()
ASGI = get_asgi_application()

TABLE = [
    ("/", ("", "/", "shop.api.home")),
    ("/users/7/", ("users/<int:pk>/", "/users/{pk}/", "shop.api.show")),
    ("/users/%37/", ("users/<int:pk>/", "/users/{pk}/", "shop.api.show")),
    ("/users/7", None),  # a redirect
    ("/users/x/", None),
    ("/USERS/7/", None),
    ("//users/7/", None),
    ("/./users/7/", None),
    ("/things/7", ("things/<int:pk>", "/things/{pk}", "django_urls.Thing")),
    ("/old/1999/", ("^old/(?P<year>[0-9]{4})/$", "/old/{year}/", "shop.api.year")),
    ("/odd/7/", (r"^odd/(\d+)/$", "shop.api.odd")),
    ("/admin/users/a-b/", ("admin/users/<slug:name>/", "/admin/users/{name}/",
                           "shop.api.admin_user")),
    ("/admin/logs/7", (r"admin/logs/(?P<day>\d+)$", "/admin/logs/{day}", "shop.api.logs")),
    ("/hello/", ("hello/", "/hello/", "shop.api.hello")),
    ("/de/hello/", ("de/hello/", "/de/hello/", "shop.api.hello")),
    ("/fr/hello/", None),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _no_runs():
    RUNS.clear()


@pytest.mark.parametrize(("target", "found"), TABLE)
def test_the_url_configuration_says_what_runs(target, found):
    """Includes, converters, regular expressions, languages; ASGI and WSGI alike."""
    for handlers in (
        find_by_environ(WSGI, environ_of(target), None).handlers,
        find_by_scope(ASGI, http_scope(target), None).handlers,
    ):
        assert [(*one.routes, one.functions[-1]) for one in handlers] == ([found] if found else [])
    assert not RUNS


def test_an_operation_id_is_known_from_a_docstring_alone():
    """What adds OpenAPI to Django keeps IDs elsewhere: without one it is not known."""
    (thing,) = find_by_environ(WSGI, environ_of("/things/7"), None).handlers
    (user,) = find_by_environ(WSGI, environ_of("/users/7/"), None).handlers
    assert (thing.operation_ids, user.operation_ids) == (("showThing",), None)


def call(action, *operations, target="/users/7/", **headers):
    """Status and runs over WSGI and ASGI, which must be the same."""
    policies = [ours(action, *operations)]
    pairs = [("host", "app"), *((name.replace("_", "-"), value) for name, value in headers.items())]
    found = []
    for ask, app in (
        (wsgi_call, WsgiMesh(WSGI, TestMesh(policies))),
        (asgi_call, AsgiMesh(ASGI, TestMesh(policies))),
    ):
        RUNS.clear()
        answer = ask(app, target, headers=pairs)
        found.append((answer.status, dict(RUNS)))
    assert found[0] == found[1]
    return found[0]


SHOW = by_handler(routes=["/users/{pk}/"])


@pytest.mark.parametrize(
    ("action", "operation", "target", "expected"),
    [
        ("DENY", SHOW, "/users/7/", (403, {})),
        ("DENY", SHOW, "/things/7", (200, {"Thing": 1})),
        ("DENY", SHOW, "/users/7", (301, {})),
        ("DENY", by_handler(functions=["Thing"]), "/things/7", (403, {})),
        ("DENY", by_handler(operationIds=["showThing"]), "/things/7", (403, {})),
        ("DENY", by_handler(operationIds=["other"]), "/things/7", (200, {"Thing": 1})),
        ("DENY", by_handler(operationIds=["other"]), "/users/7/", (403, {})),  # not known
        ("ALLOW", SHOW, "/users/7/", (200, {"show": 1})),
        ("ALLOW", SHOW, "/things/7", (403, {})),
        ("ALLOW", SHOW, "/nothing", (403, {})),
        ("ALLOW", by_handler(notFunctions=["shop.api.show"]), "/users/7/", (403, {})),
        ("ALLOW", by_handler(notFunctions=["shop.api.show"]), "/things/7", (200, {"Thing": 1})),
    ],
)
def test_rules_decide_by_what_runs(action, operation, target, expected):
    """And run nothing else."""
    assert call(action, operation, target=target) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"x_test_path": "/users/7/"},
        {"x_test_path": "/admin/users/a/"},
        {"x_test_urls": "django_other_urls"},
    ],
    ids=str,
)
@pytest.mark.parametrize("target", ["/things/7", "/nothing"])
def test_what_a_middleware_makes_of_the_request_afterwards_is_not_run(target, headers):
    """The view that was decided on, or none."""
    assert call("DENY", SHOW, target=target, **headers) == (403, {})


def test_a_middleware_that_leads_to_the_same_view_is_no_matter():
    """Another path, the same names."""
    status = call("DENY", SHOW, target="/things/7", x_test_path="/things/8")
    assert status == (200, {"Thing": 1})


def test_rules_that_do_not_ask_leave_middleware_alone():
    """Whatever it does then was so without the mesh."""
    policies = [policy("DENY", {"to": [{"operation": {"paths": ["/other"]}}]})]
    pairs = [("host", "app"), ("x-test-path", "/users/7/")]
    answer = wsgi_call(WsgiMesh(WSGI, TestMesh(policies)), "/things/7", headers=pairs)
    assert (answer.status, dict(RUNS)) == (200, {"show": 1})


def within(mesh):
    """Django behind a mesh of its own, in each way of being mounted."""
    asgi, wsgi = AsgiMesh(ASGI, mesh), WsgiMesh(WSGI, mesh)
    return [
        (asgi_call, Starlette(routes=[Mount("/{site}", asgi)]), "/in", "/{site}"),
        (asgi_call, Starlette(routes=[Mount("/in", WSGIMiddleware(wsgi))]), "/in", "/in"),
        (wsgi_call, DispatcherMiddleware(WSGI, {"/in": wsgi}), "/in", "/in"),
    ]


@pytest.mark.parametrize("way", range(3))
@pytest.mark.parametrize(
    ("target", "route"),
    [("/users/7/", "/users/{pk}/"), ("/old/1999/", "/old/{year}/")],
)
def test_rules_by_route_hold_within_a_mount(way, target, route):
    """With the template of the mount in front, or without it for what refuses."""
    for value, denied, allowed in (
        (lambda mount: mount + route, 403, 200),
        (lambda mount: route, 403, 403),
        (lambda mount: "/other" + route, 200, 403),
    ):
        for action, status in (("DENY", denied), ("ALLOW", allowed)):
            mount = within(None)[way][3]
            rule = ours(action, by_handler(routes=[value(mount)]))
            call, app, prefix, _ = within(TestMesh(rule))[way]
            assert call(app, prefix + target).status == status, (action, value(mount))
