"""Wait for the next thing to do: a time, an edit noticed by another thread, or a signal."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from types import FrameType

__all__ = ["Wake", "stopped_by_signals"]


class Wake:
    """Wakes the daemon's loop, from any thread and from signal handlers.

    A pipe and not a lock: a signal handler that met its own thread inside a lock would wait for
    ever.
    """

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._is_stopped = False
        self._is_touched = False

    def __enter__(self) -> Wake:
        return self

    def __exit__(self, *_: object) -> None:
        # Signals are restored and watchers joined before this.
        os.close(self._read)
        os.close(self._write)

    def wake(self) -> None:
        """End the present or next `wait`."""
        with contextlib.suppress(BlockingIOError):  # full: it will wake up all the same
            os.write(self._write, b"!")

    def touch(self) -> None:
        """Note that a policy file was written, and wake up."""
        self._is_touched = True
        self.wake()

    def stop(self) -> None:
        """Ask the loop to end."""
        self._is_stopped = True
        self.wake()

    def is_stopped(self) -> bool:
        """Say whether the loop was asked to end."""
        return self._is_stopped

    def wait(self, timeout_s: float) -> bool:
        """Wait until woken. Returns whether it was, and not just time that passed."""
        ready, _, _ = select.select([self._read], [], [], max(0.0, timeout_s))
        if ready:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._read, 4096):
                    pass
        return bool(ready)

    def take_touch(self) -> bool:
        """Say whether a policy file was written since this was asked last."""
        touched, self._is_touched = self._is_touched, False
        return touched


@contextlib.contextmanager
def stopped_by_signals(wake: Wake) -> Iterator[None]:
    """Let SIGTERM and SIGINT end the loop in good order. Main thread only."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        wake.stop()

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, stop) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
