"""What the daemon knows, in the shapes that the dashboard asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from meshware.clock import Clock
from meshware.dashboard.data import EndpointSeen, Sample, Seen
from meshware.dashboard.listing import since_of
from meshware.syncd.counts import Merged
from meshware.syncd.keeper import Keeper
from meshware.syncd.rings import Remembered
from meshware.syncd.status import Finding
from meshware.syncd.told_calls import call_told, calls_told, traces_told
from meshware.syncd.why import Why
from meshware.syncd.workers import worker_seen
from meshware.telemetry.series import (
    ATTEMPTS,
    COUNT,
    DURATION,
    ENDPOINT_ATTEMPTS,
    ENDPOINT_EJECTIONS,
    Series,
    of_metric,
)

__all__ = ["DaemonConsole", "endpoints_of", "samples_of"]

_MOST_FINDINGS = 1000
_PAUSE_S = 0.2


def _nothing() -> Iterable[Sample]:
    return ()


class DaemonConsole:
    """Answers from what the keeper has read; all of that is replaced whole, so any thread may ask.

    What workers remember of calls is read by `look`, when somebody wants to see it.

    Args:
        keeper: of the run directory.
        why: tells what policy says of a call.
        clock: the machine's.
        samples: tells what all workers have counted.
    """

    def __init__(
        self,
        keeper: Keeper,
        why: Why,
        clock: Clock,
        samples: Callable[[], Iterable[Sample]] = _nothing,
    ) -> None:
        self._keeper = keeper
        self._why = why
        self._samples = samples
        self._now, self._monotonic = clock.now, clock.monotonic
        self._look_at = float("-inf")
        self._told: tuple[Remembered, list[dict[str, Any]], list[dict[str, Any]]] | None = None

    def generation(self) -> int | None:
        """Return the published generation."""
        return self._keeper.figures.generation or None

    def samples(self) -> Iterable[Sample]:
        """Return what was counted by now."""
        return self._samples()

    def endpoints(self) -> Iterable[EndpointSeen]:
        """Return what workers have found of endpoints."""
        return endpoints_of(self._keeper.counts.merged())

    def workers(self) -> list[dict[str, Any]]:
        """Return what each live worker claims."""
        generation, now_s = self.generation(), self._now().timestamp()
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

    def look(self) -> None:
        """Read what workers remember of calls; not again within moments, whoever asks."""
        if self._monotonic() < self._look_at:
            return
        remembered = self._keeper.rings.look()
        if self._told is None or self._told[0] is not remembered:
            self._told = (remembered, calls_told(remembered), traces_told(remembered))
        self._look_at = self._monotonic() + _PAUSE_S

    def seen(self) -> Seen:
        """Return how far calls and traces have been read."""
        remembered = self._keeper.rings.remembered if self._told is None else self._told[0]
        return Seen(remembered.epoch, remembered.seen, remembered.left_out)

    def calls(self) -> list[dict[str, Any]]:
        """Return the refused and failed calls that were read last, the newest first."""
        return [] if self._told is None else self._told[1]

    def traces(self) -> list[dict[str, Any]]:
        """Return the traces that were read last, the newest first."""
        return [] if self._told is None else self._told[2]

    def why(self, call_id: str) -> dict[str, Any] | None:
        """Return a call and what policy says of it now; None: nobody remembers it."""
        remembered = self._keeper.rings.look()
        number = since_of(call_id, remembered.epoch)
        found = next((each for each in remembered.calls if each.seen == number), None)
        if found is None:
            return None
        return {"call": call_told(remembered.epoch, found), **self._why.of(found)}


def samples_of(merged: Merged) -> list[Sample]:
    """Return what all workers have counted, as the dashboard takes it.

    Attempts are counted for a source and a service, whatever came of the calls, and so are samples
    of their own, under the labels by which the graph knows the two.
    """
    samples, pairs = [], {}
    durations = {one.labels: one for one in of_metric(merged.store.series.values(), DURATION)}
    for series in of_metric(merged.store.series.values(), COUNT):
        timed = durations.pop(series.labels, None)
        sample = _sample(series, timed)
        samples.append(sample)
        if sample.labels.get("reporter") == "source":
            pairs[_pair(sample.labels)] = sample.labels
    # Where policy gives one of the two metrics labels of its own.
    samples += [_timed(series) for series in durations.values()]
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


def endpoints_of(merged: Merged) -> list[EndpointSeen]:
    """Return what all workers have found of endpoints, as the dashboard takes it."""
    found: dict[tuple[str, str], list[float]] = {}
    for samples, name in (
        (merged.store.counters, ENDPOINT_ATTEMPTS),
        (merged.gauges, ENDPOINT_EJECTIONS),
    ):
        for (metric, labels), value in samples.items():
            if metric != name:
                continue
            told = dict(labels)
            row = found.setdefault(
                (told.get("destination_service", ""), told.get("endpoint", "")), [0.0, 0.0, 0.0]
            )
            if name == ENDPOINT_EJECTIONS:
                row[2] += value
            else:
                row[0] += value
                row[1] += value if told.get("outcome") == "failed" else 0
    return [
        EndpointSeen(
            service=service,
            address=address,
            attempts=attempts,
            failed=failed,
            ejected_by=int(ejected),
        )
        for (service, address), (attempts, failed, ejected) in found.items()
    ]


def _timed(series: Series) -> Sample:
    return Sample(labels=dict(series.labels), requests=0, durations=tuple(series.duration.counts))


def _sample(series: Series, timed: Series | None) -> Sample:
    labels = dict(series.labels)
    code = labels.get("response_code", "")
    is_error = code == "0" or (len(code) == 3 and code.startswith("5"))
    return Sample(
        labels=labels,
        requests=series.count,
        errors=series.count if is_error else 0,
        durations=() if timed is None else tuple(timed.duration.counts),
    )
