"""What the daemon knows, in the shapes that the dashboard asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshware.dashboard.data import Sample
from meshware.syncd.counts import Merged
from meshware.syncd.keeper import Keeper
from meshware.syncd.status import Finding
from meshware.syncd.workers import worker_seen
from meshware.telemetry.series import COUNT, DURATION, Series

__all__ = ["DaemonConsole", "samples_of"]

_MOST_FINDINGS = 1000


def _nothing() -> Iterable[Sample]:
    return ()


class DaemonConsole:
    """Answers from what the keeper has read; all of that is replaced whole, so any thread may ask.

    Args:
        keeper: of the run directory.
        now: unix time in seconds.
        samples: tells what all workers have counted.
    """

    def __init__(
        self,
        keeper: Keeper,
        now: Callable[[], float],
        samples: Callable[[], Iterable[Sample]] = _nothing,
    ) -> None:
        self._keeper = keeper
        self._now = now
        self._samples = samples

    def generation(self) -> int | None:
        """Return the published generation."""
        return self._keeper.figures.generation or None

    def samples(self) -> Iterable[Sample]:
        """Return what was counted by now."""
        return self._samples()

    def workers(self) -> list[dict[str, Any]]:
        """Return what each live worker claims."""
        generation, now_s = self.generation(), self._now()
        return [
            msgspec.to_builtins(worker_seen(report, generation, now_s))
            for report in self._keeper.survey.live
        ]

    def policy(self) -> dict[str, Any]:
        """Return what was read from the sources."""
        refused = self._keeper.refusal
        problems = self._keeper.problems[:_MOST_FINDINGS]
        return {
            "resources": self._keeper.resources,
            "findings": [msgspec.to_builtins(Finding.of(problem)) for problem in problems],
            "refused": None if refused is None else msgspec.to_builtins(refused),
            "changes": self._keeper.changes.newest_first,
        }

    def calls(self) -> list[dict[str, Any]]:
        """Return none: workers do not tell of calls yet."""
        return []

    def traces(self) -> list[dict[str, Any]]:
        """Return none: workers do not tell of traces yet."""
        return []


def samples_of(merged: Merged) -> list[Sample]:
    """Return what all workers have counted, as the dashboard takes it.

    Tries are in series of their own, by cluster, so none are told here.
    """
    return [_sample(series) for series in merged.store.series.values() if COUNT in series.metrics]


def _sample(series: Series) -> Sample:
    labels = dict(series.labels)
    code = labels.get("response_code", "")
    is_error = code == "0" or (len(code) == 3 and code.startswith("5"))
    return Sample(
        labels=labels,
        requests=series.count,
        errors=series.count if is_error else 0,
        durations=tuple(series.duration.counts) if DURATION in series.metrics else (),
    )
