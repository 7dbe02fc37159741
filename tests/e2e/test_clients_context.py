"""Calls made on behalf of an inbound one carry its names on, however the app came to make them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from wsgiref.util import setup_testing_defaults

import anyio
import pytest
from anyio.from_thread import start_blocking_portal
from carried import installed
from client_calls import Client
from client_drivers import DRIVERS
from client_world import RETRY_5XX, every_driver, route, staged
from upstreams import FAILS, OK, PATIENCE_S, Request

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.clients.httpx import AsyncMeshTransport
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

NAMES = {
    "x-request-id": "5ad8d1a3-0b4f-4c0e-9f6e-0d3f3b1f0c11",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "tracestate": "vendor=1",
}
INBOUND = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: all}
spec: {action: ALLOW, rules: [{}]}
"""


def in_wsgi(handler: Callable[[], None]) -> None:
    """Run a handler for an inbound call that carries the names, in a WSGI app."""

    def app(_environ, start_response):
        handler()
        start_response("204 No Content", [])
        return []

    environ = {f"HTTP_{name.upper().replace('-', '_')}": value for name, value in NAMES.items()}
    setup_testing_defaults(environ)
    statuses: list[str] = []
    body = WsgiMesh(app, mesh=TestMesh(INBOUND))(environ, lambda s, *_: statuses.append(s))
    list(body)
    body.close()
    assert statuses == ["204 No Content"]


async def in_asgi(handler) -> None:
    """Run a handler for an inbound call that carries the names, in an ASGI app."""

    async def app(_scope, _receive, send):
        await handler()
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        sent.append(message)

    sent: list[dict] = []
    headers = [(name.encode(), value.encode()) for name, value in NAMES.items()]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "headers": [(b"host", b"app"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    await AsgiMesh(app, mesh=TestMesh(INBOUND))(scope, receive, send)
    assert sent[0]["status"] == 204


def carried(request: Request) -> dict[str, str]:
    """Which of the names came over the wire."""
    return {name: request[name] for name in NAMES if request.all(name)}


def call(client: Client) -> None:
    """Call the service."""
    client.call("GET", "http://orders/")


def in_a_thread(client: Client) -> None:
    """Call from a thread of its own."""
    thread = threading.Thread(target=call, args=(client,))
    thread.start()
    thread.join()


def in_an_executor(client: Client) -> None:
    """Call from an executor's thread."""
    with ThreadPoolExecutor(1) as threads:
        threads.submit(call, client).result()


@every_driver
def test_a_handlers_call_carries_the_names_of_its_own(driver):
    """Every attempt of it, and none that the app has set itself is replaced."""
    with staged(driver, route(RETRY_5XX), scripts=[[FAILS, OK]]) as it:
        in_wsgi(lambda: call(it.client))
        assert [carried(request) for request in it.upstream.requests] == [NAMES] * 2
        own = {"X-Request-Id": "mine", "Traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-00"}
        in_wsgi(lambda: it.client.call("GET", "http://orders/", headers=own) and None)
        assert carried(it.upstream.requests[-1]) == {
            "x-request-id": "mine",
            "traceparent": own["Traceparent"],
        }


@every_driver
def test_a_call_on_nobodys_behalf_has_a_name_of_its_own(driver):
    """Each another; and what ran for an inbound call before does not linger."""
    with staged(driver, scripts=[[OK]]) as it:
        in_wsgi(lambda: call(it.client))
        for _ in range(2):
            call(it.client)
        own = [carried(request) for request in it.upstream.requests[1:]]
        assert [list(names) for names in own] == [["x-request-id"]] * 2
        assert len({NAMES["x-request-id"], *(names["x-request-id"] for names in own)}) == 3


@every_driver
@pytest.mark.parametrize("way", [in_a_thread, in_an_executor], ids=["thread", "executor"])
def test_threads_carry_the_names_once_installed(driver, way):
    """Python's own do not carry anything, so it is asked for."""
    with staged(driver, scripts=[[OK]]) as it:
        in_wsgi(lambda: way(it.client))
        with installed():
            in_wsgi(lambda: way(it.client))
        before, after = it.upstream.requests
        assert "traceparent" not in carried(before)
        assert carried(after) == NAMES


@every_driver
@pytest.mark.parametrize("way", [asyncio.to_thread, anyio.to_thread.run_sync])
def test_an_async_handler_carries_the_names_into_threads(driver, way):
    """By themselves: they take the context along."""
    with staged(driver, scripts=[[OK]]) as it:
        asyncio.run(in_asgi(lambda: way(call, it.client)))
        assert [carried(request) for request in it.upstream.requests] == [NAMES]


def test_two_handlers_at_once_carry_each_its_own():
    """Tasks of one loop, with one client, on connections that they share."""
    [driver] = [found for found in DRIVERS if found.name == "httpx2 async"]
    with staged(driver, scripts=[[OK]]) as it:

        async def both() -> None:
            async with (
                driver.module.AsyncClient(transport=AsyncMeshTransport(it.world)) as client,
                asyncio.timeout(PATIENCE_S),
            ):

                async def handler() -> None:
                    await asyncio.gather(
                        client.get("http://orders/a"), client.get("http://orders/")
                    )

                await asyncio.gather(in_asgi(handler), client.get("http://orders/own"))

        asyncio.run(both())
        names = {request.target: carried(request) for request in it.upstream.requests}
        assert names["/a"] == names["/"] == NAMES
        assert "traceparent" not in names["/own"]


def test_trios_threads_carry_the_names():
    """As asyncio's do."""
    [driver] = [found for found in DRIVERS if found.name == "requests"]
    with staged(driver, scripts=[[OK]]) as it, start_blocking_portal("trio") as portal:
        portal.call(in_asgi, lambda: anyio.to_thread.run_sync(call, it.client))
        assert [carried(request) for request in it.upstream.requests] == [NAMES]


@every_driver
def test_the_host_header_stays_what_the_caller_wrote(driver):
    """Whatever is dialled, and whatever policy is chosen by it."""
    with staged(driver, scripts=[[OK]]) as it:
        for url, headers, expected in (
            ("http://orders/", {}, "orders"),
            ("http://orders:80/", {}, {"orders", "orders:80"}),  # requests keeps a default port
            ("http://orders.default/", {}, "orders.default"),
            ("http://orders.default.svc.cluster.local/", {}, "orders.default.svc.cluster.local"),
            ("http://orders/", {"Host": "shop.example:99"}, "shop.example:99"),
        ):
            it.client.call("GET", url, headers=headers)
            host = it.upstream.requests[-1]["host"]
            assert host == expected or host in expected, url
            assert it.world.told[-1].endpoint == it.upstream.key
