"""The whole path, client -> A -> B, beside the same with an Envoy next to each of A and B.

A makes one outbound call for each inbound one. With sidecars a request makes three passes: into A
through A's Envoy, out of A through the same Envoy, into B through B's. What counts is the CPU that
A, B and their Envoys take for one request, read from the kernel; the load generator's is left out.
All variants run at the same time and take turns under load, so that the machine hits all alike.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import table

__all__ = ["run"]

ROUNDS = 7
REQUESTS = 600  # in each round, by each variant
CONNECTIONS = 8
PATIENCE_S = 60.0
ENVOY = Path(".venv-envoy/bin/envoy")

_TICKS = os.sysconf("SC_CLK_TCK")
_HEAD = b"GET /reviews/1 HTTP/1.1\r\nHost: a\r\n\r\n"

APP = """
import contextlib, os, sys
import httpx
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from meshware.asgi import MeshMiddleware
from meshware.clients.httpx import AsyncMeshTransport

name, way, url, port = sys.argv[1:]

async def answer(request):
    if name == "b":
        return JSONResponse({"stars": 5})
    found = await app.state.client.get(url, headers={"host": "b"})
    return JSONResponse({"reviews": found.json()})

@contextlib.asynccontextmanager
async def lifespan(app):
    transport = AsyncMeshTransport() if way == "mesh" else None
    async with httpx.AsyncClient(transport=transport) as app.state.client:
        yield

app = Starlette(routes=[Route("/reviews/{n}", answer)], lifespan=lifespan)
served = MeshMiddleware(app) if way == "mesh" else app

import uvicorn
uvicorn.run(served, port=int(port), log_level="warning", access_log=False,
            timeout_keep_alive=600)
"""

POLICY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: b}}
spec:
  hosts: [b]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: b}}
spec:
  hosts: [b]
  http:
    - route: [{{destination: {{host: b}}}}]
      timeout: 10s
      retries: {{attempts: 2, perTryTimeout: 5s, retryOn: 5xx}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: reviews}}
spec:
  action: ALLOW
  rules: [{{to: [{{operation: {{paths: [/reviews/*], methods: [GET]}}}}]}}]
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: a}}
spec: {{address: 127.0.0.1, labels: {{app: a}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: b}}
spec: {{address: 127.0.0.1, labels: {{app: b}}}}
"""


def run() -> None:
    """Print the rows of the whole path."""
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        ways = {"no mesh": _bare(stack), "meshware": _meshed(stack, Path(directory))}
        if ENVOY.exists():
            ways["Envoy sidecars"] = _sidecars(stack, Path(directory))
        else:
            print("\n(no Envoy for this machine: `make bench` sets one up where there is)")
        figures = asyncio.run(_in_turns(ways))
        resident = {name: way.resident_mib() for name, way in ways.items()}
    bare = figures["no mesh"]
    rows = []
    for name, rounds in figures.items():
        spent = [each[0] for each in rounds]
        ratios = [mine[0] / theirs[0] for mine, theirs in zip(rounds, bare, strict=True)]
        waited = [each[1] for each in rounds]
        rows.append(
            (
                name,
                f"{statistics.median(spent):,.0f}",
                f"{(max(spent) - min(spent)) / statistics.median(spent):.0%}",
                f"x{statistics.median(ratios):.2f}",
                f"{statistics.median(waited):.1f}",
                f"{resident[name]:.0f}",
            )
        )
    table(
        f"client -> A -> B, uvicorn and httpx, plain HTTP, {CONNECTIONS} connections; per request",
        ("", "CPU us (A, B, Envoys)", "spread", "against no mesh", "median ms", "resident MiB"),
        rows,
    )


class _Way:
    """One variant: where its requests go, and the processes that serve them."""

    def __init__(self, port: int, pids: list[int]) -> None:
        self.port = port
        self.pids = pids

    def cpu_s(self) -> float:
        """The CPU that its processes have taken so far."""
        return sum(_cpu_s(pid) for pid in self.pids)

    def resident_mib(self) -> float:
        """The memory that its processes hold."""
        return sum(_resident_mib(pid) for pid in self.pids)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


# --- the variants -----------------------------------------------------------------------------


def _bare(stack: ExitStack) -> _Way:
    to_b = _free_port()
    b = stack.enter_context(_app("b", "bare", "", to_b))
    to_a = _free_port()
    a = stack.enter_context(_app("a", "bare", f"http://127.0.0.1:{to_b}/reviews/1", to_a))
    return _Way(to_a, [a, b])


