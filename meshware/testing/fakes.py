"""Time and chance that a test moves by hand."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random

__all__ = ["FakeClock", "ScriptedRandom"]


class FakeClock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime | None = None) -> None:
        self._monotonic = 1_000.0
        self._now = now or datetime(2030, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start."""
        return self._monotonic

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Move both clocks forward."""
        self._monotonic += seconds
        self._now += timedelta(seconds=seconds)


class ScriptedRandom(Random):
    """Chance that says `values` in turn, then goes on as a seeded generator."""

    def __init__(self, values: Iterable[float] = (), seed: int = 0) -> None:
        super().__init__(seed)
        self._values = list(values)

    def random(self) -> float:
        """Return the next scripted value, 0 <= value < 1."""
        return self._values.pop(0) if self._values else super().random()
