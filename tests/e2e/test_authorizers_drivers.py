"""Authorizers under the testing kit, and functions in every driver."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from asking_world import (
    ask,
    asks,
    at,
    authorizer,
    config,
    service,
)
from inbound_drive import asgi_call, http_scope, wsgi_call
from inbound_world import mesh_config

import meshware
from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.authz import Allow, Deny, Request
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

__all__ = ["ask", "authorizer"]  # fixtures


async def asgi_app(scope: Any, receive: Any, send: Any) -> None:
    """Say what headers came."""
    found = {name.decode(): value.decode() for name, value in scope["headers"]}
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": json.dumps(found).encode()})


def wsgi_app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    """Say what headers came."""
    start_response("200 OK", [])
    return [
        json.dumps(
            {
                key[5:].lower().replace("_", "-"): value
                for key, value in environ.items()
                if key.startswith("HTTP_")
            }
        ).encode()
    ]


def both(mesh: TestMesh, target: str = "/x") -> Iterator[Any]:
    """What callers of both drivers get."""
    yield asgi_call(AsgiMesh(asgi_app, mesh), target)
    yield wsgi_call(WsgiMesh(wsgi_app, mesh), target)


def test_a_test_mesh_reaches_no_service_and_takes_functions_in_its_place(authorizer):
    policies = [config(statusOnError="500"), service(at(authorizer.port)), asks()]
    for answer in both(TestMesh(policies)):
        assert answer.status == 500
    assert authorizer.connections == 0

    async def in_task(request: Request) -> Allow:
        return Allow({"x-user": f"{request.method} {request.path}"})

    for function in (in_task, lambda request: Allow({"x-user": "GET /x"})):
        for answer in both(TestMesh(policies, authorizers={"opa": function})):
            assert json.loads(answer.text)["x-user"] == "GET /x"
    raising = TestMesh(policies, authorizers={"opa": lambda request: 1 / 0 > 1})
    assert [answer.status for answer in both(raising)] == [500, 500]


def test_functions_run_where_they_hold_nobody_up():
    """Plain ones in a thread beside a loop; async ones on one loop of their own beside threads."""
    providers = [{"name": "opa", "inProcess": {}}]
    policies = [mesh_config(extensionProviders=providers), asks()]
    main = threading.current_thread()

    def plain(request: Request) -> Allow:
        return Allow({"x-at": threading.current_thread().name})

    async def in_task(request: Request) -> Allow:
        return Allow(
            {"x-at": f"{threading.current_thread().name} {id(asyncio.get_running_loop())}"}
        )

    mesh = TestMesh(policies, authorizers={"opa": plain})
    at_asgi, at_wsgi = (json.loads(answer.text)["x-at"] for answer in both(mesh))
    assert (at_asgi, at_wsgi) == ("meshware-authorizer", main.name)
    mesh = TestMesh(policies, authorizers={"opa": in_task})
    at_asgi, at_wsgi = (json.loads(answer.text)["x-at"] for answer in both(mesh))
    assert at_asgi.startswith(main.name)
    assert at_wsgi.startswith("meshware-authorizers ")
    assert [json.loads(answer.text)["x-at"] for answer in both(mesh)][1] == at_wsgi


def test_functions_under_trio():
    providers = [{"name": "opa", "inProcess": {"timeout": "200ms"}}]
    policies = [mesh_config(extensionProviders=providers), asks()]

    async def slow(request: Request) -> bool:
        await trio.sleep(5)
        return True

    def blocking(request: Request) -> bool:
        time.sleep(0.6)
        return True

    async def quick(request: Request) -> bool:
        await trio.lowlevel.checkpoint()
        return True

    def status_of(function: Any) -> int:
        statuses = []

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status"))

        async def receive() -> dict[str, Any]:
            return await trio.sleep_forever()

        async def main() -> None:
            await AsgiMesh(asgi_app, mesh)(http_scope("/x"), receive, send)

        mesh = TestMesh(policies, authorizers={"opa": function})
        trio.run(main)
        return statuses[0]

    assert [status_of(each) for each in (slow, blocking, quick, lambda request: True)] == [
        403, 403, 200, 200,
    ]  # fmt: skip


def test_a_function_registered_for_the_process_is_found_and_its_name_is_its_own():
    def one(request: Request) -> Deny:
        return Deny(418, b"\xff")

    try:
        assert meshware.authorizer("test-asked")(one) is one
        assert meshware.authorizer("test-asked")(one) is one  # its module loaded again
        with pytest.raises(ValueError, match="choose another name"):
            meshware.authorizer("test-asked")(lambda request: True)
        providers = [{"name": "test-asked", "inProcess": {}}]
        mesh = TestMesh([mesh_config(extensionProviders=providers), asks("test-asked")])
        for answer in both(mesh):
            assert (answer.status, answer.chunks) == (418, [b"\xff"])
    finally:
        meshware.authz._registered.pop("test-asked", None)


def test_the_body_of_a_wsgi_call_can_be_read_in_every_way():
    mesh = TestMesh(
        [
            mesh_config(
                extensionProviders=[
                    {
                        "name": "opa",
                        "inProcess": {
                            "includeRequestBodyInCheck": {
                                "maxRequestBytes": 8,
                                "allowPartialMessage": True,
                            }
                        },
                    }
                ]
            ),
            asks(),
        ],
        authorizers={"opa": lambda request: request.body == b"one\ntwo\n"},
    )
    body = b"one\ntwo\nthree\nfour"
    ways: list[Callable[[Any], list[bytes]]] = [
        lambda stream: [stream.read()],
        lambda stream: [stream.read(len(body))],
        lambda stream: [stream.read(3), stream.read(1), stream.read(7), stream.read(100)],
        list,
        lambda stream: stream.readlines(),
        lambda stream: [*stream.readlines(5), stream.read()],
        lambda stream: [stream.readline(2), stream.readline(), stream.readline(9), stream.read()],
        lambda stream: [stream.read(9), stream.readline(2), stream.readline(), stream.readline()],
    ]
    for way in ways:
        seen: list[bytes] = []

        def app(environ: Any, start_response: Any, way: Any = way, seen: Any = seen) -> list[bytes]:
            seen += way(environ["wsgi.input"])
            start_response("200 OK", [])
            return []

        assert wsgi_call(WsgiMesh(app, mesh), "/", method="POST", body=body).status == 200
        assert b"".join(seen) == body
    short = wsgi_call(WsgiMesh(wsgi_app, mesh), "/", method="POST", body=b"one\ntw")
    assert short.status == 403
