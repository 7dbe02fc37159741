"""What the client transports add over a stub in place of the network."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from benchmarks.measure import Work, against_bare, cpu, in_turns
from meshware.call import Answer, Ended, HeaderLookup, RequestHead
from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.outbound.exchange import Exchange
from meshware.testing import TestMesh

__all__ = ["POLICY", "carry", "request_head", "run"]

BUDGET_US = 20
URL = "http://reviews:9080/reviews/1"

POLICY = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts: [reviews]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 9080, name: http, protocol: HTTP}]
  endpoints:
    - {address: 127.0.0.1, ports: {http: 9081}, labels: {version: v1}}
    - {address: 127.0.0.1, ports: {http: 9082}, labels: {version: v1}}
    - {address: 127.0.0.1, ports: {http: 9083}, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
    - match: [{headers: {end-user: {exact: jason}}}]
      route: [{destination: {host: reviews, subset: v2}}]
    - route:
        - {destination: {host: reviews, subset: v1}, weight: 80}
        - {destination: {host: reviews, subset: v2}, weight: 20}
      timeout: 10s
      retries: {attempts: 2, perTryTimeout: 5s, retryOn: 5xx}
"""


def request_head(headers: HeaderLookup) -> RequestHead:
    """Return the head of a usual request, as a client makes it for each."""
    return RequestHead(
        method="GET",
        scheme="http",
        host="reviews",
        port=9080,
        authority="reviews:9080",
        target="/reviews/1",
        headers=headers,
        replayable=True,
    )


def carry(flow: Exchange, answer: Answer, ended: Ended) -> None:
    """Carry an exchange out whose first attempt is answered."""
    next(flow)
    flow.send(answer)
    try:
        flow.send(ended)
    except StopIteration:
        pass


def _decisions() -> None:
    """The exchange alone: its generator, driven by hand."""
    mesh = TestMesh(POLICY)
    headers = {"traceparent": ["00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"]}
    nothing: list[str] = []

    def lookup(name: str) -> list[str]:
        return headers.get(name, nothing)

    answer = Answer(status=200, headers=lookup)
    ended = Ended(received_bytes=2)

    def exchange(count: int) -> None:
        for _ in range(count):
            carry(mesh.exchange(request_head(lookup)), answer, ended)
            mesh.events.clear()

    def loop(count: int) -> None:
        for _ in range(count):
            request_head(lookup)

    timings = in_turns({"the request's head": cpu(loop), "and its exchange": cpu(exchange)})
    against_bare("Outbound, decisions alone: CPU", timings, "the request's head", BUDGET_US)


def _transports(library: Any) -> None:
    """The transports of httpx or httpx2, called as the client calls them."""

    class Stub(library.BaseTransport, library.AsyncBaseTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            return library.Response(200, content=b"{}")

        async def handle_async_request(self, request: Any) -> Any:
            return library.Response(200, content=b"{}")

    mesh = TestMesh(POLICY)
    request = library.Request("GET", URL)

    def direct(transport: Any) -> Work:
        def repeat(count: int) -> None:
            for _ in range(count):
                response = transport.handle_request(request)
                response.read()
                response.close()
                mesh.events.clear()

        return cpu(repeat)

    def client(transport: Any) -> Work:
        def repeat(count: int) -> None:
            with library.Client(transport=transport) as http:
                for _ in range(count):
                    http.get(URL)
                    mesh.events.clear()

        return cpu(repeat)

    def async_client(transport: Any) -> Work:
        async def repeat(count: int) -> float:
            http = library.AsyncClient(transport=transport)
            began = time.process_time()
            for _ in range(count):
                await http.get(URL)
                mesh.events.clear()
            return time.process_time() - began

        return lambda count: asyncio.run(repeat(count))

    name = library.__name__
    bare, meshed = "stub transport", "the same below the mesh"
    for title, work, outer in (
        (f"Outbound, {name}, transport called directly", direct, MeshTransport),
        (f"Outbound, {name}.Client.get", client, MeshTransport),
        (f"Outbound, {name}.AsyncClient.get", async_client, AsyncMeshTransport),
    ):
        timings = in_turns({bare: work(Stub()), meshed: work(outer(mesh, inner=Stub()))})
        against_bare(f"{title}: CPU", timings, bare, BUDGET_US)


def run() -> None:
    """Print the outbound rows."""
    import httpx
    import httpx2

    _decisions()
    for library in (httpx, httpx2):
        _transports(library)
