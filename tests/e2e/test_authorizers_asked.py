"""Asking over sockets and in functions from threads, asyncio, uvloop and trio; and leaving off."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import uvloop
from authorizer_server import Asked, AuthorizerServer, ok
from inbound_drive import asgi_call, http_scope, wsgi_call
from inbound_world import mesh_config, policy, workload

import meshware
from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.asking.http import ask_http, ask_http_async
from meshware.authz import Allow, Deny, Request
from meshware.events import InboundEvent
from meshware.identity.tls import mesh_server_context
from meshware.inbound.asking import Check, HttpAnswer, NoAnswer
from meshware.policy.authorizers import HttpAuthorizer, compile_authorizer
from meshware.policy.document.mesh_config import AuthzProviderHttp, ExtensionProvider
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

OPA = "spiffe://cluster.local/ns/default/sa/opa"


class Dialling(TestMesh):
    """A test mesh that opens connections to authorizers."""

    opens_connections = True


def service(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The authorizer's service."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "authz"},
        "spec": {
            "hosts": ["authz.example.com"],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
            "endpoints": list(endpoints),
            **more,
        },
    }


def at(port: int, **more: Any) -> dict[str, Any]:
    """An endpoint on loopback."""
    return {"address": "127.0.0.1", "ports": {"http": port}, **more}


def asks(name: str = "opa", namespace: str = "default") -> dict[str, Any]:
    """A CUSTOM policy about everything."""
    found = policy("CUSTOM", {}, name="ask", namespace=namespace)
    found["spec"]["provider"] = {"name": name}
    return found


def config(**settings: Any) -> dict[str, Any]:
    """A MeshConfig with the authorizer `opa`."""
    http = {"service": "authz.example.com", "port": 9000, "timeout": "2s", **settings}
    return mesh_config(extensionProviders=[{"name": "opa", "envoyExtAuthzHttp": http}])


def opa(timeout_s: float = 2.0) -> HttpAuthorizer:
    """The compiled authorizer."""
    http = AuthzProviderHttp(service="authz.example.com", port=9000, timeout=timeout_s)
    found = compile_authorizer(ExtensionProvider(name="opa", envoy_ext_authz_http=http))
    assert isinstance(found, HttpAuthorizer)
    return found


CHECK = Check("POST", "shop", "/x", (("x-a", "b"),))

Ask = Callable[..., HttpAnswer | NoAnswer]


def in_thread(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    return ask_http(mesh, opa(timeout_s), CHECK, body, is_whole=True)


def in_asyncio(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    return asyncio.run(ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True))


def in_uvloop(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    asking = ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asking)


def in_trio(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    async def main() -> Any:
        return await ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True)

    return trio.run(main)


@pytest.fixture(params=[in_thread, in_asyncio, in_uvloop, in_trio])
def ask(request) -> Ask:
    """One way to ask."""
    return request.param


@pytest.fixture
def authorizer() -> Iterator[AuthorizerServer]:
    """One that allows."""
    with closing(AuthorizerServer(lambda asked: ok(200, b"", ("x-b", "c")))) as server:
        yield server


def test_an_answer_comes_whole_and_the_connection_is_kept(ask, authorizer):
    """Beyond the loop that made it: the sockets belong to none."""
    mesh = Dialling(service(at(authorizer.port)))
    body = os.urandom(3_000_000)
    for _ in range(3):
        answer = ask(mesh, body)
        assert isinstance(answer, HttpAnswer)
        assert (answer.status, dict(answer.headers)["x-b"]) == (200, "c")
    assert [one.body == body for one in authorizer.asked] == [True] * 3
    assert authorizer.connections == 1
    assert [event.flags for event in mesh.events] == ["-"] * 3


def test_a_dead_endpoint_is_passed_over(ask, authorizer):
    """The same exchange as any call's: connections that cannot be made are tried elsewhere."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()[1]
    mesh = Dialling(service(at(dead), at(authorizer.port)))
    for _ in range(4):
        assert isinstance(ask(mesh), HttpAnswer)


def test_a_unix_socket_and_no_endpoint(ask, authorizer, tmp_path):
    assert ask(Dialling(service())) == NoAnswer("out of reach")
    path = str(tmp_path / "opa.sock")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(ok(204))

        thread = threading.Thread(target=serve)
        thread.start()
        answer = ask(Dialling(service({"address": f"unix://{path}"}, ports=[
            {"number": 9000, "name": "http", "protocol": "HTTP"}])))  # fmt: skip
        thread.join()
    assert answer.status == 204


def test_a_service_that_policy_does_not_know_is_never_looked_up(ask):
    """A name of DNS might be anybody's."""
    mesh = Dialling(service(hosts=["other.example.com"]))
    answer = ask(mesh)
    assert isinstance(answer, NoAnswer)
    assert "policy knows no such service" in answer.why


def test_the_time_out_is_for_all_of_it(ask, authorizer):
    def slow(asked: Asked) -> bytes:
        time.sleep(1.0)
        return ok()

    authorizer.answer = slow
    mesh = Dialling(service(at(authorizer.port)))
    started = time.monotonic()
    assert ask(mesh, timeout_s=0.3) == NoAnswer("late")
    assert time.monotonic() - started < 0.9


