"""What only aiohttp has: a total time-out, its sessions, WebSockets, its own kind of content."""

from __future__ import annotations

import asyncio
import gc
import gzip
import threading
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import uvloop
from aiohttp import web
from client_world import RETRY_5XX, World, route, service, wait_until
from upstreams import CLOSE, FAILS, HANG, OK, PATIENCE_S, Upstream, Wait, chunked, http

from meshware.clients.aiohttp import MeshClientMiddleware

BEGUN = [b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun", HANG]
CLOSED = ("closed",)


class Place:
    """A service `orders` in a mesh, and sessions that call it."""

    def __init__(self, *script, rule: str = RETRY_5XX) -> None:
        self.upstream = Upstream(script)
        self.world = World(service("orders", self.upstream), route(rule))

    def session(self, **options) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(middlewares=(MeshClientMiddleware(self.world),), **options)

    async def seen(self, count: int = 1) -> None:
        """Wait until so many requests have come."""
        await asyncio.to_thread(wait_until, lambda: len(self.upstream.requests) >= count)

    async def left(self) -> None:
        """Wait until every connection has been closed."""
        await asyncio.to_thread(self.upstream.wait_until_left)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.upstream.close()
        assert self.world.nothing_in_flight()


def run(place: Place, function: Callable[[Place], Awaitable[None]]) -> None:
    """Run a coroutine, with patience for all of it."""
    with place:
        asyncio.run(asyncio.wait_for(function(place), 2 * PATIENCE_S))


# --- time -------------------------------------------------------------------------------------


def test_the_total_timeout_ends_the_wait_for_headers():
    """As aiohttp's own exception, over all attempts; whatever policy would do meanwhile."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            timeout = aiohttp.ClientTimeout(total=0.3)
            with pytest.raises(TimeoutError):
                await session.get("http://orders/", timeout=timeout)
            await place.left()
            assert place.world.said[-1] == CLOSED
            assert (place.world.last.flags, place.world.last.status) == ("DC", 0)

    run(
        Place(
            [HANG], rule="timeout: 10s, retries: {attempts: 9, perTryTimeout: 100ms, retryOn: 5xx}"
        ),
        call,
    )


def test_the_total_timeout_ends_the_body():
    """It is for the whole call, as in aiohttp without the mesh."""

    async def call(place: Place) -> None:
        async with place.session(timeout=aiohttp.ClientTimeout(total=0.3)) as session:
            response = await session.get("http://orders/")
            with pytest.raises(TimeoutError):
                await response.read()
            await place.left()
            assert (place.world.last.flags, place.world.last.complete) == ("UT", False)

    run(Place(BEGUN), call)


def test_the_time_for_a_read_holds_for_the_wait_between_attempts_too():
    """It was found out at the first of them."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            timeout = aiohttp.ClientTimeout(total=None, sock_read=0.2)
            with pytest.raises(aiohttp.SocketTimeoutError):
                await session.get("http://orders/", timeout=timeout)
            assert place.world.said[-1] == CLOSED
            assert len(place.upstream.requests) == 1

    run(Place(FAILS, OK, rule="retries: {attempts: 2, retryOn: 5xx, backoff: 60s}"), call)


def test_an_apps_own_timeout_around_a_call_is_its_own():
    """`asyncio.timeout` raises what it always raises; the mesh takes it for no time-out of its."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await session.get("http://orders/")
            assert place.world.said == [("send", 1), CLOSED]

    run(Place([HANG]), call)


# --- bodies -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_every_loop_does_the_same(loop):
    """Retries, a cut body, a head that was cut, a stale connection, and cancellation."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            async with session.get("http://orders/") as response:
                assert (await response.text(), response.meshware.attempts) == ("ok", 2)
            with pytest.raises(aiohttp.ClientPayloadError):
                async with session.get("http://orders/") as response:
                    await response.read()
            response = await session.post("http://orders/")
            assert (response.status, response.meshware.flags) == (502, "UPE")
            for _ in range(2):
                response = await session.get("http://orders/")
                assert (await response.text(), response.meshware.attempts) == ("ok", 1)
            task = asyncio.create_task(session.get("http://orders/"))
            await place.seen(8)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await place.left()

    script = [FAILS, OK, [BEGUN[0], CLOSE], [b"HTTP/1.1 2", CLOSE], OK, [CLOSE], OK, [HANG]]
    with Place(*script) as place, asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(call(place), 2 * PATIENCE_S))
    flags = [event.flags for event in place.world.told]
    assert flags == ["-", "UPE", "UPE", "-", "-", "DC"]


def test_content_outlives_its_response():
    """People write `(await session.get(url)).content`: nothing is closed under it."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            content = (await session.get("http://orders/")).content
            gc.collect()
            go.event.set()
            assert isinstance(content, aiohttp.StreamReader)
            assert await content.read() == b"begun" + b"x" * 95
            await session.get("http://orders/")
            assert place.upstream.connections == 1  # it was given back

    go = Wait()
    run(Place([BEGUN[0], go, b"x" * 95], OK), call)


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_content_that_is_forgotten_too_is_given_back():
    """Then nobody can read it any more."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            content = (await session.get("http://orders/")).content
            assert await content.readany() == b"begun"
            del content
            gc.collect()
            await place.left()
            assert place.world.said[-1] == CLOSED

    run(Place(BEGUN), call)


