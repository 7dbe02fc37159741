"""Time, as the decisions are handed it: one protocol, and the real clock that `Mesh` wires in."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock", "unix_time"]


class Clock(Protocol):
    """What a decision may ask about time."""

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; for durations and deadlines."""
        ...

    def now(self) -> datetime:
        """Return the aware UTC time; for certificates and tokens."""
        ...


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    monotonic = staticmethod(time.monotonic)
    unix = staticmethod(time.time)

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return datetime.now(UTC)


def unix_time(clock: Clock) -> Callable[[], float]:
    """Return what returns a clock's time in unix seconds, as calls are asked about it."""
    if type(clock) is SystemClock:  # one of its kind may tell another time
        return clock.unix  # the same without a `datetime`, which takes ten times as long
    return lambda: clock.now().timestamp()
