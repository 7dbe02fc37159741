"""Ask, or read, while somebody watches whether that is still wanted, or a clock runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from meshware.clients.tasks import trio_of_this_task, within

__all__ = ["unless", "within"]

T = TypeVar("T")


async def unless(is_over: Callable[[], Awaitable[bool]], asking: Awaitable[T]) -> T | None:
    """Return what is awaited; None where it is over before.

    Args:
        is_over: waits until it is, and returns True; or returns False: it will not be known.
        asking: is cancelled when it is over.
    """
    trio = trio_of_this_task()
    if trio is not None:
        return await _in_trio(trio, is_over, asking)
    loop = asyncio.get_running_loop()
    watch = asyncio.ensure_future(is_over())
    try:
        # Asked in this task, which a time-out that is set when it is over interrupts: a second task
        # would cost more than the question.
        async with asyncio.timeout(None) as limit:

            def end(watched: asyncio.Future[bool]) -> None:
                if not watched.cancelled() and watched.exception() is None and watched.result():
                    limit.reschedule(loop.time())

            watch.add_done_callback(end)
            try:
                return await asking
            finally:
                watch.remove_done_callback(end)
    except TimeoutError:
        if limit.expired():
            return None
        raise
    finally:
        if not watch.done():
            watch.cancel()
            await asyncio.wait((watch,))
        if not watch.cancelled():
            watch.exception()  # looked at, so that nobody is told of it


async def _in_trio(
    trio: Any, is_over: Callable[[], Awaitable[bool]], asking: Awaitable[T]
) -> T | None:
    result: T | None = None
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            if await is_over():
                nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        result = await asking
        nursery.cancel_scope.cancel()
    return result
