"""A daemon's dashboard without a daemon: the page, and its JSON API over a world made up.

What is in the worlds is made by `dashboard_made`. A real HTTP server on a port of its own,
so that a browser meets what it meets in the field: modules, security headers, server-sent events.

`python tests/support/dashboard_world.py shop` serves one and prints its address.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from dashboard_made import World, crowd, empty, explained, shop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from meshware.dashboard.access import HEADERS
from meshware.dashboard.api import STATIC
from meshware.dashboard.listing import cursor
from meshware.dashboard.live import to_mend

__all__ = ["application", "detail", "served"]


def application(world: World) -> Starlette:
    """The page and its API."""

    def answer(body: object, status: int = 200) -> Response:
        return JSONResponse(body, status_code=status)

    def find(request: Request, kind: str) -> Response:
        ident = request.query_params.get("id", "")
        found = next((item for item in world.graph[kind] if item["id"] == ident), None)
        if found is None:
            return answer({"message": f"there is no such {kind[:-1]}"}, 404)
        return answer(detail(found, world))

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html")

    async def graph(_: Request) -> Response:
        return answer(world.graph)

    async def one_node(request: Request) -> Response:
        return find(request, "nodes")

    async def one_edge(request: Request) -> Response:
        return find(request, "edges")

    async def workers(_: Request) -> Response:
        return answer(world.workers)

    async def policy(_: Request) -> Response:
        return answer(world.policy)

    async def calls(_: Request) -> Response:
        return answer(_listed("calls", world.calls))

    async def traces(_: Request) -> Response:
        return answer(_listed("traces", world.traces))

    async def why(request: Request) -> Response:
        ident = request.query_params.get("id")
        found = next((call for call in world.calls if call["id"] == ident), None)
        if found is None:
            return answer({"message": "no such call is remembered any more"}, 404)
        return answer(explained(found))

    async def history(request: Request) -> Response:
        if not world.history:
            return answer(
                {"message": "history is not kept here: start the daemon with --prometheus URL"}, 404
            )
        item = {"id": request.query_params["id"], "rate": 5, "error_share": 0}
        return answer({"series": detail(item, world)["series"]})

    async def events(_: Request) -> Response:
        if not world.listening:
            return answer({"message": "too many watch already; close another page"}, 503)
        return StreamingResponse(_stream(world), media_type="text/event-stream")

    routes = [
        Route("/", page), Route("/api/graph", graph), Route("/api/node", one_node),
        Route("/api/edge", one_edge), Route("/api/workers", workers), Route("/api/policy", policy),
        Route("/api/calls", calls), Route("/api/traces", traces), Route("/api/history", history),
        Route("/api/why", why),
        Route("/api/events", events), Mount("/static", StaticFiles(directory=STATIC)),
    ]  # fmt: skip
    app = Starlette(routes=routes)

    async def with_headers(scope, receive, send) -> None:  # noqa: ANN001
        async def send_on(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
            await send(message)

        await app(scope, receive, send_on)

    return with_headers  # type: ignore[return-value]


def _listed(name: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    """All of them, told as to a reader that asks for the first time."""
    newest = max((item["seen"] for item in items), default=0)
    return {name: items, "cursor": cursor("world", newest), "is_whole": True, "left_out": 0}


def detail(item: dict[str, Any], world: World) -> dict[str, Any]:
    """What the API tells of a node or an edge."""
    chance = random.Random(item["id"])
    count, rate, share = 120, item["rate"], item["error_share"]
    waves = [1 + 0.15 * math.sin(i / 9) + chance.uniform(-0.06, 0.06) for i in range(count)]
    p95 = item.get("p95_ms") or 40.0
    calls = [round(rate * wave * 5) for wave in waves]
    errors = [max(0.0, share * wave * (0.3 if i < 60 else 1.4)) for i, wave in enumerate(waves)]
    return {
        "id": item["id"],
        "series": {
            "step_s": 5, "start": time.time() - 5 * count, "rate": [rate * wave for wave in waves],
            "error_share": errors, "p50_ms": [p95 / 2.4 * wave for wave in waves],
            "p95_ms": [p95 * wave for wave in waves],
            "p99_ms": [p95 * 1.7 * wave for wave in waves],
            "calls": calls,
            "attempts": [round(n * (1 + 2 * e)) for n, e in zip(calls, errors, strict=True)],
        },
        "endpoints": [
            {"address": "127.0.0.1:9081", "rate": rate * 0.6, "error_share": 0.0,
             "ejected": False, "ejected_by": 0},
            {"address": "127.0.0.1:9082", "rate": rate * 0.4, "error_share": share * 2.5,
             "ejected": share > 0.02, "ejected_by": 2 if share > 0.02 else 0},
        ],
        "policies": world.policy["resources"][:3],
    }  # fmt: skip


async def _stream(world: World) -> AsyncIterator[str]:
    told = len(world.events)
    chance = random.Random(3)
    due = time.monotonic()
    while world.listening:
        for kind, detail in world.events[told:]:
            yield f"event: {kind}\ndata: {json.dumps(detail)}\n\n"
        told = len(world.events)
        if time.monotonic() >= due:
            due = time.monotonic() + world.pace_s
            policy = world.policy
            tick = {"at": time.time(), "generation": policy["generation"]}
            tick["findings"] = to_mend(policy)
            yield f"event: tick\ndata: {json.dumps(tick)}\n\n"
            if world.moving and world.graph["nodes"]:
                yield f"event: graph\ndata: {json.dumps(_drift(world, chance))}\n\n"
        await asyncio.sleep(0.05)


def _drift(world: World, chance: random.Random) -> dict[str, Any]:
    def drifted(item: dict[str, Any]) -> float:
        return item["rate"] * chance.uniform(0.9, 1.1)

    return {
        "nodes": [
            [n["id"], drifted(n), n["error_share"], n["health"]] for n in world.graph["nodes"]
        ],
        "edges": [
            [e["id"], drifted(e)]
            + [e[key] for key in ("error_share", "p50_ms", "p95_ms", "p99_ms", "health")]
            for e in world.graph["edges"]
        ],
    }  # fmt: skip


@contextmanager
def served(world: World) -> Iterator[str]:
    """Serve a world on a port of its own; gives the page's address."""
    config = uvicorn.Config(
        application(world), host="127.0.0.1", port=0, log_level="error",
        timeout_graceful_shutdown=1, lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server of the page did not start")
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        world.listening = False
        server.should_exit = True
        thread.join(10)


if __name__ == "__main__":
    made = {"shop": shop, "crowd": crowd, "empty": empty}[sys.argv[1]]()
    with served(made) as address:
        print(address, flush=True)
        threading.Event().wait()
