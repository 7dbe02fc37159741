"""What the daemon knows, in the shapes that the dashboard asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from meshware.dashboard.data import Sample
from meshware.syncd.counts import Merged
from meshware.syncd.keeper import Keeper
from meshware.syncd.status import Finding
from meshware.syncd.workers import worker_seen
from meshware.telemetry.series import ATTEMPTS, COUNT, DURATION, Series

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

    Attempts are counted for a source and a service, whatever came of the calls, and so are samples
    of their own, under the labels by which the graph knows the two.
    """
    samples, pairs = [], {}
    for series in merged.store.series.values():
        if COUNT not in series.metrics:
            continue
        sample = _sample(series)
        samples.append(sample)
        if sample.labels.get("reporter") == "source":
            pairs[_pair(sample.labels)] = sample.labels
    for (name, labels), count in merged.store.counters.items():
        known = pairs.get(_pair(dict(labels))) if name == ATTEMPTS else None
        if known is not None:
            ends = {label: known[label] for label in _ENDS if label in known}
            samples.append(Sample(labels=ends, requests=0, attempts=count))
    return samples


# What the graph tells services by: `dashboard.graph`. The same for every call between the two.
_ENDS = (
    "reporter", "source_workload", "source_workload_namespace", "source_canonical_service",
    "source_app", "destination_service", "destination_service_name",
    "destination_service_namespace",
)  # fmt: skip


def _pair(labels: Mapping[str, str]) -> tuple[str | None, ...]:
    names = ("source_workload", "source_workload_namespace", "destination_service")
    return tuple(map(labels.get, names))


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
