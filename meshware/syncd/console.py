"""What the daemon knows, in the shapes that the dashboard asks for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshware.dashboard.data import EndpointSeen, Sample
from meshware.syncd.counts import Merged
from meshware.syncd.keeper import Keeper
from meshware.syncd.overview import worker_state
from meshware.syncd.status import Finding
from meshware.telemetry.series import COUNT, DURATION, ENDPOINT_ATTEMPTS, ENDPOINT_EJECTIONS, Series

__all__ = ["DaemonConsole", "endpoints_of", "samples_of"]

_MOST_FINDINGS = 1000


def _nothing() -> Iterable[Sample]:
    return ()


class DaemonConsole:
    """Answers from what the keeper has read; all of that is replaced whole, so any thread may ask.

    Args:
        keeper: of the run directory.
        samples: tells what all workers have counted.
    """

    def __init__(self, keeper: Keeper, samples: Callable[[], Iterable[Sample]] = _nothing) -> None:
        self._keeper = keeper
        self._samples = samples

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
        generation = self.generation()
        return [
            {
                "namespace": report.namespace,
                "workload": report.workload,
                "id": report.id,
                "pid": report.pid,
                "version": None,
                "generation": report.generation,
                "state": worker_state(report, generation),
                "certificate_until": None,
                "memory_bytes": None,
                "lag_s": None,
                "address": report.address,
                "port": report.port,
                "started_at": report.started_at,
                "refusals": [msgspec.structs.asdict(each) for each in report.refusals],
            }
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
