"""What telemetry has lost, as a counter: calls went on, and whoever reads numbers should know."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshware.telemetry.series import CounterKey

__all__ = ["LOST", "Losses"]

LOST = "meshware_telemetry_failures_total"
"""The counter; its label `kind` says of what."""


class Losses:
    """Tells what was lost since it was last asked, by counter.

    Args:
        counts: by kind, how much was lost so far.
        others: tells likewise of what counts by itself.
    """

    def __init__(
        self,
        counts: Mapping[str, Callable[[], int]],
        others: Callable[[], Mapping[CounterKey, int]],
    ) -> None:
        self._counts = dict(counts)
        self._others = others
        self._told: dict[str, int] = {}

    def renew(self) -> None:
        """Leave what was lost by now to the parent, in a child process."""
        self._told = {kind: count() for kind, count in self._counts.items()}

    def __call__(self) -> dict[CounterKey, int]:
        """Return what was lost since the last time."""
        found = dict(self._others())
        for kind, count in self._counts.items():
            lost = count()
            new = lost - self._told.get(kind, 0)
            self._told[kind] = lost
            if new > 0:
                found[(LOST, (("kind", kind),))] = new
        return found
