"""What this worker reports of itself in numbers: what it has counted, and what holds now."""

from __future__ import annotations

from collections.abc import Callable

from meshware.telemetry.counting import Counting
from meshware.telemetry.report import Gauges

__all__ = ["WorkerCounts"]


class WorkerCounts:
    """Makes the file of what was counted, when it says something new.

    Args:
        counting: of this process.
        gauges: returns what holds now.
    """

    def __init__(self, counting: Counting, gauges: Callable[[], Gauges]) -> None:
        self._counting = counting
        self._gauges = gauges
        self._made: tuple[int, Gauges, bytes] | None = None

    def __call__(self) -> bytes:
        """Return the file; the very same object as before where nothing has changed."""
        self._counting.fold()
        gauges, folded = self._gauges(), self._counting.folded
        if self._made is None or self._made[:2] != (folded, gauges):
            folded, data = self._counting.encoded(gauges)
            self._made = (folded, gauges, data)
        return self._made[2]

    def hand_over(self) -> None:
        """Count from nothing: the file that was made last is the last one of its name."""
        self._counting.hand_over()
