"""The dashboard as an ASGI application: the page, its JSON, and events as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meshware.clock import Clock
from meshware.dashboard.access import HEADERS, Access
from meshware.dashboard.concerns import may_concern
from meshware.dashboard.data import Console, Told
from meshware.dashboard.graph import Node
from meshware.dashboard.history import History
from meshware.dashboard.listing import (
    Wanted,
    calls_of,
    cursor,
    since_of,
    traces_of,
    wanted,
)
from meshware.dashboard.live import Live, TooManyError
from meshware.dashboard.prometheus import Prometheus

__all__ = ["STATIC", "build_app"]

STATIC = Path(__file__).parent / "static"

_MOST_LISTED = 1000
_MOST_WINDOW_S = 3600
_log = logging.getLogger("meshware.dashboard")

Abort = Callable[[Scope], None]
Items = Sequence[Mapping[str, Any]]


def build_app(
    console: Console,
    access: Access,
    clock: Clock,
    *,
    static: Path = STATIC,
    abort: Abort | None = None,
    prometheus: str | None = None,
) -> ASGIApp:
    """Return the application; its lifespan looks at the console once a second.

    Args:
        console: what the daemon knows.
        access: who is let in.
        clock: the machine's.
        static: the directory of the page.
        abort: ends the connection of a reader that does not read, without sending what waits.
        prometheus: address of the server that knows what is older than an hour; None: nobody does.
    """
    history = History(None if prometheus is None else Prometheus(prometheus), clock)
    live = Live(console, lambda: clock.now().timestamp())
    pages = _Pages(console, live, history)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep_looking(live, console, clock))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await history.close()

    async def index(_request: Request) -> Response:
        page = static / "index.html"
        if not page.is_file():
            return PlainTextResponse("the page is not installed; /api/graph and others are\n", 404)
        return FileResponse(page)

    app = Starlette(
        routes=[
            Route("/", index),
            Route("/api/graph", pages.graph),
            Route("/api/edge", pages.edge),
            Route("/api/node", pages.node),
            Route("/api/workers", pages.workers),
            Route("/api/policy", pages.policy),
            Route("/api/calls", pages.calls),
            Route("/api/traces", pages.traces),
            Route("/api/why", pages.why),
            Route("/api/history", pages.history),
            Route("/api/events", _Events(live, abort)),
            Mount("/static", StaticFiles(directory=static, check_dir=False)),
        ],
        lifespan=lifespan,
    )
    return _Guarded(app, access)


async def _keep_looking(live: Live, console: Console, clock: Clock) -> None:
    """Look once a second, for ever: what goes wrong once is told once, and tried again."""
    told = ""
    due = clock.monotonic()
    while True:
        try:
            seconds = max(1, int(clock.monotonic() - due) + 1)
            due += seconds
            if live.is_watched:
                await asyncio.to_thread(console.look)
            # Files of workers are read, and nobody waits for that here.
            live.tick(seconds, await asyncio.to_thread(console.counted))
        except Exception as error:
            if told != repr(error):
                told = repr(error)
                _log.exception("the dashboard shows nothing new; all else works")
        await asyncio.sleep(max(due - clock.monotonic(), 0.05))


class _Json(JSONResponse):
    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class _Pages:
    """What is answered from the console."""

    def __init__(self, console: Console, live: Live, history: History) -> None:
        self._console = console
        self._live = live
        self._history = history

    async def graph(self, request: Request) -> Response:
        window_s = _window(request, 60)
        if window_s is None:
            return _bad(f"window is seconds from 1 to {_MOST_WINDOW_S}")
        return _Json(self._live.view(window_s))

    async def edge(self, request: Request) -> Response:
        name = request.query_params.get("id", "")
        edge = self._live.graph.edges.get(name)
        if edge is None:
            return _bad("there is no such edge", 404)
        return self._detail(request, name, [name], edge.target, edge.source)

    async def node(self, request: Request) -> Response:
        name = request.query_params.get("id", "")
        node = self._live.graph.nodes.get(name)
        if node is None:
            return _bad("there is no such node", 404)
        edges = self._live.edges_of(name)
        return self._detail(request, name, edges, node, None)

    def _detail(
        self, request: Request, name: str, edges: list[str], target: Node, source: Node | None
    ) -> Response:
        window_s = _window(request, 300)
        if window_s is None:
            return _bad(f"window is seconds from 1 to {_MOST_WINDOW_S}")
        hosts = self._live.graph.hosts.get(target.id.partition("@")[0], set())
        return _Json(
            {
                "id": name,
                "series": self._live.series(edges, window_s),
                "endpoints": self._live.endpoints.of(hosts),
                "policies": [
                    resource
                    for resource in self._console.policy()["resources"]
                    if may_concern(resource, target, hosts, source)
                ][:_MOST_LISTED],
            }
        )

    async def workers(self, _request: Request) -> Response:
        workers = self._console.workers()[:_MOST_LISTED]
        return _Json({"generation": self._console.generation(), "workers": workers})

    async def policy(self, _request: Request) -> Response:
        return _Json({"generation": self._console.generation(), **self._console.policy()})

    async def calls(self, request: Request) -> Response:
        return await self._listed(request, "calls", lambda told: told.calls, calls_of)

    async def traces(self, request: Request) -> Response:
        return await self._listed(
            request, "traces", lambda told: told.traces, traces_of, listed=100
        )

    async def _listed(
        self,
        request: Request,
        name: str,
        items: Callable[[Told], Items],
        pick: Callable[[Items, Wanted, int], list[Mapping[str, Any]]],
        listed: int = 300,
    ) -> Response:
        want = wanted(request.query_params, listed=listed)
        if isinstance(want, str):
            return _bad(want)
        told = await asyncio.to_thread(self._console.look)
        since = since_of(want.since, told.epoch)
        return _Json(
            {
                name: pick(items(told), want, since),
                "cursor": cursor(told.epoch, told.seen),
                "is_whole": not since,
                "left_out": told.left_out,
            }
        )

    async def why(self, request: Request) -> Response:
        found = await asyncio.to_thread(self._console.why, request.query_params.get("id", ""))
        if found is None:
            return _bad("no such call is remembered any more", 404)
        return _Json(found)

    async def history(self, request: Request) -> Response:
        status, told = await self._history.answer(request.query_params, self._live.graph)
        return _bad(told, status) if isinstance(told, str) else _Json(told)


def _window(request: Request, otherwise: int) -> int | None:
    text = request.query_params.get("window", str(otherwise))
    if not (text.isascii() and text.isdigit() and len(text) <= 4):
        return None
    return int(text) if 1 <= int(text) <= _MOST_WINDOW_S else None


def _bad(message: str, status: int = 400) -> Response:
    return _Json({"message": message}, status_code=status)


class _Events:
    """Server-sent events. A reader that does not read is dropped, whatever waits for it."""

    def __init__(self, live: Live, abort: Abort | None) -> None:
        self._live = live
        self._abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            reader = self._live.join()
        except TooManyError:
            await _bad("too many watch already; close another page", 503)(scope, receive, send)
            return
        tasks = [
            asyncio.ensure_future(_tell(reader.events, send)),
            asyncio.ensure_future(_gone(receive)),
            asyncio.ensure_future(reader.dropped.wait()),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._live.leave(reader)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._abort is not None:
            self._abort(scope)


async def _tell(events: asyncio.Queue[bytes], send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"retry: 2000\n\n", "more_body": True})
    while True:
        await send({"type": "http.response.body", "body": await events.get(), "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class _Guarded:
    """Lets in who may, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        app = self._answering(scope)

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                names = {name for name, _ in ours}
                kept = [pair for pair in message.get("headers", ()) if pair[0] not in names]
                message = {**message, "headers": [*kept, *ours]}
            await send(message)

        await app(scope, receive, sending)

    def _answering(self, scope: Scope) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        request = Request(scope)
        if scope["method"] not in {"GET", "HEAD"}:
            return PlainTextResponse("there is GET alone\n", 405, {"Allow": "GET, HEAD"})
        hosts = request.headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        origins = request.headers.getlist("origin")
        origin = ", ".join(origins) if origins else None
        if scope["path"] == "/" and self._access.is_presented(
            scope["query_string"].decode("latin-1")
        ):
            # The token goes out of the address bar, and so out of the browser's history.
            return Response(
                status_code=303, headers={"Location": "/", "Set-Cookie": self._access.cookie}
            )
        cookie = "; ".join(request.headers.getlist("cookie"))
        site = "" if scope["path"] == "/" else request.headers.get("sec-fetch-site", "")
        why = self._access.refusal(host, cookie, site, origin)
        if why is not None:
            return PlainTextResponse(f"{why}\n", 403)
        return self._app
