"""What Flask runs for a request, as its own URL map says."""

from __future__ import annotations

import flask
import pytest
from flask.views import MethodView
from handler_world import Runs
from inbound_drive import environ_of
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from meshware.handlers.forecast import find_by_environ
from meshware.handlers.listing import endpoints_of

RUNS = Runs()


class User(MethodView):
    """A class-based view."""

    def get(self, id):
        """Show a user.

        ---
        operationId: viewUser
        """
        RUNS["view"] += 1
        return "view"


admin = flask.Blueprint("admin", __name__, url_prefix="/admin")
admin.add_url_rule("/users/<id>", "user", RUNS.plain("admin_user"))
inner = flask.Blueprint("inner", __name__, url_prefix="/inner")
inner.add_url_rule("/x", "x", RUNS.plain("inner_x"))
admin.register_blueprint(inner)

APP = flask.Flask(__name__)
APP.add_url_rule("/users/<int:id>", "show", RUNS.plain("show"))
APP.add_url_rule("/users/<int:id>", "edit", RUNS.plain("edit"), methods=["PUT"])
APP.add_url_rule("/dir/", "dir", RUNS.plain("dir"))
APP.add_url_rule("/files/<path:rest>", "files", RUNS.plain("files"))
APP.add_url_rule("/views/<int:id>", view_func=User.as_view("a_name"))
APP.add_url_rule("/open", "open", RUNS.plain("open"), methods=["GET", "OPTIONS"],
                 provide_automatic_options=False)  # fmt: skip
APP.register_blueprint(admin)


def raw_wsgi(environ, start_response):
    """An app of no framework."""
    return []


@pytest.mark.parametrize(
    ("method", "target", "found"),
    [
        ("GET", "/users/7", ("/users/<int:id>", "/users/{id}", "shop.api.show")),
        ("HEAD", "/users/7", ("/users/<int:id>", "/users/{id}", "shop.api.show")),
        ("PUT", "/users/7", ("/users/<int:id>", "/users/{id}", "shop.api.edit")),
        ("GET", "/users/%37", ("/users/<int:id>", "/users/{id}", "shop.api.show")),
        ("GET", "//users/7", ("/users/<int:id>", "/users/{id}", "shop.api.show")),
        ("GET", "///users/7", ("/users/<int:id>", "/users/{id}", "shop.api.show")),
        ("DELETE", "/users/7", None),
        ("OPTIONS", "/users/7", None),  # answered by Flask itself
        ("OPTIONS", "/open", ("/open", "shop.api.open")),
        ("GET", "/users/x", None),
        ("GET", "/USERS/7", None),
        ("GET", "/users/7/", None),
        ("GET", "/users//7", None),  # a redirect
        ("GET", "/dir", None),  # a redirect
        ("GET", "/dir/", ("/dir/", "shop.api.dir")),
        ("GET", "/files/a/../b", ("/files/<path:rest>", "/files/{rest}", "shop.api.files")),
        ("GET", "/views/7", ("/views/<int:id>", "/views/{id}", f"{__name__}.User")),
        ("GET", "/admin/users/7", ("/admin/users/<id>", "/admin/users/{id}",
                                   "shop.api.admin_user")),
        ("GET", "/admin/inner/x", ("/admin/inner/x", "shop.api.inner_x")),
        ("GET", "/static/x.css", ("/static/<path:filename>", "/static/{filename}",
                                  "flask.app.Flask.__init__.<locals>.<lambda>")),
    ],
)  # fmt: skip
def test_the_url_map_says_what_runs(method, target, found):
    """Blueprints, converters, class-based views; whatever it answers by itself is nothing."""
    environ = environ_of(target, method=method)
    before = dict(environ)
    handlers = find_by_environ(APP.wsgi_app, environ, None).handlers
    assert [(*one.routes, one.functions[-1]) for one in handlers] == ([found] if found else [])
    assert environ == before
    assert not RUNS


@pytest.mark.parametrize(
    ("target", "found"),
    [("/views/7", ("viewUser",)), ("/users/7", None)],
)
def test_an_operation_id_is_known_from_a_docstring_alone(target, found):
    """Extensions of Flask's keep theirs elsewhere: without one it is not known."""
    (handler,) = find_by_environ(APP, environ_of(target), None).handlers
    assert handler.operation_ids == found


def test_the_prefix_of_the_server_is_no_part_of_a_route():
    """SCRIPT_NAME belongs to the deployment."""
    environ = environ_of("/users/7", SCRIPT_NAME="/pre")
    (handler,) = find_by_environ(APP, environ, None).handlers
    assert handler.routes == ("/users/<int:id>", "/users/{id}")


