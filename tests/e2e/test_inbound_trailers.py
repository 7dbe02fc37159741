"""Trailers of a chunked body over real sockets: what comes behind the decision is no header."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import contextmanager

import pytest
import uvicorn
from inbound_world import policy, when

from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh

HEAD = (
    b"POST / HTTP/1.1\r\nHost: app\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n"
    b"x-request-id: 6f1c0000-0000-4000-8000-000000000000\r\n\r\n"
)
TRAILERS = b"X-Role: banned\r\nAuthorization: Bearer a.b.c\r\nX-Meshware-Peer: me\r\n\r\n"


async def echo(scope, receive, send):
    """Read the body to its end, then answer with the names of all headers."""
    while (await receive()).get("more_body"):
        pass
    body = json.dumps([name.decode() for name, _ in scope["headers"]]).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(http: str):
    """The echo behind the mesh, by uvicorn; yields its port."""
    mesh = TestMesh(policy("DENY", when("request.headers[x-role]", "banned")))
    app = MeshMiddleware(echo, mesh=mesh)
    server = uvicorn.Server(uvicorn.Config(app, http=http, port=0, lifespan="off", log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 20
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.mark.parametrize("http", ["h11", "httptools"])
def test_trailers_are_no_headers_to_the_app(http):
    """They come when the decision is made, and no rule was asked about them."""
    with served(http) as port, socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(HEAD)
        time.sleep(0.3)  # the app waits for the body by now
        connection.sendall(b"2\r\n{}\r\n0\r\n" + TRAILERS)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200"), answer
    names = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert "host" in names
    assert not {"x-role", "authorization", "x-meshware-peer"} & set(names)
