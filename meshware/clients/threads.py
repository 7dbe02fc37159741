"""Waiting for threads: until woken, which may happen anywhere, in garbage collection too."""

from __future__ import annotations

import contextlib
import threading

from meshware.call import Wait

__all__ = ["until_woken"]


def until_woken(action: Wait) -> None:
    """Wait until woken, or for the time at most."""
    # A bare lock: `threading.Event` holds a lock of its own while it is set, on which the thread
    # that waits could meet itself when garbage collection wakes it.
    gate = threading.Lock()
    gate.acquire()

    def notify() -> None:
        with contextlib.suppress(RuntimeError):  # open already
            gate.release()

    action.waiter.on_wake(notify)
    timeout_s = -1 if action.timeout_s is None else max(0.0, action.timeout_s)
    gate.acquire(timeout=min(timeout_s, threading.TIMEOUT_MAX))
