"""End spans in the background: whoever exports them may block, and no call waits for that.

`Span.end` of OpenTelemetry calls the app's own span processors on the thread of the caller; with a
`SimpleSpanProcessor` that is an HTTP request.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from contextvars import Context
from queue import Empty, SimpleQueue

__all__ = ["MOST_WAITING", "Background"]

MOST_WAITING = 2048  # as many as OpenTelemetry's own queue holds
_LONGEST_AT_EXIT_S = 2.0


class Background:
    """Calls functions one after the other on a thread of its own, started when first needed.

    What is too much is dropped and counted. Putting takes no lock of ours, and `SimpleQueue.put`
    is reentrant, so a finalizer may do so too. A child process starts with an empty queue.

    Attributes:
        lost: how many were dropped or failed.
    """

    def __init__(self, most: int = MOST_WAITING) -> None:
        self.lost = 0
        self._most = most
        self._queue: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._pid = 0
        self._is_busy = False

    def put(self, work: Callable[[], None]) -> None:
        """Have a function called soon; it is dropped where too many wait."""
        if self._pid != os.getpid():
            self._start()
        if self._queue.qsize() >= self._most:
            self.lost += 1
            return
        self._queue.put(work)

    def flush(self, timeout_s: float = _LONGEST_AT_EXIT_S) -> None:
        """Wait until nothing waits any more, or for the time at the most."""
        until = time.monotonic() + timeout_s
        while self._pid == os.getpid() and (self._is_busy or not self._queue.empty()):
            if time.monotonic() >= until:
                return
            time.sleep(0.005)

    def _start(self) -> None:
        is_first = self._pid == 0
        self._pid = os.getpid()
        self._queue = SimpleQueue()  # of another process, its lock may be held for ever
        self._is_busy = False
        if is_first:
            atexit.register(self.flush)
        thread = threading.Thread(
            target=self._run, args=(self._queue,), name="meshware-spans", daemon=True
        )
        # In no call: with `meshware.install()` a thread carries the one that has started it.
        Context().run(thread.start)

    def _run(self, queue: SimpleQueue[Callable[[], None]]) -> None:
        while True:
            try:
                work = queue.get(timeout=60)
            except Empty:
                continue
            self._is_busy = True
            try:
                work()
            except Exception:
                self.lost += 1  # an exporter's failure; calls must not suffer from it, nor others
            finally:
                self._is_busy = False
