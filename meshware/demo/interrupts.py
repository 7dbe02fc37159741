"""Ctrl-C, SIGTERM and a closed terminal: all end the demo alike, and never in mid-work.

A process that is being started when the signal comes would be nobody's: it has a session of its
own, and whoever started it does not know it yet. So such work holds interruptions back.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """Turns the signals that end a program into KeyboardInterrupt. A context manager."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}
        self._held = 0
        self._has_come = False

    def __enter__(self) -> Interrupts:
        for number in _SIGNALS:
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # `nohup` has asked to go on
                self._before[number] = before
                signal.signal(number, self._interrupt)
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold an interruption back until the work within is done."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if self._has_come and not self._held:
            self._has_come = False
            raise KeyboardInterrupt

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._held:
            self._has_come = True
        else:
            raise KeyboardInterrupt
