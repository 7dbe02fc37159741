"""How late what is due gets to run: of a loop that is seen running, else of our own thread."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref

import pytest

from meshware.runtime.lag import Lag, Lateness
from meshware.testing import FakeClock


@pytest.fixture
def clock():
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
def lag(clock):
    """A lag that nothing was measured of."""
    return Lag(clock.monotonic)


def test_nothing_is_told_before_anything_was_measured(lag):
    assert lag.look() is None


def test_without_a_loop_it_is_how_late_our_thread_woke(lag, clock):
    lag.woke(0.0042)
    lag.woke(-1.0)  # clocks are not that exact
    assert lag.look() == Lateness(0.004, "thread")


def test_the_worst_is_told_and_forgotten_after_ten_seconds(lag, clock):
    lag.woke(0.3)
    clock.advance(9)
    lag.woke(0.001)
    assert lag.look() == Lateness(0.3, "thread")
    clock.advance(2)
    assert lag.look() == Lateness(0.001, "thread")
    clock.advance(20)
    assert lag.look() is None


def test_a_loop_is_asked_and_what_it_takes_is_its_lag(lag, clock):
    async def app():
        lag.meet_loop()
        assert lag.look() is None
        clock.advance(0.25)  # the loop does something else meanwhile
        await asyncio.sleep(0)
        return lag.look()

    assert asyncio.run(app()) == Lateness(0.25, "loop")


def test_while_a_loop_is_blocked_its_lag_grows(lag, clock):
    async def app():
        lag.meet_loop()
        lag.look()
        seen = []
        for _ in range(3):
            clock.advance(1)
            seen.append(lag.look())
        return seen

    assert asyncio.run(app()) == [Lateness(s, "loop") for s in (1, 2, 3)]


def test_one_callback_waits_at_a_time(lag, clock):
    """However long a loop is blocked: what waits for it is bounded."""

    async def app():
        lag.meet_loop()
        loop = asyncio.get_running_loop()
        asked = []
        plain, loop.call_soon_threadsafe = (
            loop.call_soon_threadsafe,
            lambda *words, **more: (asked.append(words), plain(*words, **more))[1],
        )
        for _ in range(50):
            lag.look()
            clock.advance(1)
        return len(asked)

    assert asyncio.run(app()) == 1


def test_it_is_asked_once_a_second_however_often_somebody_looks(lag, clock):
    async def app():
        lag.meet_loop()
        for _ in range(10):
            lag.look()
            clock.advance(0.1)
            await asyncio.sleep(0)
        return len(lag._of_loop)

    assert asyncio.run(app()) == 2


def test_a_loop_that_somebody_stopped_has_no_lag(lag, clock):
    """It does not run, so nothing waits for it; nor is it run by us."""
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_meet(lag))
    clock.advance(60)
    assert [lag.look(), lag.look()] == [None, None]
    assert lag.has_loop
    loop.close()
    assert not lag.has_loop


def test_a_closed_loop_makes_room_for_the_next(lag, clock):
    asyncio.run(_meet(lag))
    assert not lag.has_loop
    lag.woke(0.002)
    assert lag.look() == Lateness(0.002, "thread")
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_meet(lag))
    assert lag.has_loop
    loop.close()


def test_nothing_keeps_a_loop_alive(lag):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_meet(lag))
    loop.close()
    seen = weakref.ref(loop)
    del loop
    gc.collect()
    assert seen() is None
    assert not lag.has_loop


def test_where_no_loop_runs_none_is_met(lag):
    lag.meet_loop()
    assert not lag.has_loop


def test_a_real_loop_that_is_blocked_is_seen_from_another_thread():
    """No clock is moved here: a callback holds the loop until the look has seen it."""
    lag = Lag(time.monotonic)
    seen = threading.Event()

    def watch():
        while not seen.is_set():
            lateness = lag.look()
            if lateness is not None and lateness.lag_s >= 0.05:
                seen.set()
            time.sleep(0.005)

    async def app():
        lag.meet_loop()
        thread = threading.Thread(target=watch)
        thread.start()
        assert await asyncio.to_thread(lambda: True)
        assert seen.wait(20)  # blocks the loop
        thread.join()

    asyncio.run(app())


async def _meet(lag):
    lag.meet_loop()
    lag.look()
