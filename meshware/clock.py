"""Time, as the decisions are handed it: one protocol, and the real clock that `Mesh` wires in."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["Clock", "SystemClock"]


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

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return datetime.now(UTC)
