"""The body of a WSGI app: iterated and closed in the context of its call."""

from __future__ import annotations

import contextvars
import io
import threading

import flask
import pytest
from inbound_drive import FileWrapper, environ_of, wsgi_call
from inbound_scenarios import current_id
from inbound_world import policy
from wsgi_world import ok, told

import meshware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

OPEN = policy("ALLOW", {})


class Body:
    """A body that notes which call it is made for."""

    def __init__(self):
        self.seen = []
        self.left = 2

    def __iter__(self):
        self.seen.append(("iter", current_id()))
        return self

    def __next__(self):
        self.seen.append(("next", current_id()))
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return b"x"

    def close(self):
        self.seen.append(("close", current_id()))


def body_app(body):
    def app(environ, start_response):
        start_response("200 OK", [])
        return body

    return app


def test_body_iteration_and_close_run_for_the_call_and_nothing_stays_on_the_thread():
    """Between any two steps the server's thread has no current call."""
    mesh, body = TestMesh(OPEN), Body()
    environ = environ_of("/", headers=[("host", "app"), ("x-request-id", "r-1")])
    result = MeshMiddleware(body_app(body), mesh)(environ, lambda *_: None)
    assert meshware.current_call() is None
    chunks = iter(result)
    assert meshware.current_call() is None
    while next(chunks, None) is not None:
        assert meshware.current_call() is None
        assert mesh.events == []
    assert told(mesh) == [(200, "-")]
    result.close()
    assert meshware.current_call() is None
    assert body.seen == [
        ("iter", "r-1"), ("next", "r-1"), ("next", "r-1"), ("next", "r-1"), ("close", "r-1"),
    ]  # fmt: skip
    assert told(mesh) == [(200, "-")]


def test_a_body_may_be_closed_on_another_thread():
    """Some servers end a call where they accept connections."""
    mesh, body = TestMesh(OPEN), Body()
    environ = environ_of("/", headers=[("host", "app"), ("x-request-id", "r-1")])
    result = MeshMiddleware(body_app(body), mesh)(environ, lambda *_: None)
    next(iter(result))
    thread = threading.Thread(target=result.close)
    thread.start()
    thread.join()
    assert body.seen[-1] == ("close", "r-1")
    assert told(mesh) == [(200, "DC")]


@pytest.mark.parametrize("is_read", [False, True])
def test_a_body_that_is_closed_early_is_told_once(is_read):
    """What was not asked for was not wanted."""
    mesh, body = TestMesh(OPEN), Body()
    result = MeshMiddleware(body_app(body), mesh)(environ_of(), lambda *_: None)
    if is_read:
        next(iter(result))
    result.close()
    result.close()
    assert told(mesh) == [(200, "DC")]
    assert [what for what, _ in body.seen].count("close") == 2


def test_a_close_that_fails_is_told_all_the_same():
    """And its exception is the server's."""

    class Broken(Body):
        def close(self):
            raise ZeroDivisionError

    mesh = TestMesh(OPEN)
    result = MeshMiddleware(body_app(Broken()), mesh)(environ_of(), lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        result.close()
    assert told(mesh) == [(200, "DC")]


def test_what_an_app_keeps_in_the_context_lasts_through_its_body():
    """One context for the call: tokens taken in the app can be given back in the body."""
    variable = contextvars.ContextVar("variable", default="unset")

    def app(environ, start_response):
        token = variable.set("set")
        start_response("200 OK", [])

        def body():
            yield variable.get().encode()
            variable.reset(token)
            yield variable.get().encode()

        return body()

    assert wsgi_call(MeshMiddleware(app, TestMesh(OPEN))).text == "setunset"
    assert variable.get() == "unset"


def test_a_streamed_flask_body_keeps_the_request_of_flask():
    """`stream_with_context` gives its context back at the end of the body."""
    app = flask.Flask("shop")
    seen = []

    @app.get("/<name>")
    def stream(name):
        def body():
            try:
                yield flask.request.path
                yield meshware.current_call().route
            finally:
                seen.append((flask.request.path, current_id()))

        return flask.stream_with_context(body())

    app.wsgi_app = MeshMiddleware(app.wsgi_app, TestMesh(OPEN))
    headers = [("host", "app"), ("x-request-id", "r-1")]
    assert wsgi_call(app, "/a", headers=headers).text == "/a/<name>"
    assert wsgi_call(app, "/b", headers=headers, close_after=1).text == "/b"
    assert seen == [("/a", "r-1"), ("/b", "r-1")]
    assert not flask.has_request_context()


def test_an_app_that_is_a_generator_answers_late():
    """It calls `start_response` at the first piece of its body."""

    def app(environ, start_response):
        start_response("202 Accepted", [])
        yield current_id().encode()

    mesh = TestMesh(OPEN)
    answer = wsgi_call(
        MeshMiddleware(app, mesh), headers=[("host", "app"), ("x-request-id", "r-1")]
    )
    assert (answer.status, answer.text) == (202, "r-1")
    assert told(mesh) == [(202, "-")]


def test_a_body_of_known_length_keeps_it():
    """Servers make a Content-Length of it; a body without one must not pretend."""
    app = MeshMiddleware(ok, TestMesh(OPEN))
    assert len(app(environ_of(), lambda *_: None)) == 1
    assert not hasattr(MeshMiddleware(body_app(Body()), TestMesh(OPEN))(
        environ_of(), lambda *_: None), "__len__")  # fmt: skip


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_servers_file_wrapper_stays_the_servers(is_whole):
    """So that it may send the file without copying; `close` ends the call."""
    file = io.BytesIO(b"x" * 10)

    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](file)

    mesh = TestMesh(OPEN)
    result = MeshMiddleware(app, mesh)(environ_of(), lambda *_: None)
    assert type(result) is FileWrapper
    assert mesh.events == []
    if is_whole:
        assert b"".join(result) == b"x" * 10
    result.close()
    result.close()
    assert file.closed
    assert told(mesh) == [(200, "-")]


def test_a_file_wrapper_that_takes_no_other_close_is_wrapped():
    """Then the server iterates."""

    class Slotted:
        __slots__ = ("file",)

        def __init__(self, file):
            self.file = file

        def __iter__(self):
            return iter([self.file.read()])

    def app(environ, start_response):
        start_response("200 OK", [])
        return environ["wsgi.file_wrapper"](io.BytesIO(b"xyz"))

    mesh = TestMesh(OPEN)
    environ = environ_of(**{"wsgi.file_wrapper": Slotted})
    assert wsgi_call(MeshMiddleware(app, mesh), environ=environ).text == "xyz"
    assert told(mesh) == [(200, "-")]
