"""Waiting and time limits for tasks, under asyncio (uvloop too) and trio."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

from meshware.call import Wait

__all__ = ["sleep", "trio_of_this_task", "until_woken", "within"]

T = TypeVar("T")


def trio_of_this_task() -> Any:
    """Return the trio module when this task is one of trio's, else None."""
    trio = sys.modules.get("trio")
    if trio is not None:
        try:
            trio.lowlevel.current_task()
        except RuntimeError:
            return None
    return trio


async def sleep(seconds: float) -> None:
    """Wait, in seconds."""
    trio = trio_of_this_task()
    await (asyncio if trio is None else trio).sleep(seconds)


async def within(seconds: float | None, awaited: Awaitable[T]) -> T:
    """Await something for at most so many seconds; None: without a limit.

    Raises:
        TimeoutError: the time is up; what was awaited has been cancelled.
    """
    if seconds is None:
        return await awaited
    trio = trio_of_this_task()
    if trio is None:
        async with asyncio.timeout(seconds):
            return await awaited
    with trio.move_on_after(max(0.0, seconds)):
        return await awaited
    raise TimeoutError


async def until_woken(action: Wait) -> None:
    """Wait until woken, or for the time at most."""
    trio = trio_of_this_task()
    if trio is not None:
        await _until_woken_in_trio(trio, action)
        return
    loop = asyncio.get_running_loop()
    woken = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            loop.call_soon_threadsafe(wake)

    action.waiter.on_wake(notify)
    await asyncio.wait([woken], timeout=action.timeout_s)
    woken.cancel()


async def _until_woken_in_trio(trio: Any, action: Wait) -> None:
    woken = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def notify() -> None:
        with contextlib.suppress(trio.RunFinishedError):
            token.run_sync_soon(woken.set)

    action.waiter.on_wake(notify)
    timeout_s = float("inf") if action.timeout_s is None else max(0.0, action.timeout_s)
    with trio.move_on_after(timeout_s):
        await woken.wait()
