"""The shared script, over the WSGI middleware."""

from __future__ import annotations

import contextvars
import io

import flask
import pytest
from inbound_scenarios import FILE_SIZE, SCENARIOS, current_id, pieces, play, seen
from werkzeug.wsgi import wrap_file

from meshware.wsgi import MeshMiddleware
from meshware.wsgi.head import header_key


def raw(mesh):
    """An app without a framework."""

    def late():
        yield b"some "
        raise ZeroDivisionError

    def call_in_body():
        yield current_id().encode()

    def app(environ, start_response):
        path, status = environ["PATH_INFO"], "200 OK"
        assert environ["meshware"].request_id == current_id()
        if path == "/boom":
            raise ZeroDivisionError
        if path == "/hello":
            body = [b"hello"]
        elif path == "/echo":
            body = [environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))]
        elif path == "/stream":
            body = (piece.encode() for piece in pieces())
        elif path == "/boom-late":
            body = late()
        elif path == "/seen":
            body = [seen(lambda name: environ.get(header_key(name))).encode()]
        elif path == "/call":
            inner = contextvars.copy_context().run(current_id)
            body = [f"{current_id()} {inner}".encode()]
        elif path == "/call-in-body":
            body = call_in_body()
        elif path == "/file":
            body = wrap_file(environ, io.BytesIO(b"x" * FILE_SIZE))
        else:
            status, body = "404 Not Found", [b"not found"]
        start_response(status, [("content-type", "text/plain")])
        return body

    return MeshMiddleware(app, mesh)


def in_flask(mesh):
    """As its users put the mesh in."""
    app = flask.Flask("shop")

    @app.get("/hello")
    def hello():
        return "hello"

    @app.post("/echo")
    def echo():
        return flask.request.get_data()

    @app.get("/stream")
    def stream():
        return flask.stream_with_context(pieces())

    @app.get("/boom")
    def boom():
        raise ZeroDivisionError

    @app.get("/boom-late")
    def boom_late():
        def body():
            yield "some "
            raise ZeroDivisionError

        return flask.stream_with_context(body())

    @app.get("/seen")
    def seen_headers():
        return seen(flask.request.headers.get)

    @app.get("/call")
    def call():
        assert flask.request.environ["meshware"].request_id == current_id()
        return f"{current_id()} {contextvars.copy_context().run(current_id)}"

    @app.get("/call-in-body")
    def call_in_body():
        return flask.stream_with_context(current_id() for _ in range(1))

    @app.get("/file")
    def file():
        return flask.send_file(io.BytesIO(b"x" * FILE_SIZE), "text/plain")

    app.wsgi_app = MeshMiddleware(app.wsgi_app, mesh)
    return app


@pytest.mark.parametrize("make", [raw, in_flask])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_caller_and_the_mesh_see_the_same_as_over_asgi(make, scenario):
    """One script, every driver."""
    play(make, "wsgi", scenario)
