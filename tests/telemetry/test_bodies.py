"""Bytes of bodies are those that went by, whatever a caller declares."""

from __future__ import annotations

import io

import pytest
from inbound_drive import FileWrapper, asgi_call, environ_of, http_scope, wsgi_call

from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

NOTHING: list[dict] = []
BODY = b"first\nsecond\nthird"

READS = {
    "read": lambda source: source.read(),
    "read some": lambda source: source.read(5) + source.read(100),
    "readline": lambda source: source.readline() + source.readline(100) + source.readline(),
    "readlines": lambda source: b"".join(source.readlines()),
    "lines": b"".join,
}


@pytest.mark.parametrize("how", READS)
def test_wsgi_counts_what_is_read_in_each_way(how):
    """And hands on just that."""
    mesh, seen = TestMesh(NOTHING), []

    def app(environ, start_response):
        seen.append(READS[how](environ["wsgi.input"]))
        start_response("200 OK", [])
        return [b"ok"]

    wsgi_call(WsgiMesh(app, mesh), method="POST", body=BODY)
    assert seen == [BODY]
    assert mesh.events[-1].received_bytes == len(BODY)


@pytest.mark.parametrize("driver", ["asgi", "wsgi"])
def test_a_length_that_is_declared_and_never_sent_counts_for_nothing(driver):
    """One caller would otherwise make up what all have sent."""
    mesh = TestMesh(NOTHING)
    headers = [("host", "app"), ("content-length", "900000000000000")]
    if driver == "asgi":

        async def asgi(scope, receive, send):
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        asgi_call(MeshMiddleware(asgi, mesh), method="POST", headers=headers)
    else:

        def wsgi(environ, start_response):
            start_response("204 No Content", [])
            return []

        environ = environ_of(method="POST") | {"CONTENT_LENGTH": "900000000000000"}
        wsgi_call(WsgiMesh(wsgi, mesh), environ=environ)
    assert (mesh.events[-1].status, mesh.events[-1].received_bytes) == (204, 0)


@pytest.mark.parametrize("version", ["1.1", "2"])
def test_asgi_counts_what_is_received(version):
    """Of HTTP/2 too, where no header says that there is a body."""
    mesh = TestMesh(NOTHING)

    async def app(scope, receive, send):
        await receive()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    lengths = [("content-length", str(len(BODY)))] if version == "1.1" else []
    scope = http_scope(method="POST", headers=[("host", "app"), *lengths], http_version=version)
    asgi_call(MeshMiddleware(app, mesh), scope=scope, body=BODY)
    assert (mesh.events[-1].received_bytes, mesh.events[-1].sent_bytes) == (len(BODY), 2)


@pytest.mark.parametrize("length", ["²", "+5", "-1", "5, 5", "0x5", "9" * 30])  # noqa: RUF001
@pytest.mark.parametrize("driver", ["asgi", "wsgi"])
def test_a_length_that_is_no_number_is_refused(driver, length):
    """Nothing is raised for it, and the app does not have to make sense of it."""
    mesh = TestMesh(NOTHING)

    def wsgi(environ, start_response):
        raise AssertionError

    async def asgi(scope, receive, send):
        raise AssertionError

    if driver == "wsgi":
        answer = wsgi_call(WsgiMesh(wsgi, mesh), environ=environ_of() | {"CONTENT_LENGTH": length})
    else:
        answer = asgi_call(
            MeshMiddleware(asgi, mesh), headers=[("host", "app"), ("content-length", length)]
        )
    assert answer.status == 400
    assert answer.error is None


def test_wsgi_counts_what_is_sent_in_each_way():
    """Through `write`, in chunks, and by the server's own file wrapper."""
    mesh = TestMesh(NOTHING)

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/file":
            start_response("200 OK", [("Content-Length", str(len(BODY)))])
            return environ["wsgi.file_wrapper"](io.BytesIO(BODY))
        write = start_response("200 OK", [])
        write(b"written, ")
        return [b"and ", b"returned"]

    answer = wsgi_call(WsgiMesh(app, mesh))
    assert answer.text == "written, and returned"
    assert mesh.events[-1].sent_bytes == len(answer.text)
    environ = environ_of("/file")
    assert environ["wsgi.file_wrapper"] is FileWrapper
    assert wsgi_call(WsgiMesh(app, mesh), environ=environ).text == BODY.decode()
    assert mesh.events[-1].sent_bytes == len(BODY)


def test_asgi_counts_a_file_that_the_server_sends():
    """By what the response declares: the mesh does not open it."""
    mesh = TestMesh(NOTHING)

    async def app(scope, receive, send):
        headers = [(b"content-length", b"18")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.pathsend", "path": "/nowhere"})

    asgi_call(MeshMiddleware(app, mesh))
    assert mesh.events[-1].sent_bytes == 18
