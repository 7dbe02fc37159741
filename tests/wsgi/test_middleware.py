"""The WSGI middleware: what only WSGI knows, and what must not be left behind."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace
from wsgiref.validate import validator

import pytest
from inbound_drive import environ_of, wsgi_call
from inbound_world import NOTHING, from_, mesh_config, policy, to
from wsgi_world import nothing, ok, told

import meshware
from meshware.call import Call
from meshware.runtime.mesh import Mesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware
from meshware.wsgi.head import inbound_head

OPEN = policy("ALLOW", {})


def test_an_app_may_change_its_mind_before_the_first_byte():
    """`start_response` with `exc_info` replaces the status; so does what is told."""

    def app(environ, start_response):
        start_response("200 OK", [])
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("502 Bad Gateway", [], sys.exc_info())
        return [b"sorry"]

    mesh = TestMesh(OPEN)
    answer = wsgi_call(MeshMiddleware(app, mesh))
    assert (answer.status, answer.text) == (502, "sorry")
    assert told(mesh) == [(502, "-")]


def test_an_app_that_changes_its_mind_too_late_fails():
    """The server raises what it was handed, and the body has ended early."""

    def app(environ, start_response):
        start_response("200 OK", [])
        yield b"some"
        try:
            raise ZeroDivisionError
        except ZeroDivisionError:
            start_response("502 Bad Gateway", [], sys.exc_info())

    mesh = TestMesh(OPEN)
    answer = wsgi_call(MeshMiddleware(app, mesh))
    assert (answer.status, answer.text) == (200, "some")
    assert isinstance(answer.error, ZeroDivisionError)
    assert told(mesh) == [(200, "UC")]


def test_the_old_write_callable_still_writes():
    """What `start_response` returns is the server's."""

    def app(environ, start_response):
        start_response("200 OK", [])(b"written ")
        return [b"returned"]

    assert wsgi_call(MeshMiddleware(app, TestMesh(OPEN))).text == "written returned"


