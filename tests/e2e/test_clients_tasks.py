"""The async transport among tasks: cancelled, timed out by others, under every kind of loop."""

from __future__ import annotations

import asyncio
import threading

import httpx
import httpx2
import pytest
import trio
import uvloop
from client_world import RETRY_5XX, World, route, service, wait_until
from upstreams import CLOSE, FAILS, HANG, OK, PATIENCE_S, Upstream, Wait, http

from meshware.clients.httpx import AsyncMeshTransport

BEGUN = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun", HANG]
CLOSED = ("closed",)

every_library = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])


class Place:
    """A service `orders` in a mesh, and clients of it."""

    def __init__(self, *script) -> None:
        self.upstream = Upstream(script)
        self.world = World(service("orders", self.upstream), route(RETRY_5XX))

    def client(self, library):
        return library.AsyncClient(transport=AsyncMeshTransport(self.world), timeout=None)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.upstream.close()
        assert self.world.nothing_in_flight()


async def seen(place: Place, count: int = 1) -> None:
    """Wait until so many requests have come."""
    await asyncio.to_thread(wait_until, lambda: len(place.upstream.requests) >= count)


@every_library
def test_a_task_that_is_cancelled_while_it_waits_leaves_nothing(library):
    """Neither a connection nor a lease; and the client is as good as new."""

    async def run(place: Place) -> None:
        async with place.client(library) as client:
            task = asyncio.create_task(client.get("http://orders/"))
            await seen(place)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert place.world.nothing_in_flight()
            await asyncio.to_thread(place.upstream.wait_until_left)
            assert (await client.get("http://orders/")).text == "ok"

    with Place([HANG], OK) as place:
        asyncio.run(run(place))
        assert place.world.said[:2] == [("send", 1), CLOSED]


@every_library
def test_a_task_that_is_cancelled_while_it_reads_leaves_nothing(library):
    """With the response's own `async with`, as apps write it."""

    async def run(place: Place) -> None:
        async def read() -> None:
            async with client.stream("GET", "http://orders/") as response:
                async for _ in response.aiter_raw():
                    begun.set()

        begun = asyncio.Event()
        async with place.client(library) as client:
            task = asyncio.create_task(read())
            await asyncio.wait_for(begun.wait(), PATIENCE_S)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert place.world.nothing_in_flight()
            await asyncio.to_thread(place.upstream.wait_until_left)

    with Place(BEGUN) as place:
        asyncio.run(run(place))
        assert place.world.said[-1] == CLOSED
        assert place.world.last.flags == "DC"


@every_library
def test_an_apps_own_timeout_around_a_call_is_its_own(library):
    """`asyncio.timeout` raises what it always raises; the mesh takes it for no time-out of its."""

    async def run(place: Place) -> None:
        async with place.client(library) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.get("http://orders/")
            assert place.world.nothing_in_flight()

    with Place([HANG]) as place:
        asyncio.run(run(place))
        assert place.world.said == [("send", 1), CLOSED]
        assert len(place.upstream.requests) == 1


@every_library
def test_one_task_of_many_is_cancelled_alone(library):
    """The others' calls, over the same pool, go on."""

    async def run(place: Place) -> None:
        async with place.client(library) as client:
            tasks = [asyncio.create_task(client.get("http://orders/")) for _ in range(3)]
            await seen(place, 3)
            tasks[0].cancel()
            go.set()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert [response.text for response in done[1:]] == ["ok", "ok"]

    go = threading.Event()
    with Place([Wait(go), http()]) as place:
        asyncio.run(run(place))


@every_library
def test_under_uvloop_it_is_the_same(library):
    """Retries, a cut body and cancellation."""

    async def run(place: Place) -> None:
        async with place.client(library) as client:
            response = await client.get("http://orders/")
            assert (response.text, response.extensions["meshware"].attempts) == ("ok", 2)
            with pytest.raises(library.RemoteProtocolError):
                await client.get("http://orders/")
            task = asyncio.create_task(client.get("http://orders/"))
            await seen(place, 4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    with Place(FAILS, OK, [BEGUN[0], CLOSE], [HANG]) as place:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(place))
        assert [event.flags for event in place.world.told] == ["-", "UPE", "DC"]


@every_library
def test_under_trio_a_scope_cancels_a_call(library):
    """While it waits for the headers, and in the middle of a body."""

    async def run(place: Place) -> None:
        async with place.client(library) as client:
            response = await client.get("http://orders/")
            assert (response.text, response.extensions["meshware"].attempts) == ("ok", 2)
            with trio.move_on_after(0.1) as scope:
                await client.get("http://orders/")
            assert scope.cancelled_caught
            with trio.move_on_after(0.1) as scope:
                async with client.stream("GET", "http://orders/") as response:
                    await response.aread()
            assert scope.cancelled_caught
            assert place.world.nothing_in_flight()

    with Place(FAILS, OK, [HANG], BEGUN) as place:
        trio.run(run, place)
        assert [event.flags for event in place.world.told] == ["-", "DC", "DC"]
        assert [event.status for event in place.world.told] == [200, 0, 200]


@every_library
def test_a_client_may_be_left_without_its_loop(library):
    """One loop after the other, as `asyncio.run` in scripts makes them, with a client for each."""

    async def run(place: Place) -> str:
        async with place.client(library) as client:
            return (await client.get("http://orders/")).text

    with Place(OK) as place:
        assert [asyncio.run(run(place)) for _ in range(2)] == ["ok", "ok"]
