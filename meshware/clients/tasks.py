"""Waiting and time limits for tasks, under asyncio (uvloop too) and trio."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any, TypeVar

__all__ = ["sleep", "trio_of_this_task", "within"]

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
