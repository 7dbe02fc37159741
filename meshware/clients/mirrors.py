"""Copies of requests on their way: in the background, bounded, and nobody's concern.

A copy that would be one too many is dropped, and so is one that fails: neither the caller nor its
call ever hears of it. Source: Istio, `mirror`: "fire and forget".
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import queue
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from meshware.clients.tasks import trio_of_this_task

__all__ = ["MOST_MIRRORS", "MirrorTasks", "MirrorThreads"]

MOST_MIRRORS = 64
"""Copies under way or waiting to be, for each transport."""

_THREADS = 8
_IDLE_S = 5.0  # a thread without work ends after this time

Work = Callable[[], None]
TaskWork = Callable[[], Coroutine[Any, Any, None]]


class MirrorThreads:
    """Sends copies in a few threads, which come and go with the work. Safe in many threads.

    The threads are daemons: a copy never keeps a process from ending.

    Attributes:
        dropped: copies that were one too many.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._start()

    def _start(self) -> None:
        self._of_process = os.getpid()
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._count = 0  # under way or waiting
        self._threads = 0

    def submit(self, work: Work) -> bool:
        """Have a copy sent; False: there are too many already.

        Args:
            work: sends it, and raises nothing.
        """
        if self._of_process != os.getpid():  # after a fork; the threads stayed behind
            self._start()
        with self._lock:
            if self._count >= MOST_MIRRORS:
                self.dropped += 1
                return False
            self._count += 1
            is_new = self._threads < min(self._count, _THREADS)
            self._threads += is_new
        self._waiting.put(work)
        if is_new:
            try:
                threading.Thread(target=self._run, name="meshware-mirror", daemon=True).start()
            except RuntimeError:  # no more threads, or the interpreter ends
                with self._lock:
                    self._threads -= 1
        return True

    def _run(self) -> None:
        while True:
            try:
                work = self._waiting.get(timeout=_IDLE_S)
            except queue.Empty:
                with self._lock:
                    if self._waiting.empty():
                        self._threads -= 1
                        return
                continue
            try:
                contextvars.Context().run(work)
            finally:
                with self._lock:
                    self._count -= 1


class MirrorTasks:
    """Sends copies in tasks of the running loop, asyncio's or trio's.

    Attributes:
        dropped: copies that were one too many.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, work: TaskWork) -> bool:
        """Have a copy sent; False: there are too many already.

        Args:
            work: makes the coroutine that sends it, and raises nothing but cancellation.
        """
        if self._count >= MOST_MIRRORS:
            self.dropped += 1
            return False
        self._count += 1
        trio = trio_of_this_task()
        if trio is not None:
            trio.lowlevel.spawn_system_task(self._counted, work)
            return True
        task = asyncio.get_running_loop().create_task(
            work(), name="meshware-mirror", context=contextvars.Context()
        )
        self._tasks.add(task)  # the loop itself holds tasks weakly
        task.add_done_callback(self._ended)
        return True

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._count -= 1

    async def _counted(self, work: TaskWork) -> None:
        try:
            await work()
        finally:
            self._count -= 1