@pytest.mark.parametrize("failure", [ZeroDivisionError, SystemExit, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["app", "body"])
def test_an_exception_of_the_app_passes_unchanged_and_is_told_once(failure, where):
    """The server answers 500 for an app; a worker that is told to end has no answer."""
    error = failure("mine")

    def failing(environ, start_response):
        start_response("200 OK", [])
        raise error

    def failing_body(environ, start_response):
        start_response("200 OK", [])
        raise error
        yield b""

    mesh = TestMesh(OPEN)
    app = MeshMiddleware(failing if where == "app" else failing_body, mesh)
    with pytest.raises(failure) as raised:
        list(app(environ_of(), lambda *_: None))
    assert raised.value is error
    assert told(mesh) == [(500, "-") if failure is ZeroDivisionError else (200, "DC")]
    assert meshware.current_call() is None


def test_a_refusal_that_nobody_hears_is_told():
    """The server fails while it is handed the headers."""
    mesh = TestMesh(policy("DENY", {}))

    def start_response(*_):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        MeshMiddleware(nothing, mesh)(environ_of(), start_response)
    assert told(mesh) == [(403, "-")]


@pytest.mark.parametrize(
    ("policies", "status"), [(OPEN, "200 OK"), (policy("DENY", {}), "403 Forbidden")]
)
def test_the_middleware_keeps_to_the_letter_of_wsgi(policies, status):
    """Checked by the validator of the standard library, as a server would see it."""
    app = validator(MeshMiddleware(ok, TestMesh(policies)))
    seen = []

    def start_response(line, headers, exc_info=None):
        seen.append(line)
        return io.BytesIO().write

    result = app(environ_of(**{"wsgi.errors": sys.stderr}), start_response)
    assert list(result)
    result.close()
    assert seen == [status]


def test_the_app_sees_the_call_and_nothing_that_only_the_mesh_may_say():
    """In the environ, as in ASGI's scope."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return ok(environ, start_response)

    headers = [
        ("host", "app"), ("x-envoy-a", "1"), ("x-forwarded-client-cert", "x"), ("x-user", "me"),
        ("x-meshware-a", "1"), ("x-request-id", "not sound"),
    ]  # fmt: skip
    wsgi_call(MeshMiddleware(app, TestMesh(OPEN)), headers=headers)
    assert isinstance(seen["meshware"], Call)
    assert seen["HTTP_X_REQUEST_ID"] == seen["meshware"].request_id != "not sound"
    names = {key for key in seen if key.startswith("HTTP_")}
    assert names == {"HTTP_HOST", "HTTP_X_USER", "HTTP_X_REQUEST_ID"}


def test_an_inner_middleware_leaves_the_decision_to_the_outer_one():
    """It would see a shortened path, and tell a second event."""
    outer, inner = TestMesh(OPEN), TestMesh(policy("DENY", {}))
    assert wsgi_call(MeshMiddleware(MeshMiddleware(ok, inner), outer)).status == 200
    assert (len(outer.events), inner.events) == (1, [])


def test_without_policy_every_call_is_503():
    """And may be tried again."""
    answer = wsgi_call(MeshMiddleware(nothing, Mesh()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_the_mesh_of_the_process_is_asked_for_at_the_first_call(monkeypatch):
    """Not at construction: servers fork."""
    monkeypatch.setattr(Mesh, "_process_wide", None)
    app = MeshMiddleware(ok)
    mesh = TestMesh(OPEN)
    monkeypatch.setattr(Mesh, "_process_wide", mesh)
    assert wsgi_call(app).status == 200
    assert told(mesh) == [(200, "-")]


class Socket(SimpleNamespace):
    """A connected socket."""

    def getsockname(self):
        return self.here

    def getpeername(self):
        if self.peer is None:
            raise OSError("not connected")
        return self.peer


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, ("192.0.2.1", None, 7000)),
        ({"SERVER_PORT": "80"}, ("192.0.2.1", None, 7000)),
        ({"SERVER_SOFTWARE": "waitress", "SERVER_PORT": "8000"}, ("192.0.2.1", None, 8000)),
        ({"SERVER_SOFTWARE": "waitress", "SERVER_PORT": "\u00b2"}, ("192.0.2.1", None, 7000)),
        ({"gunicorn.socket": Socket(here=("10.0.0.1", 9000), peer=("10.0.0.7", 1))},
         ("10.0.0.7", "10.0.0.1", 9000)),
        ({"werkzeug.socket": Socket(here=("::1", 9000, 0, 0), peer=("::1", 1, 0, 0))},
         ("::1", "::1", 9000)),
        ({"gunicorn.socket": Socket(here="/run/app.sock", peer=""), "SERVER_PORT": "443"},
         (None, None, 7000)),
        ({"gunicorn.socket": Socket(here=("10.0.0.1", 9000), peer=None)}, (None, None, 7000)),
        ({"REMOTE_ADDR": ""}, (None, None, 7000)),
    ],
    ids=["not said", "taken from Host", "an honest server", "no number", "gunicorn", "werkzeug",
         "Unix socket", "gone", "no peer"],
)  # fmt: skip
def test_addresses_are_the_sockets_where_it_can_be_reached(more, expected):
    """On a Unix socket gunicorn takes SERVER_PORT from the Host header."""
    head = inbound_head(environ_of(**more), 7000)
    assert (head.source_ip, head.destination_ip, head.port) == expected


def test_no_header_moves_an_address():
    """X-Forwarded-For says who somebody claims to be."""
    mesh = TestMesh(policy("ALLOW", from_(ipBlocks=["10.0.0.7/32"])))
    headers = [("host", "app"), ("x-forwarded-for", "10.0.0.7"), ("forwarded", "for=10.0.0.7")]
    assert wsgi_call(MeshMiddleware(nothing, mesh), headers=headers).status == 403


@pytest.mark.parametrize(
    ("more", "paths", "partial"),
    [
        ({}, ("/a",), ()),
        ({"SCRIPT_NAME": "/pub"}, ("/pub/a",), ("/a",)),
        ({"SCRIPT_NAME": "/pub", "HTTP_SCRIPT_NAME": "/pub"}, ("/pub/a", "/a"), ()),
        ({"PATH_INFO": "/caf\u00c3\u00a9"}, ("/caf\xe9",), ()),
        ({"PATH_INFO": "/\u00ff"}, ("/\ufffd", "/\udcff"), ()),
        ({"PATH_INFO": ""}, ("",), ()),
        ({"SCRIPT_NAME": "/pub/in", "HTTP_SCRIPT_NAME": "/pub"}, ("/pub/in/a", "/in/a", "/a"), ()),
    ],
    ids=["plain", "mounted", "mounted by a caller", "UTF-8", "no UTF-8", "empty",
         "mounted within what a caller claims"],
)  # fmt: skip
def test_the_prefix_adds_what_the_app_may_look_at(more, paths, partial):
    """gunicorn believes a SCRIPT_NAME header from loopback: both readings must be allowed."""
    head = inbound_head(environ_of("/a", **more), None)
    assert (head.paths, head.partial_paths) == (paths, partial)


def test_a_caller_that_moves_the_servers_own_prefix_gains_nothing(monkeypatch):
    """What the app is mounted at by its environment stays one of the readings."""
    monkeypatch.setenv("SCRIPT_NAME", "/pub")
    for claim, prefix in (("/pub", "/pub"), ("/pub/in", "/pub/in"), ("", "")):
        more = {"SCRIPT_NAME": prefix, "HTTP_SCRIPT_NAME": claim, "PATH_INFO": "/admin"}
        environ = environ_of(f"{prefix}/admin", **more)
        app = MeshMiddleware(nothing, TestMesh(policy("DENY", to(paths=["/pub/admin"]))))
        assert wsgi_call(app, environ=environ).status == 403


@pytest.mark.parametrize(
    "more",
    [
        {"SCRIPT_NAME": "/x", "PATH_INFO": "admin", "HTTP_SCRIPT_NAME": "/x"},
        {"SCRIPT_NAME": "/api", "PATH_INFO": "admin"},
        {"SCRIPT_NAME": "/p,u", "PATH_INFO": "/admin", "HTTP_SCRIPT_NAME": "/p,u,/x"},
    ],
    ids=["cut within a segment by a caller", "cut so by a server", "two claims, joined"],
)
def test_a_prefix_that_cannot_be_told_from_the_rest_is_refused(more):
    """Flask serves `admin` as `/admin`."""
    environ = environ_of("/xadmin", **more)
    assert wsgi_call(MeshMiddleware(nothing, TestMesh(NOTHING)), environ=environ).status == 400


def test_a_caller_that_moves_the_prefix_gains_nothing():
    """ALLOW needs both readings, DENY holds for either."""
    more = {"SCRIPT_NAME": "/pub", "PATH_INFO": "/admin", "HTTP_SCRIPT_NAME": "/pub"}
    for policies in (
        policy("ALLOW", to(paths=["/pub/*"])),
        policy("ALLOW", to(paths=["/admin"])),
        policy("DENY", to(paths=["/admin"])),
        policy("DENY", to(paths=["/pub/admin"])),
    ):
        environ = environ_of("/pub/admin", **more)
        assert wsgi_call(MeshMiddleware(nothing, TestMesh(policies)), environ=environ).status == 403


@pytest.mark.parametrize(
    ("target", "prefix", "expected"),
    [
        ("/a/../b%2fc?x=1", "", ("", "/b/c", "/b%2fc?x=1")),
        ("/caf%c3%a9/.", "", ("", "/caf\u00c3\u00a9/", "/caf%c3%a9/")),
        ("/api/a/../b", "/api", ("/api", "/b", "/api/b")),
        ("/api/../b", "/api", ("", "/b", "/b")),
        ("/api/../apix", "/api", ("", "/apix", "/apix")),
        ("/api", "/api", ("/api", "", "/api")),
    ],
    ids=["dots", "UTF-8", "within the prefix", "out of the prefix", "beside it", "the prefix"],
)
def test_the_app_sees_the_normalised_path_where_mesh_config_asks(target, prefix, expected):
    """As behind Istio; what leads out of a mount is not within it."""
    seen = []

    def app(environ, start_response):
        seen.append((environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["RAW_URI"]))
        return ok(environ, start_response)

    environ = environ_of(target, SCRIPT_NAME=prefix)
    environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix(prefix)
    mesh = TestMesh(mesh_config(pathNormalization={"normalization": "BASE"}))
    wsgi_call(MeshMiddleware(app, mesh), environ=environ)
    assert seen == [expected]