def _meshed(stack: ExitStack, directory: Path) -> _Way:
    to_b, to_a = _free_port(), _free_port()
    policy = directory / "mesh.yaml"
    policy.write_text(POLICY.format(port=to_b))
    environ = {"MESH_CONFIG": str(policy), "MESH_RUN_DIR": str(directory)}
    b = stack.enter_context(_app("b", "mesh", "", to_b, {**environ, "MESH_WORKLOAD": "b"}))
    environ["MESH_WORKLOAD"] = "a"
    a = stack.enter_context(_app("a", "mesh", "http://b/reviews/1", to_a, environ))
    return _Way(to_a, [a, b])


def _sidecars(stack: ExitStack, directory: Path) -> _Way:
    app_b, to_b, app_a, to_a, out_of_a = (_free_port() for _ in range(5))
    b = stack.enter_context(_app("b", "bare", "", app_b))
    beside_b = stack.enter_context(_envoy(directory / "b", inbound=(to_b, app_b)))
    url = f"http://127.0.0.1:{out_of_a}/reviews/1"
    a = stack.enter_context(_app("a", "bare", url, app_a))
    beside_a = stack.enter_context(
        _envoy(directory / "a", inbound=(to_a, app_a), outbound=(out_of_a, to_b))
    )
    return _Way(to_a, [a, beside_a, b, beside_b])


@contextmanager
def _app(
    name: str, way: str, url: str, port: int, environ: Mapping[str, str] | None = None
) -> Iterator[int]:
    with _process([sys.executable, "-c", APP, name, way, url, str(port)], environ) as pid:
        _wait_for(port)
        yield pid


@contextmanager
def _envoy(
    directory: Path, *, inbound: tuple[int, int], outbound: tuple[int, int] | None = None
) -> Iterator[int]:
    """Run an Envoy as a sidecar: a listener for what comes in, and policy for what goes out."""
    directory.mkdir()
    config: dict[str, Any] = {
        "static_resources": {
            "listeners": [_listener("in", inbound[0], _to("app"))],
            "clusters": [_cluster("app", inbound[1])],
        },
        "node": {"id": directory.name, "cluster": "bench"},
    }
    if outbound is not None:
        out, behind = outbound
        exported = _exported(directory / "out", out, behind)
        config = {**exported, "static_resources": config["static_resources"]}
    path = directory / "envoy.json"
    path.write_text(json.dumps(config))
    with _process(
        [
            str(ENVOY.resolve()), "--config-path", str(path), "--concurrency", "1",
            "--use-dynamic-base-id", "--log-level", "error",
        ],
    ) as pid:  # fmt: skip
        _wait_for(inbound[0])
        if outbound is not None:
            _wait_for(outbound[0])
        yield pid


def _exported(directory: Path, port: int, behind: int) -> dict[str, Any]:
    """Return the bootstrap of an Envoy that calls as policy says."""
    policy = directory.with_suffix(".yaml")
    policy.write_text(POLICY.format(port=behind))
    subprocess.run(
        [
            sys.executable, "-m", "meshware", "export", "envoy", "--policy", str(policy),
            "--workload", "default/a", "--out", str(directory), "--port", str(port),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    bootstrap: dict[str, Any] = json.loads((directory / "bootstrap.json").read_text())
    bootstrap.pop("admin", None)
    return bootstrap


def _listener(name: str, port: int, routes: dict[str, Any]) -> dict[str, Any]:
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network."
        "http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": name,
        "route_config": routes,
        "http_filters": [
            {
                "name": "router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    return {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


def _to(cluster: str) -> dict[str, Any]:
    route = {"match": {"prefix": "/"}, "route": {"cluster": cluster, "timeout": "0s"}}
    return {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]}


def _cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


# --- processes --------------------------------------------------------------------------------


@contextmanager
def _process(command: list[str], environ: Mapping[str, str] | None = None) -> Iterator[int]:
    process = subprocess.Popen(
        command,
        env={**os.environ, **(environ or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


# --- load -------------------------------------------------------------------------------------


async def _in_turns(ways: Mapping[str, _Way]) -> dict[str, list[tuple[float, float]]]:
    """Return, for each round of each variant, CPU in us for a request and the median ms."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for way in ways.values():
        await _load(way.port, REQUESTS // 2)  # caches, pools, first calls
    for _ in range(ROUNDS):
        for name, way in ways.items():
            before = way.cpu_s()
            waited = await _load(way.port, REQUESTS)
            spent = (way.cpu_s() - before) / REQUESTS * 1e6
            figures[name].append((spent, statistics.median(waited) * 1e3))
    return figures


async def _load(port: int, count: int) -> list[float]:
    """Make so many requests over a few connections; return how long each took, in seconds."""
    took: list[float] = []
    left = iter(range(count))

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            began = time.perf_counter()
            writer.write(_HEAD)
            head = await reader.readuntil(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"not answered with 200: {head[:200]!r}")
            length = next(
                int(line.partition(b":")[2])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length:")
            )
            await reader.readexactly(length)
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return took
