"""End spans in the background: whoever exports them may block, and no call waits for that.

`Span.end` of OpenTelemetry calls the app's own span processors on the thread of the caller; with a
`SimpleSpanProcessor` that is an HTTP request.
"""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from contextvars import Context
from queue import SimpleQueue

__all__ = ["MOST_WAITING", "Background"]

MOST_WAITING = 2048  # as many as OpenTelemetry's own queue holds
_LONGEST_AT_EXIT_S = 2.0

Work = Callable[[], None]


class Background:
    """Calls functions one after the other on a thread of its own.

    What is too much is dropped and counted. Putting takes no lock of ours, and `SimpleQueue.put`
    is reentrant, so a finalizer may do so too; starting takes one, so it is not for finalizers.

    Attributes:
        lost: how many were dropped or failed.
    """

    def __init__(self, most: int = MOST_WAITING, name: str = "meshware-spans") -> None:
        self.lost = 0
        self._name = name
        self._most = most
        self._is_at_exit = False
        self.renew()

    def renew(self) -> None:
        """Begin with nothing, in a child process: whatever waits is the parent's to do."""
        self._queue: SimpleQueue[Work] = SimpleQueue()  # a copied one may be locked for ever
        self._starting = threading.Lock()
        self._is_started = False

    def start(self, *, waits: bool = True) -> None:
        """Start the thread, unless there is one.

        Args:
            waits: for another thread that is starting it; a finalizer must not.
        """
        if not self._is_started and self._starting.acquire(blocking=waits):
            try:
                self._start()
            finally:
                self._starting.release()

    def put(self, work: Work) -> None:
        """Have a function called soon; it is dropped where too many wait."""
        if self._queue.qsize() >= self._most:
            self.lost += 1
            return
        self._queue.put(work)

    def flush(self, timeout_s: float = _LONGEST_AT_EXIT_S) -> None:
        """Wait until all that was put by now is done, or for the time at the most."""
        if self._is_started:
            is_done = threading.Event()
            self._queue.put(is_done.set)
            is_done.wait(timeout_s)

    def _start(self) -> None:
        if self._is_started:
            return  # by another thread, meanwhile
        if not self._is_at_exit:
            self._is_at_exit = True
            atexit.register(self.flush)
        thread = threading.Thread(
            target=self._run, args=(self._queue,), name=self._name, daemon=True
        )
        # In no call: with `meshware.install()` a thread carries the one that has started it.
        Context().run(thread.start)
        self._is_started = True

    def _run(self, queue: SimpleQueue[Work]) -> None:
        while True:
            work = queue.get()
            try:
                work()
            except Exception:
                self.lost += 1  # an exporter's failure; calls must not suffer from it, nor others
