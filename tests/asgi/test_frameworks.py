"""Apps as users write them: what carries the call, what routes see, which handlers never run."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import anyio
import anyio.to_thread
import fastapi
import pytest
import trio
from carried import installed
from inbound_drive import asgi_call, http_scope
from inbound_scenarios import current_id
from inbound_world import policy, to
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import meshware
from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh

OPEN = policy("ALLOW", {})


# --- who carries the call -------------------------------------------------------------------------


async def in_nested_task():
    async def inner():
        return current_id()

    async def outer():
        return await asyncio.create_task(inner())

    return await asyncio.create_task(outer())


async def in_task_group():
    async with asyncio.TaskGroup() as group:

        async def inner():
            return current_id()

        task = group.create_task(inner())
    return task.result()


async def in_to_thread():
    return await asyncio.to_thread(current_id)


async def in_anyio_thread():
    return await anyio.to_thread.run_sync(current_id)


async def in_anyio_group():
    found = []

    async def inner():
        found.append(current_id())

    async with anyio.create_task_group() as group:
        group.start_soon(inner)
    return found[0]


async def in_callback():
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(lambda: future.set_result(current_id()))
    return await future


async def in_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(current_id()))
    thread.start()
    await asyncio.to_thread(thread.join)
    return found[0]


async def in_executor():
    with ThreadPoolExecutor(1) as executor:
        return await asyncio.get_running_loop().run_in_executor(executor, current_id)


async def in_default_executor():
    return await asyncio.get_running_loop().run_in_executor(None, current_id)


async def in_executor_map():
    with ThreadPoolExecutor(1) as executor:
        return next(iter(executor.map(lambda _: current_id(), [1])))


BY_THEMSELVES = [
    in_nested_task, in_task_group, in_to_thread, in_anyio_thread, in_anyio_group,
    in_callback,
]  # fmt: skip
INSTALLED = [in_thread, in_executor, in_default_executor, in_executor_map]


def found_in(work):
    """What a handler finds that has some work done elsewhere."""

    async def app(scope, receive, send):
        text = await work()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": text.encode()})

    scope = http_scope("/", headers=[("host", "app"), ("x-request-id", "r-7")])
    return asgi_call(MeshMiddleware(app, TestMesh(OPEN)), scope=scope).text


@pytest.mark.parametrize("work", BY_THEMSELVES, ids=lambda work: work.__name__)
def test_tasks_and_library_threads_carry_the_call_by_themselves(work):
    """They copy the context."""
    assert found_in(work) == "r-7"


@pytest.mark.parametrize("work", INSTALLED, ids=lambda work: work.__name__)
def test_threads_and_executors_carry_the_call_once_installed(work):
    """Without `meshware.install()` they know of none."""
    assert found_in(work) == "none"
    with installed():
        assert found_in(work) == "r-7"


def test_trio_carries_the_call_too():
    """The middleware needs no asyncio."""
    found = []

    async def inner():
        found.append(current_id())

    async def app(scope, receive, send):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(inner)
        found.append(await trio.to_thread.run_sync(current_id))
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def send(message):
        await trio.lowlevel.checkpoint()

    mesh = TestMesh(OPEN)
    scope = http_scope("/", headers=[("host", "app"), ("x-request-id", "r-8")])

    async def call():
        await MeshMiddleware(app, mesh)(scope, None, send)
        assert meshware.current_call() is None

    trio.run(call)
    assert found == ["r-8", "r-8"]
    assert [event.status for event in mesh.events] == [204]


# --- routes ---------------------------------------------------------------------------------------


def test_the_call_knows_the_route_template_once_the_framework_has_routed():
    """Before that it does not."""
    found = []

    async def user(request):
        found.append(meshware.current_call().route)
        return PlainTextResponse("")

    async def fast_user(number: int):
        found.append(meshware.current_call().route)
        return ""

    routes = [Route("/users/{number}", user), Mount("/v1", routes=[Route("/u/{number}", user)])]
    plain = Starlette(routes=routes)
    fast = fastapi.FastAPI()
    fast.add_api_route("/users/{number}", fast_user)
    asgi_call(MeshMiddleware(plain, TestMesh(OPEN)), "/users/1")
    asgi_call(MeshMiddleware(plain, TestMesh(OPEN)), "/v1/u/1")
    asgi_call(MeshMiddleware(fast, TestMesh(OPEN)), "/users/1")
    assert found[0] == found[2] == "/users/{number}"
    assert found[1] in {"/v1/u/{number}", None}


# --- which handlers never run ---------------------------------------------------------------------

HOSTILE = [
    "/admin/../public/x",
    "/admin/%2e%2e/public/x",
    "/admin%2f..%2fpublic%2fx",
    "/admin%5c..%5cpublic%5cx",
    "//admin/../public/x",
    "/%61dmin/.%2e/public/x",
    "/./admin/../public/x",
    "/public/../admin/x",
    "/public/%2e%2e/admin/x",
    "/public%2f..%2fadmin%2fx",
    "/public/..%5cadmin",
]


def counting(ran):
    async def handler(request):
        ran.append(request.url.path)
        return PlainTextResponse("ran")

    return handler


def catch_all(ran):
    return Starlette(routes=[Route("/{rest:path}", counting(ran))])


def mounted(ran):
    return Starlette(
        routes=[
            Mount("/admin", routes=[Route("/{rest:path}", counting(ran))]),
            Route("/public/x", counting(ran)),
        ]
    )


def fast(ran):
    app = fastapi.FastAPI()

    @app.get("/admin/{rest:path}")
    async def admin(rest: str):
        ran.append(rest)

    @app.get("/{rest:path}")
    async def anything(rest: str):
        ran.append(rest)

    return app


def fast_mounted(ran):
    app, inner = fastapi.FastAPI(), fast(ran)
    app.mount("/admin", inner)
    return app


def raw(ran):
    async def app(scope, receive, send):
        ran.append(scope["path"])

    return app


@pytest.mark.parametrize("make", [catch_all, mounted, fast, fast_mounted, raw])
@pytest.mark.parametrize("target", HOSTILE)
def test_no_handler_runs_for_a_path_that_may_mean_another(make, target):
    """ALLOW `/public/*`: whatever the app makes of the dots, it is not asked."""
    ran = []
    app = MeshMiddleware(make(ran), TestMesh(policy("ALLOW", to(paths=["/public/*"]))))
    assert asgi_call(app, target).status == 403
    assert ran == []


@pytest.mark.parametrize("make", [catch_all, mounted, fast])
def test_an_honest_path_reaches_its_handler(make):
    """The same rule lets it pass."""
    ran = []
    app = MeshMiddleware(make(ran), TestMesh(policy("ALLOW", to(paths=["/public/*"]))))
    assert asgi_call(app, "/public/x").status == 200
    assert len(ran) == 1


@pytest.mark.parametrize(
    "target", ["/admin", "/admin/", "/admin/x", "//admin", "/admin%0a", "/%61dmin", "/admin%2fx"]
)
@pytest.mark.parametrize("make", [catch_all, mounted, fast])
def test_no_handler_runs_for_what_is_denied(make, target):
    """However the path is written."""
    ran = []
    app = MeshMiddleware(make(ran), TestMesh(policy("DENY", to(paths=["/admin", "/admin/*"]))))
    assert asgi_call(app, target).status in (400, 403)
    assert ran == []


def test_a_middleware_within_a_mount_sees_the_whole_path():
    """A rule about the whole path is met, and so is one about the rest."""
    for path in ("/api/admin", "/admin"):
        ran = []
        inner = MeshMiddleware(catch_all(ran), TestMesh(policy("DENY", to(paths=[path]))))
        assert asgi_call(Starlette(routes=[Mount("/api", inner)]), "/api/admin").status == 403
        assert ran == []


def test_the_test_client_of_starlette_reaches_apps_in_a_mesh():
    """HTTP, and a WebSocket that is refused."""

    async def hello(request):
        return PlainTextResponse("hello")

    async def chat(websocket):
        raise AssertionError("the app was called")

    app = fastapi.FastAPI()
    app.add_route("/hello", hello)
    app.add_api_websocket_route("/chat", chat)
    mesh = TestMesh(policy("ALLOW", to(paths=["/hello"])))
    app.add_middleware(MeshMiddleware, mesh=mesh)
    with TestClient(app) as client:
        assert client.get("/hello").text == "hello"
        assert client.get("/other").status_code == 403
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/chat"):
            pass
    assert [event.status for event in mesh.events] == [200, 403, 403]
