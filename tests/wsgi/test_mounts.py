"""Which handlers never run, wherever the middleware stands."""

from __future__ import annotations

import flask
import pytest
from inbound_drive import environ_of, wsgi_call
from inbound_world import NOTHING, policy, to
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from wsgi_world import nothing, ok

from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

OPEN = policy("ALLOW", {})


HOSTILE = [
    "/admin/../public/x",
    "/admin/%2e%2e/public/x",
    "/admin%2f..%2fpublic%2fx",
    "/admin%5c..%5cpublic%5cx",
    "//admin/../public/x",
    "///admin/../public/x",
    "/%61dmin/.%2e/public/x",
    "/public/../admin/x",
    "/public%2f..%2fadmin%2fx",
]


def catch_all(ran):
    app = flask.Flask("shop")

    @app.route("/", defaults={"rest": ""})
    @app.route("/<path:rest>")
    def anything(rest):
        ran.append(rest)
        return "ran"

    return app


def with_admin(ran):
    app = flask.Flask("shop")

    @app.get("/admin/<path:rest>")
    def admin(rest):
        ran.append(rest)
        return "ran"

    @app.get("/public/x")
    def public():
        ran.append("x")
        return "ran"

    return app


def mounted(ran):
    return DispatcherMiddleware(with_admin(ran), {"/admin": catch_all(ran)})


@pytest.mark.parametrize("make", [catch_all, with_admin, mounted])
@pytest.mark.parametrize("target", HOSTILE)
def test_no_handler_runs_for_a_path_that_may_mean_another(make, target):
    """ALLOW `/public/*`, and DENY `/admin/*`: whatever the app makes of the dots."""
    for policies in (
        policy("ALLOW", to(paths=["/public/*"])),
        policy("DENY", to(paths=["/admin*"])),
    ):
        ran = []
        assert wsgi_call(MeshMiddleware(make(ran), TestMesh(policies)), target).status == 403
        assert ran == []


@pytest.mark.parametrize("make", [catch_all, with_admin, mounted])
def test_an_honest_path_reaches_its_handler(make):
    """The same rule lets it pass."""
    ran = []
    app = MeshMiddleware(make(ran), TestMesh(policy("ALLOW", to(paths=["/public/*"]))))
    assert wsgi_call(app, "/public/x").status == 200
    assert len(ran) == 1


def test_without_a_target_the_decision_rests_on_the_path():
    """Some servers do not say what was on the wire."""
    environ = environ_of("/public/../admin")
    del environ["RAW_URI"]
    app = MeshMiddleware(nothing, TestMesh(policy("DENY", to(paths=["/admin"]))))
    assert wsgi_call(app, environ=environ).status == 403
    assert wsgi_call(MeshMiddleware(ok, TestMesh(NOTHING)), environ=environ_of()).status == 200