def test_an_answer_that_drips_is_late(ask):
    """A byte now and then keeps nobody waiting."""
    is_over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                for byte in b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 50:
                    try:
                        connection.sendall(bytes([byte]))
                    except OSError:
                        return
                    if is_over.wait(0.05):
                        return

        thread = threading.Thread(target=serve)
        thread.start()
        started = time.monotonic()
        answer = ask(Dialling(service(at(listening.getsockname()[1]))), timeout_s=0.4)
        taken_s = time.monotonic() - started
        is_over.set()
        thread.join()
    assert answer == NoAnswer("late")
    assert taken_s < 1.0


# --- identity ---------------------------------------------------------------------------------


def secured(mesh: TestMesh, spiffe_id: str) -> AuthorizerServer:
    """An authorizer that shows an identity, and wants to see one."""
    svid = mesh.issue(spiffe_id)
    context = mesh_server_context(svid, mesh.identity.bundles(), lambda: datetime.now(UTC))
    return AuthorizerServer(lambda asked: ok(), context)


def test_an_authorizer_of_the_mesh_is_called_by_mutual_tls(ask):
    mesh = Dialling([workload("app"), service()])
    with closing(secured(mesh, OPA)) as server:
        mesh.apply([workload("app"), service(at(server.port, serviceAccount="opa"))])
        assert isinstance(ask(mesh, b"hello"), HttpAnswer)
        assert isinstance(ask(mesh, b"hello"), HttpAnswer)
        assert [one.body for one in server.asked] == [b"hello"] * 2
        assert server.connections == 1


@pytest.mark.parametrize(
    "impostor",
    ["spiffe://cluster.local/ns/default/sa/other", "spiffe://elsewhere/ns/default/sa/opa"],
)
def test_an_impostor_is_told_nothing(ask, impostor):
    """Whoever answers in the authorizer's place gets no byte of a question, nor is believed."""
    mesh = Dialling([workload("app"), service()])
    with closing(secured(mesh, impostor)) as server:
        mesh.apply([workload("app"), service(at(server.port, serviceAccount="opa"))])
        assert ask(mesh) == NoAnswer("out of reach")
        assert server.asked == []
    assert {event.flags for event in mesh.events if event.flags != "-"} == {"UF,URX"}


# --- the caller goes away ---------------------------------------------------------------------


class Leaving:
    """An ASGI call whose caller goes away while an authorizer is asked about it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": b"", "more_body": False}
        ]
        self.sent: list[dict[str, Any]] = []
        self.runs = 0

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        self.runs += 1

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)


@pytest.mark.parametrize("library", ["asyncio", "trio"])
def test_a_caller_that_leaves_ends_the_question(library, authorizer):
    """Its event says DC, nothing is in flight, and neither app nor caller hears of it."""
    held = threading.Event()

    def answer(asked: Asked) -> bytes:
        held.wait(5)
        return ok()

    authorizer.answer = answer
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    call = Leaving()

    async def receive() -> dict[str, Any]:
        if call.messages:
            return call.messages.pop()
        while not authorizer.asked:  # noqa: ASYNC110 - it happens in another thread
            await (asyncio if library == "asyncio" else trio).sleep(0.01)
        return {"type": "http.disconnect"}

    async def main() -> None:
        await AsgiMesh(call.app, mesh)(http_scope("/x"), receive, call.send)

    if library == "asyncio":
        asyncio.run(main())
    else:
        trio.run(main)
    held.set()
    assert (call.runs, call.sent) == (0, [])
    [inbound] = [event for event in mesh.events if isinstance(event, InboundEvent)]
    assert (inbound.status, inbound.flags) == (0, "DC")
    [outbound] = [event for event in mesh.events if not isinstance(event, InboundEvent)]
    assert outbound.flags == "DC"


def test_a_cancelled_call_ends_the_question(authorizer):
    authorizer.answer = lambda asked: time.sleep(1) or ok()  # type: ignore[func-returns-value]
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    call = Leaving()

    async def receive() -> dict[str, Any]:
        if call.messages:
            return call.messages.pop()
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        serving = asyncio.create_task(
            AsgiMesh(call.app, mesh)(http_scope("/x"), receive, call.send)
        )
        while not authorizer.asked:  # noqa: ASYNC110 - it happens in another thread
            await asyncio.sleep(0.01)
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving

    asyncio.run(main())
    assert (call.runs, call.sent) == (0, [])
    assert [event.flags for event in mesh.events if isinstance(event, InboundEvent)] == ["DC"]


def test_what_was_received_meanwhile_reaches_the_app_and_so_does_the_end(authorizer):
    """Message by message: the body in its pieces, then that the caller has gone."""
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    pieces = [
        {"type": "http.request", "body": b"one", "more_body": True},
        {"type": "http.request", "body": b"two", "more_body": True},
        {"type": "http.request", "body": b"three", "more_body": False},
        {"type": "http.disconnect"},
    ]
    waiting, seen = list(pieces), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while True:
            seen.append(await receive())
            if seen[-1]["type"] == "http.disconnect":
                return

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None: ...

    asyncio.run(AsgiMesh(app, mesh)(http_scope("/x", method="POST"), receive, send))
    assert seen == pieces


def test_a_caller_that_waits_to_be_told_to_send_is_not_told_by_the_mesh(authorizer):
    """`Expect: 100-continue`: a server says go on when the body is first asked for."""
    authorizer.answer = lambda asked: ok(403)
    mesh = Dialling([config(), service(at(authorizer.port)), asks()])
    headers = (("host", "app"), ("expect", "100-continue"))
    answer = asgi_call(AsgiMesh(Leaving().app, mesh), "/x", method="POST", headers=headers)
    assert (answer.status, answer.was_body_read) == (403, False)


# --- the testing kit, and functions in every driver ---------------------------------------------


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
