"""What the middlewares add to an app that does nothing."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.measure import Timing, Work, against_bare, cpu, in_turns
from benchmarks.policies import app_rules, last_open_path, mixed_rules
from meshware.asgi import MeshMiddleware as AsgiMiddleware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMiddleware

__all__ = ["BARE", "RULES", "raw_app", "request_scope", "run"]

RULES = (20, 1000, 10_000)
BUDGET_US = 25
BARE = "raw app"

_HEADERS = [
    ("host", "app:8000"),
    ("user-agent", "benchmark"),
    ("accept", "*/*"),
    ("x-request-id", "5a1c3d7e-0000-4000-8000-000000000000"),
    ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
]


async def raw_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer, and nothing else."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


_RAW_HEADERS = [(name.encode(), value.encode()) for name, value in _HEADERS]


def request_scope(path: str, authorization: bytes | None = None) -> dict[str, Any]:
    """Return the scope of a usual request, as a server makes it for each."""
    headers = _RAW_HEADERS
    if authorization is not None:
        headers = [*headers, (b"authorization", authorization)]
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
    }


def _asgi_work(app: Any, path: str, events: list[Any]) -> Work:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def repeat(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            await app(request_scope(path), receive, send)
            events.clear()
        return time.process_time() - began

    return lambda count: asyncio.run(repeat(count))


def _wsgi_app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"{}"]


def _wsgi_work(app: Any, path: str, events: list[Any]) -> Work:
    base = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "RAW_URI": path,
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in _HEADERS},
    }

    def start_response(*_: Any) -> Callable[[bytes], None]:
        return lambda data: None

    def repeat(count: int) -> None:
        for _ in range(count):
            body = app(dict(base), start_response)
            for _part in body:
                pass
            close = getattr(body, "close", None)
            if close is not None:
                close()
            events.clear()

    return cpu(repeat)


def _row(count: int) -> str:
    return f"with the mesh, {count:,} rules"


def _measure(
    bare: Any, wrap: Any, work: Callable[[Any, str, list[Any]], Work]
) -> dict[str, Timing]:
    variants = {BARE: work(bare, "/open-0/item", [])}
    for count in RULES:
        mesh = TestMesh(app_rules(count), port=8000)
        variants[_row(count)] = work(wrap(bare, mesh=mesh), last_open_path(count), mesh.events)
    for count in RULES:
        mesh = TestMesh(mixed_rules(count), port=8000)
        name = f"with the mesh, {count:,} rules of ten shapes"
        variants[name] = work(wrap(bare, mesh=mesh), f"/open-{count}/item", mesh.events)
    return in_turns(variants)


def run() -> None:
    """Print the inbound rows."""
    asgi = _measure(raw_app, AsgiMiddleware, _asgi_work)
    against_bare("Inbound, ASGI: one request, CPU", asgi, BARE, BUDGET_US)
    wsgi = _measure(_wsgi_app, WsgiMiddleware, _wsgi_work)
    against_bare("Inbound, WSGI: one request, CPU", wsgi, BARE, BUDGET_US)
