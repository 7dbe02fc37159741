"""Counters and histograms of calls, by their labels. Pure: nobody is asked for the time.

One `Series` holds all four of Istio's metrics of HTTP calls that have one set of labels, since they
usually do: then one look-up serves all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import msgspec

from meshware.policy.telemetry_plan import METRICS

__all__ = [
    "ALL",
    "ATTEMPTS",
    "BUCKETS",
    "COUNT",
    "DURATION",
    "ENDPOINT_ATTEMPTS",
    "ENDPOINT_EJECTIONS",
    "CounterKey",
    "Exemplar",
    "Histogram",
    "Labels",
    "Series",
    "Store",
    "of_metric",
]

BUCKETS = (
    0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 300000, 600000,
    1800000, 3600000,
)  # fmt: skip
"""Upper bounds, of milliseconds and of bytes. Source: Istio, `sidecarStatsHistogramBuckets`."""

COUNT = METRICS["REQUEST_COUNT"]
DURATION = METRICS["REQUEST_DURATION"]
ATTEMPTS = "meshware_attempts_total"
ENDPOINT_ATTEMPTS = "meshware_endpoint_attempts_total"
ENDPOINT_EJECTIONS = "meshware_endpoint_ejecting_workers"
ALL = frozenset(METRICS.values())
"""All metrics of HTTP calls, which a series has where policy changes none of them."""

Labels = tuple[tuple[str, str], ...]
"""Names and values, by name."""


class Exemplar(msgspec.Struct, frozen=True, array_like=True):
    """One call that a histogram's bucket has counted. Source: OpenMetrics, "Exemplars"."""

    trace_id: str
    value: float
    at: float  # unix seconds


class Histogram(msgspec.Struct, array_like=True):
    """How often values fell between two bounds.

    Attributes:
        counts: of each bucket alone; the last one has no upper bound.
        total: of all values.
        exemplars: by bucket, the last one of each.
    """

    counts: list[int] = msgspec.field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0
    exemplars: dict[int, Exemplar] = {}

    def add(self, other: Histogram) -> None:
        """Count what another one has counted."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        for at, exemplar in other.exemplars.items():
            mine = self.exemplars.get(at)
            if mine is None or mine.at < exemplar.at:
                self.exemplars = {**self.exemplars, at: exemplar}


class Series(msgspec.Struct, array_like=True):
    """Istio's metrics of calls with the same labels."""

    labels: Labels
    metrics: frozenset[str] = ALL  # those of them that are kept
    count: int = 0
    duration: Histogram = msgspec.field(default_factory=Histogram)  # milliseconds
    received: Histogram = msgspec.field(default_factory=Histogram)  # bytes of requests
    sent: Histogram = msgspec.field(default_factory=Histogram)  # bytes of responses

    def observe(
        self, duration_s: float, received_bytes: int, sent_bytes: int, exemplar: Exemplar | None
    ) -> None:
        """Count one call."""
        # Written out: this is most of what counting a call takes.
        self.count += 1
        duration, received, sent = self.duration, self.received, self.sent
        value = duration_s * 1000
        at = bisect_left(BUCKETS, value)
        duration.counts[at] += 1
        duration.total += value
        received.counts[bisect_left(BUCKETS, received_bytes)] += 1
        received.total += received_bytes
        sent.counts[bisect_left(BUCKETS, sent_bytes)] += 1
        sent.total += sent_bytes
        if exemplar is not None:
            duration.exemplars = {**duration.exemplars, at: exemplar}

    def add(self, other: Series) -> None:
        """Count what another one has counted."""
        self.count += other.count
        self.duration.add(other.duration)
        self.received.add(other.received)
        self.sent.add(other.sent)


def of_metric(series: Iterable[Series], metric: str) -> list[Series]:
    """Return the series of one metric, one for each set of labels.

    Policy may change what is kept of a metric while a process runs: calls with the same labels are
    then in several series, each for other metrics, and one that has both is the sum of them.
    """
    found: dict[Labels, Series] = {}
    for one in series:
        if metric in one.metrics:
            before = found.get(one.labels)
            if before is None:
                found[one.labels] = one
                continue
            together = Series(one.labels, frozenset({metric}))
            together.add(before)
            together.add(one)
            found[one.labels] = together
    return list(found.values())


CounterKey = tuple[str, Labels]
"""Name and labels of a counter or gauge of ours."""


@dataclass(slots=True)
class Store:
    """All series and counters of one process, or of several, merged.

    Attributes:
        series: by labels and the metrics that they are for.
        counters: of ours, by name and labels.
        most: series and counters, each; what would be one more is not kept.
        left_out: calls that were not counted for that.
    """

    most: int
    series: dict[tuple[Labels, frozenset[str]], Series] = field(default_factory=dict)
    counters: dict[CounterKey, float] = field(default_factory=dict)
    left_out: int = 0

    def series_of(self, labels: Labels, metrics: frozenset[str] = ALL) -> Series | None:
        """Return the series of some labels, made where there is room; None: there is none."""
        found = self.series.get((labels, metrics))
        if found is None:
            if len(self.series) >= self.most:
                return None
            found = self.series[(labels, metrics)] = Series(labels, metrics)
        return found

    def count(self, name: str, labels: Labels, by: float = 1) -> None:
        """Add to a counter, where there is room for it."""
        key = (name, labels)
        if key in self.counters or len(self.counters) < self.most:
            self.counters[key] = self.counters.get(key, 0) + by
        else:
            self.left_out += 1

    def keep_first(self, series: int, counters: int) -> None:
        """Keep no more than so many series and counters, those that came first."""
        for key in list(self.series)[series:]:
            self.left_out += self.series.pop(key).count
        for name in list(self.counters)[counters:]:
            del self.counters[name]
            self.left_out += 1

    def merge(self, series: Iterable[Series], counters: Mapping[CounterKey, float]) -> None:
        """Count what others have counted."""
        for other in series:
            mine = self.series_of(other.labels, other.metrics)
            if mine is None:
                self.left_out += other.count
            else:
                mine.add(other)
        for (name, labels), value in counters.items():
            self.count(name, labels, value)


assert all(low < high for low, high in pairwise(BUCKETS))
