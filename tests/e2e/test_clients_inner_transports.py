"""A transport that the app hands in makes connections as it likes: what policy must have of them is
refused, never left out."""

from __future__ import annotations

import asyncio
from contextlib import closing
from dataclasses import replace

import httpx
import httpx2
import pytest
from client_world import World, route, service
from upstreams import OK, Upstream

from meshware.call import RequestHead, Send
from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.outbound.exchange import Exchange

LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
INNERS = pytest.mark.parametrize("is_made", [False, True], ids=["one for all", "one for each"])
ONCE = route("retries: {attempts: 0}")


def get(library, world, *, is_made: bool):
    """Call `orders` through a transport of the library's own below the mesh."""
    inner = library.HTTPTransport if is_made else library.HTTPTransport()
    with library.Client(transport=MeshTransport(world, inner=inner)) as client:
        return client.get("http://orders/")


def get_async(library, world, *, is_made: bool):
    """The same in a loop."""

    async def call():
        inner = library.AsyncHTTPTransport if is_made else library.AsyncHTTPTransport()
        transport = AsyncMeshTransport(world, inner=inner)
        async with library.AsyncClient(transport=transport) as client:
            return await client.get("http://orders/")

    return asyncio.run(call())


CALLS = pytest.mark.parametrize("call", [get, get_async], ids=["threads", "tasks"])


@LIBRARIES
@INNERS
@CALLS
def test_a_plain_call_goes_through_it(library, is_made, call):
    """Where policy asks nothing that it could not do."""
    with closing(Upstream([OK])) as upstream:
        world = World(service("orders", upstream), ONCE)
        assert call(library, world, is_made=is_made).text == "ok"


@LIBRARIES
@INNERS
@CALLS
def test_tls_of_policys_is_refused(library, is_made, call):
    """It would go in the clear."""
    with closing(Upstream([OK])) as upstream:
        world = World(service("orders", upstream, policy="tls: {mode: SIMPLE}"), ONCE)
        response = call(library, world, is_made=is_made)
        assert response.status_code == 503
        assert response.extensions["meshware"].flags == "UF"
        assert "cannot originate policy's TLS" in response.text
        assert upstream.connections == 0


class Moved(World):
    """A mesh whose endpoints are all at one Unix socket."""

    def exchange(self, head: RequestHead) -> Exchange:
        exchange = super().exchange(head)
        outcome = None
        while True:
            try:
                action = exchange.send(outcome)
            except StopIteration:
                return
            if isinstance(action, Send):
                action = replace(action, address="unix:///run/nobody")
            outcome = yield action


@LIBRARIES
@INNERS
@CALLS
def test_a_unix_socket_is_refused(library, is_made, call):
    """It knows hosts only."""
    response = call(library, Moved(service("orders", 1), ONCE), is_made=is_made)
    assert response.status_code == 503
    assert "cannot dial Unix sockets" in response.text
