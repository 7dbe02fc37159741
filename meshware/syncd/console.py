"""What the daemon knows, in the shapes that the dashboard asks for."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from meshware.clock import Clock
from meshware.dashboard.data import Counted, EndpointSeen, Sample, Told
from meshware.dashboard.listing import since_of
from meshware.syncd.keeper import Keeper
from meshware.syncd.merging import Merged
from meshware.syncd.rings import Remembered, SeenCall
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


class DaemonConsole:
    """Answers from what the keeper has read; all of that is replaced whole, so any thread may ask.

    What workers remember of calls is read by `look`, when somebody wants to see it, and by `why`
    where it does not know a call.

    Args:
        keeper: of the run directory.
        why: tells what policy says of a call.
        clock: the machine's.
    """

    def __init__(self, keeper: Keeper, why: Why, clock: Clock) -> None:
        self._keeper = keeper
        self._why = why
        self._now, self._monotonic = clock.now, clock.monotonic
        self._lock = threading.Lock()  # of those who look; who reads takes what is there
        self._look_at = float("-inf")
        read = keeper.rings.remembered
        self._read: tuple[Remembered, Told] = (read, _told(read))

    def generation(self) -> int | None:
        """Return the published generation."""
        return self._keeper.figures.generation or None

    def counted(self) -> Counted:
        """Return what was counted by now, series and endpoints of the same moment."""
        merged = self._keeper.counts.merged()
        return Counted(samples_of(merged), endpoints_of(merged))

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

    def look(self) -> Told:
        """Read what workers remember of calls; not again within moments, whoever asks."""
        with self._lock:
            if self._monotonic() >= self._look_at:
                self._look()
            return self._read[1]

    def remembered(self) -> Told:
        """Return what was read last."""
        return self._read[1]

    def why(self, call_id: str) -> dict[str, Any] | None:
        """Return a call and what policy says of it now; None: nobody remembers it.

        What was told is explained as long as it is told, though its worker has newer calls by now.
        """
        read = self._read[0]
        found = _found(read, call_id)
        if found is None:
            with self._lock:
                read = self._look()
            found = _found(read, call_id)
            if found is None:
                return None
        return {"call": call_told(read.epoch, found), **self._why.of(found)}

    def _look(self) -> Remembered:
        """Read, whoever has done so a moment ago. With the lock."""
        read = self._keeper.rings.look()
        if read is not self._read[0]:
            self._read = (read, _told(read))
        self._look_at = self._monotonic() + _PAUSE_S
        return read


def _told(read: Remembered) -> Told:
    return Told(
        read.epoch, read.seen, read.left_out, tuple(calls_told(read)), tuple(traces_told(read))
    )


def _found(read: Remembered, call_id: str) -> SeenCall | None:
    number = since_of(call_id, read.epoch)
    return next((each for each in read.calls if each.seen == number), None)


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