def test_content_goes_on_as_the_body_of_another_request():
    """As a proxy does it; aiohttp looks for its own class of readers there."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            response = await session.get("http://orders/")
            other = await session.post("http://orders/", data=response.content)
            assert await other.read() == b"ok"
            assert place.upstream.requests[-1].body == b"all of it"

    run(Place([chunked(b"all ", b"of it")], OK), call)


def test_every_way_of_reading_is_watched():
    """Whichever one meets the end of a body that was cut."""
    ways = [
        lambda content: content.read(),
        lambda content: content.readexactly(100),
        lambda content: content.readuntil(b"\0"),
        lambda content: content.wait_eof(),
        _lines,
        _chunks,
    ]

    async def call(place: Place) -> None:
        async with place.session() as session:
            for way in ways:
                response = await session.get("http://orders/")
                with pytest.raises(aiohttp.ClientPayloadError):
                    await way(response.content)
        assert [event.flags for event in place.world.told] == ["UPE"] * len(ways)

    run(Place([BEGUN[0], CLOSE]), call)


async def _lines(content: aiohttp.StreamReader) -> None:
    async for _ in content:
        pass


async def _chunks(content: aiohttp.StreamReader) -> None:
    async for _ in content.iter_chunked(3):
        pass


# --- the session's own ------------------------------------------------------------------------


def test_the_settings_of_session_and_call_hold():
    """They are the session's to carry out, attempt by attempt."""
    packed = gzip.compress(b"unpacked")
    answer = [http(200, packed, "Content-Encoding: gzip", "X-Long: " + "x" * 200)]

    async def call(place: Place) -> None:
        async with place.session(raise_for_status=True) as session:
            response = await session.get("http://orders/")
            assert await response.read() == b"unpacked"
            response = await session.get("http://orders/", auto_decompress=False)
            assert await response.read() == packed
            response = await session.get("http://orders/", max_field_size=100)
            assert (response.status, response.meshware.flags) == (502, "UPE")

    async def refused(place: Place) -> None:
        async with place.session(raise_for_status=True) as session:
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                await session.get("http://orders/")
            assert (caught.value.status, str(caught.value.request_info.url)) == (
                503,
                "http://orders/",
            )

    with pytest.raises(aiohttp.ClientResponseError, match="502"):
        run(Place(answer), call)
    run(Place(OK, rule="fault: {abort: {httpStatus: 503, percentage: {value: 100}}}"), refused)


def test_what_the_session_says_of_a_request_is_what_the_caller_asked_for():
    """Not where it was dialled, nor what policy made of it."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            response = await session.get("http://orders/api/x?y#z")
            assert str(response.url) == "http://orders/api/x?y"
            assert str(response.real_url) == "http://orders/api/x?y#z"
            assert str(response.request_info.real_url) == "http://orders/api/x?y#z"
            assert place.upstream.requests[0].target == "/v2/x?y"

    run(Place(OK, rule="match: [{uri: {prefix: /api/}}], rewrite: {uri: /v2/}"), call)


def test_middlewares_behind_it_see_each_attempt():
    """Those before it see the call."""
    seen = []

    def noting(name: str):
        async def middleware(request, handler):
            response = await handler(request)
            seen.append((name, response.status))
            return response

        return middleware

    async def call(place: Place) -> None:
        middlewares = (noting("call"), MeshClientMiddleware(place.world), noting("attempt"))
        async with aiohttp.ClientSession(middlewares=middlewares) as session:
            assert (await session.get("http://orders/")).status == 200

    run(Place(FAILS, OK), call)
    assert seen == [("attempt", 500), ("attempt", 200), ("call", 200)]


def test_one_middleware_serves_many_sessions_one_loop_after_the_other():
    """It keeps nothing of a session."""
    with Place(OK) as place:
        middleware = MeshClientMiddleware(place.world)

        async def call() -> str:
            async with aiohttp.ClientSession(middlewares=(middleware,)) as session:
                return await (await session.get("http://orders/")).text()

        assert [asyncio.run(call()) for _ in range(3)] == ["ok"] * 3


def test_expect_100_is_asked_anew_by_each_attempt():
    """And a body that waits for it is sent once it is allowed."""
    go = b"HTTP/1.1 100 Continue\r\n\r\n"

    async def call(place: Place) -> None:
        async with place.session() as session:
            response = await session.put("http://orders/", data=b"big", expect100=True)
            assert (response.status, response.meshware.attempts) == (200, 2)
            assert [request["expect"] for request in place.upstream.requests] == [
                "100-continue"
            ] * 2

    place = Place([go, *FAILS, CLOSE], [go, *OK])
    place.upstream.answers_early = True
    run(place, call)


def test_a_web_socket_is_routed_and_then_its_own():
    """Policy decides where it goes; the call ends with the handshake."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        hosts.append(request.headers["host"])
        async for message in socket:
            await socket.send_str(message.data.upper())
        return socket

    async def call() -> None:
        app = web.Application()
        app.router.add_get("/talk", echo)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            world = World(service("orders", port))
            async with (
                aiohttp.ClientSession(middlewares=(MeshClientMiddleware(world),)) as session,
                session.ws_connect("ws://orders/talk") as socket,
            ):
                await socket.send_str("hello")
                assert await socket.receive_str() == "HELLO"
                assert world.nothing_in_flight()
            assert (world.last.status, world.last.complete) == (101, True)
        finally:
            await runner.cleanup()

    hosts: list[str] = []
    asyncio.run(asyncio.wait_for(call(), PATIENCE_S))
    assert hosts == ["orders"]


def test_one_task_of_many_is_cancelled_alone():
    """The others' calls, over the same connector, go on."""

    async def call(place: Place) -> None:
        async with place.session() as session:
            tasks = [asyncio.create_task(session.get("http://orders/")) for _ in range(3)]
            await place.seen(3)
            tasks[0].cancel()
            go.set()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            assert isinstance(done[0], asyncio.CancelledError)
            assert [await response.text() for response in done[1:]] == ["ok", "ok"]

    go = threading.Event()
    run(Place([Wait(go), http()]), call)