@pytest.mark.parametrize(
    ("script", "path", "found"),
    [
        ("", "/users/7", ["shop.api.show"]),
        ("/pre", "/pre/users/7", ["shop.api.show"]),
        ("/pre", "/users/7", ["shop.api.show"]),
        ("/pre", "/predate/users/7", []),
        ("", "/usérs/7", []),
    ],
)
def test_the_path_that_the_app_will_see_is_asked_about(script, path, found):
    """With the prefix in front, as the middleware puts it into the environ."""
    environ = environ_of("/other", SCRIPT_NAME=script)
    handlers = find_by_environ(APP, environ, path).handlers
    assert [one.functions[-1] for one in handlers] == found
    assert environ["PATH_INFO"] == "/other"


def test_a_host_that_is_not_trusted_is_handled_by_nothing():
    """Flask answers 400 by itself."""
    app = flask.Flask("hosts")
    app.config["TRUSTED_HOSTS"] = ["good.example.org"]
    app.add_url_rule("/x", "x", RUNS.plain("x"))

    def found(host):
        return find_by_environ(app, environ_of("/x", headers=[("host", host)]), None).handlers

    assert found("evil.example.org") == ()
    assert len(found("good.example.org")) == 1


def test_wrappers_are_looked_through():
    """What stands in an attribute of theirs is asked; what hides it, is not."""
    assert len(find_by_environ(ProxyFix(APP.wsgi_app), environ_of("/users/7"), None).handlers) == 1
    assert find_by_environ(lambda environ, start: [], environ_of("/"), None).handlers is None


SUB = flask.Flask("sub", static_folder=None)
SUB.add_url_rule("/users/<id>", "sub_user", RUNS.plain("sub_user"))
CHOOSER = DispatcherMiddleware(
    APP, {"/in": SUB, "/in/deep": DispatcherMiddleware(raw_wsgi, {"/x": SUB}), "/raw": raw_wsgi}
)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("/users/7", [("/users/{id}", "show")]),
        ("/in/users/7", [("/in/users/{id}", "sub_user")]),
        ("/in/deep/x/users/7", [("/in/deep/x/users/{id}", "sub_user")]),
        ("/in/deep/users/7", None),
        ("/in/nothing", []),
        ("/inside/users/7", []),
        ("/raw/users/7", None),
    ],
)
def test_werkzeugs_dispatcher_chooses_by_itself(target, found):
    """It is asked which app it would call, and for where that is mounted."""
    environ = environ_of(target)
    before = dict(environ)
    handlers = find_by_environ(CHOOSER, environ, None).handlers
    assert environ == before
    assert found == (
        None if handlers is None else [(one.routes[-1], one.functions[0]) for one in handlers]
    )


def test_a_dispatcher_that_chooses_otherwise_is_not_known():
    """Nobody can say what it goes by."""

    class Other(DispatcherMiddleware):
        def __call__(self, environ, start_response):
            return self.app(environ, start_response)

    assert find_by_environ(Other(APP), environ_of("/users/7"), None).handlers is None
    app = flask.Flask("other")
    app.add_url_rule("/x", "x", RUNS.plain("x"))
    app.wsgi_app = Other(app.wsgi_app)
    (handler,) = find_by_environ(app, environ_of("/x"), None).handlers
    assert handler.functions[0] == "x"  # and the call is held to it


def test_what_stands_in_the_place_of_flasks_entrance_is_asked_first():
    """As `app.wsgi_app = DispatcherMiddleware(app.wsgi_app, ...)`."""
    app = flask.Flask("front", static_folder=None)
    app.add_url_rule("/x", "x", RUNS.plain("x"))
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/in": SUB})
    for target, name in (("/x", "x"), ("/in/users/7", "sub_user")):
        (handler,) = find_by_environ(app, environ_of(target), None).handlers
        assert handler.functions[0] == name


def test_the_whole_of_a_flask_app_is_asked_through_its_method_too():
    """`app.__call__` leads to what stands in the place of its entrance, `app.wsgi_app` does not."""
    app = flask.Flask("front", static_folder=None)
    app.add_url_rule("/x", "x", RUNS.plain("x"))
    own = app.wsgi_app
    app.wsgi_app = DispatcherMiddleware(own, {"/raw": raw_wsgi})
    for whole in (app, app.__call__):
        assert find_by_environ(whole, environ_of("/raw/x"), None).handlers is None
        assert len(find_by_environ(whole, environ_of("/x"), None).handlers) == 1
    assert find_by_environ(own, environ_of("/raw/x"), None).handlers == ()


def test_an_app_that_is_mounted_in_itself_is_listed_to_an_end():
    """A few times over."""
    app = flask.Flask("ring", static_folder=None)
    app.add_url_rule("/x", "x", RUNS.plain("x"))
    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/in": app})
    routes = [one.route for one in endpoints_of(app)]
    assert routes[:2] == ["/x", "/in/x"]
    assert 3 < len(routes) < 20
    (handler,) = find_by_environ(app, environ_of("/in/in/x"), None).handlers
    assert handler.routes == ("/in/in/x",)
