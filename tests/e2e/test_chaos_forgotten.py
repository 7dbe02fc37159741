"""Responses that are dropped unread, half read or closed early, again and again.

An app that forgets to close a response gets a `ResourceWarning`, as without the mesh; what the call
held comes back all the same, and nobody waits for ever.
"""

from __future__ import annotations

import gc
import logging
import queue
import threading
from contextlib import ExitStack, suppress

import pytest
from chaos import PATIENCE_S, Held, call, echoes, in_use, orders, wait_for_nothing
from client_drivers import DRIVERS
from client_world import every_driver, route

from meshware.testing import TestMesh

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # rightly given, as without the mesh
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

TIMES = 100
NEVER_ENDING = "/0/3/60000"
FOR_THREADS = [driver for driver in DRIVERS if driver.backend is None]
RULE = route("timeout: 60s")


@every_driver
def test_responses_that_are_dropped_or_closed_early_leave_nothing(driver, monkeypatch):
    """No lease, no connection, no thread, and no object of ours; the client is as good as new."""
    # They tell of generators that were not closed, with a traceback that keeps them alive.
    for name in ("trio.async_generator_errors", "asyncio"):
        monkeypatch.setattr(logging.getLogger(name), "disabled", True)
    with echoes(1) as (place,), ExitStack() as stack:
        mesh = TestMesh([orders(place), RULE])
        client = stack.enter_context(driver.client(mesh))
        call(client, "warm")
        before = Held.now()
        for number in range(TIMES):
            is_read, is_closed = bool(number & 1), bool(number & 2)
            response = client.open("GET", f"http://orders{NEVER_ENDING}")
            if is_read:
                assert response.some()
            if is_closed:
                response.close()
            if number & 4:
                response.me = response.raw.me = response
            del response
        gc.collect()

        def left() -> str:
            assert call(client, "after").is_right  # which closes what nobody will
            mesh.events.clear()
            return in_use(mesh) or Held.now().more_than(before)

        wait_for_nothing(left)


def locks_of(driver) -> list[threading.Lock]:
    """The locks of the library's own pools of connections."""
    found = []
    for thing in gc.get_objects():
        kind = type(thing)
        if kind.__name__ == "ConnectionPool" and kind.__module__.startswith("httpcore"):
            found.append(thing._optional_thread_lock._lock)
        elif issubclass(kind, queue.LifoQueue) and driver.name in ("requests", "urllib3"):
            found.append(thing.mutex)
    assert found, "the library has no pools, or other ones than it had"
    return found


def release(lock: threading.Lock) -> None:
    """Release a lock, unless another thread has done so to end a test that fails."""
    with suppress(RuntimeError):
        lock.release()


@pytest.mark.parametrize("driver", FOR_THREADS, ids=[driver.name for driver in FOR_THREADS])
@pytest.mark.parametrize("is_begun", [False, True], ids=["unread", "begun"])
def test_a_forgotten_response_is_collected_whoever_holds_the_librarys_locks(driver, is_begun):
    """Garbage is collected anywhere, also on a thread that has begun a call just then."""
    with echoes(1) as (place,), driver.client(mesh := TestMesh([orders(place), RULE])) as client:
        collected = threading.Event()

        def forget() -> None:
            response = client.open("GET", f"http://orders{NEVER_ENDING}")
            if is_begun:
                assert response.some()
            response.me = response.raw.me = response

        def collect() -> None:
            with ExitStack() as held:
                for lock in locks:
                    lock.acquire()
                    held.callback(release, lock)
                gc.collect()
                collected.set()

        call(client, "warm")
        locks = locks_of(driver)
        gc.disable()  # for it to be collected there, and not before
        try:
            forget()
            thread = threading.Thread(target=collect, daemon=True)
            thread.start()
            is_stuck = not collected.wait(PATIENCE_S / 4)
            if is_stuck:
                for lock in locks:
                    release(lock)
            thread.join()
            assert not is_stuck, "it waits for a lock that it holds"
        finally:
            gc.enable()
        assert call(client, "after").is_right
        wait_for_nothing(lambda: in_use(mesh))
