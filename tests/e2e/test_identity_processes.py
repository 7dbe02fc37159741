"""The identity of a process among forks, threads and event loops: each has TLS state of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import aiohttp
import httpx
import httpx2
import pytest
from client_drivers import DRIVERS
from client_world import World, in_use, wait_until
from mutual_upstreams import ORDERS, WORKLOAD, mutual, service_of

from meshware.clients.aiohttp import MeshClientMiddleware
from meshware.clients.httpx import AsyncMeshTransport
from meshware.errors import IdentityError

THREADS = 32
URL = "http://orders/"
EXPECTED = frozenset([ORDERS])


@contextmanager
def world_and_upstream(tmp_path):
    """A mesh with an identity, and `orders`, which answers in its own name."""
    world = World()
    with mutual(tmp_path, world, world.issue(ORDERS)) as orders:
        world.apply("---".join((WORKLOAD, service_of("orders", (orders.port, "orders")))))
        yield world, orders


def status(client) -> int:
    """Call, and return the status."""
    return client.call("GET", URL)[0].status


def in_child(work) -> int:
    """Fork, do work in the child, and return its exit code; 1 for anything that is raised."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = work()
        finally:
            os._exit(code)
    ended: list[int] = []

    def is_over() -> bool:
        pid, how = os.waitpid(child, os.WNOHANG)
        if pid:
            ended.append(os.waitstatus_to_exitcode(how))
        return bool(ended)

    try:
        wait_until(is_over)
    finally:
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return ended[0]


@pytest.mark.parametrize("driver", DRIVERS, ids=[driver.name for driver in DRIVERS])
def test_a_fork_after_use_has_tls_of_its_own(driver, tmp_path):
    """The child takes no connection and no context along, and leaves the parent's alone."""
    with world_and_upstream(tmp_path) as (world, orders), driver.client(world) as client:
        assert [status(client) for _ in range(2)] == [200, 200]
        assert len(orders.handshakes) == 1
        parents = world.identity.client_context(EXPECTED)

        def child() -> int:
            if world.identity.client_context(EXPECTED) is parents:
                return 2
            with ExitStack() as stack:
                # An async client is of its loop, which runs in a thread that is not here.
                mine = stack.enter_context(driver.client(world)) if driver.backend else client
                return 0 if [status(mine) for _ in range(2)] == [200, 200] else 3

        assert in_child(child) == 0
        assert len(orders.handshakes) == 2, "the child made one connection, and kept it"
        assert world.identity.client_context(EXPECTED) is parents
        assert status(client) == 200
        assert len(orders.handshakes) == 2, "the parent's own is whole"


def test_a_fork_in_the_midst_of_calls_waits_for_no_lock(tmp_path):
    """Threads of the parent may hold any lock as the child is made."""
    with world_and_upstream(tmp_path) as (world, _), ExitStack() as stack:
        driver = next(each for each in DRIVERS if each.name == "urllib3")
        client = stack.enter_context(driver.client(world))
        is_over = threading.Event()

        def work() -> set[int]:
            seen = set()
            while not is_over.is_set():
                world._own = None  # another leaf for each call, so that contexts are always made
                seen.add(status(client))
            return seen

        with ThreadPoolExecutor(4) as pool:
            jobs = [pool.submit(work) for _ in range(4)]
            try:
                codes = [in_child(lambda: 0 if status(client) == 200 else 3) for _ in range(10)]
            finally:
                is_over.set()
            assert [job.result() for job in jobs] == [{200}] * 4
        assert codes == [0] * 10


@pytest.mark.parametrize("driver", DRIVERS, ids=[driver.name for driver in DRIVERS])
def test_threads_share_a_client_while_its_identity_is_renewed(driver, tmp_path):
    """Nobody fails, nobody waits for ever, and the connections of old identities end."""
    with world_and_upstream(tmp_path) as (world, orders), driver.client(world) as client:
        started = threading.Barrier(THREADS + 1)
        is_over = threading.Event()

        def work(_: int) -> tuple[set[int], int]:
            started.wait()
            seen, count = set(), 0
            while not is_over.is_set() or count < 2:
                seen.add(status(client))
                count += 1
            return seen, count

        with ThreadPoolExecutor(THREADS) as pool:
            jobs = [pool.submit(work, n) for n in range(THREADS)]
            try:
                started.wait()
                for _ in range(8):
                    before = len(serials(orders))
                    world._own = None
                    wait_until(lambda: len(serials(orders)) > before)  # noqa: B023 - runs now
            finally:
                is_over.set()
            results = [job.result() for job in jobs]
        assert [seen for seen, _ in results] == [{200}] * THREADS
        wait_until(lambda: in_use(world) == "")
        assert status(client) == 200
        wait_until(lambda: status(client) == 200 and len(orders._live) <= THREADS)


def serials(upstream) -> set[str]:
    """The serial numbers of the leaves that clients have shown."""
    return {each.peer["serialNumber"] for each in list(upstream.handshakes)}


async def _by_httpx(library, transport, turn) -> set[int]:
    async with library.AsyncClient(transport=transport) as client:
        return await _calls(lambda: client.get(URL), turn)


async def _calls(get, turn) -> set[int]:
    seen = set()
    for _ in range(10):
        response = await get()
        seen.add(getattr(response, "status_code", None) or response.status)
        turn()
    return seen


async def _by_aiohttp(middleware, turn) -> set[int]:
    async with aiohttp.ClientSession(middlewares=(middleware,)) as session:

        async def get():
            async with session.get(URL) as response:
                await response.read()
                return response

        return await _calls(get, turn)


def _in_two_loops(first, second) -> list[set[int]]:
    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(asyncio.run, each) for each in (first, second)]
        return [job.result() for job in jobs]


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
def test_two_loops_share_an_identity_over_httpx(library, tmp_path):
    """Each has its own client, and whichever renews, both go on."""
    with world_and_upstream(tmp_path) as (world, orders):

        def renew() -> None:
            world._own = None

        one, other = AsyncMeshTransport(world), AsyncMeshTransport(world)
        calls = _by_httpx(library, one, renew), _by_httpx(library, other, renew)
        assert _in_two_loops(*calls) == [{200}, {200}]
        assert all(handshake.failure is None for handshake in orders.handshakes)
        assert in_use(world) == ""


def test_two_loops_share_a_middleware_over_aiohttp(tmp_path):
    """Connections are of their loops, and those of old identities are closed in them."""
    with world_and_upstream(tmp_path) as (world, orders):

        def renew() -> None:
            world._own = None

        shared = MeshClientMiddleware(world)
        calls = _by_aiohttp(shared, renew), _by_aiohttp(shared, renew)
        assert _in_two_loops(*calls) == [{200}, {200}]
        assert all(handshake.failure is None for handshake in orders.handshakes)
        assert in_use(world) == ""


def test_contexts_are_one_for_each_identity_and_expectation(tmp_path):
    """So that threads share pools, and no two identities do."""
    with world_and_upstream(tmp_path) as (world, _):
        assert world.identity.svid() is not None
        with ThreadPoolExecutor(THREADS) as pool:
            made = set(pool.map(world.identity.client_context, [EXPECTED] * (4 * THREADS)))
        [context] = made
        other = world.identity.client_context(frozenset([ORDERS, "spiffe://cluster.local/x"]))
        world._own = None
        assert world.identity.client_context(EXPECTED) not in (context, other)
        with pytest.raises(IdentityError, match="nobody is expected"):
            world.identity.client_context(frozenset())
