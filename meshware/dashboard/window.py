"""Counters over the last hour: a step each second for five minutes, each ten seconds for the hour.

What is kept are increases. A counter that is less than before began anew (its worker restarted), so
all it counts by now is its increase, as in PromQL. What there was at the very first sample is of
unknown age and counts for nothing; a series that comes up later began at nought.
"""

from __future__ import annotations

import itertools
import operator
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from meshware.dashboard.data import BOUNDS_MS, Sample

__all__ = [
    "ATTEMPTS",
    "ERRORS",
    "MOST_KEYS",
    "MOST_SERIES",
    "REQUESTS",
    "Figures",
    "Rises",
    "Window",
    "counts_of",
    "empty_row",
    "figures_of",
    "quantile",
]

MOST_KEYS = 4000
"""Edges that are kept; what comes beyond them is left out until others have gone."""

MOST_SERIES = 40_000
"""Series that are looked at in a sample."""

FINE_STEPS = 300  # of a second
COARSE_S = 10
COARSE_STEPS = 360

REQUESTS, ERRORS, ATTEMPTS, _BUCKETS = 0, 1, 2, 3
_WIDTH = _BUCKETS + len(BOUNDS_MS) + 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stretch of time comes to. Percentiles are None where no call was timed."""

    rate: float  # calls a second
    error_share: float  # 0 to 1
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    attempts_rate: float  # tries a second
    calls: float


def counts_of(
    requests: float, errors: float, attempts: float, durations: Sequence[float]
) -> array[float]:
    """Return counters as a row; buckets that are absent are empty, and those beyond left out."""
    row = array("d", (requests, errors, attempts))
    row.extend(itertools.islice(durations, _WIDTH - _BUCKETS))
    row.extend(itertools.repeat(0.0, _WIDTH - len(row)))
    return row


def empty_row() -> array[float]:
    """Return a row of counters that have counted nothing."""
    return array("d", bytes(8 * _WIDTH))


def quantile(share: float, buckets: Sequence[float]) -> float | None:
    """Return the duration in ms below which a share of the calls stayed; None: there were none.

    Linear within a bucket; of the last one, which has no end, its beginning.

    Args:
        share: 0 to 1.
        buckets: calls in each bucket of `BOUNDS_MS`, and those beyond.

    Source: PromQL histogram_quantile.
    """
    total = sum(buckets)
    if total <= 0:
        return None
    rank = share * total
    before = 0.0
    for index, count in enumerate(buckets):
        if count > 0 and before + count >= rank:
            if index >= len(BOUNDS_MS):
                break
            lower = BOUNDS_MS[index - 1] if index else 0.0
            return lower + (BOUNDS_MS[index] - lower) * max(rank - before, 0.0) / count
        before += count
    return BOUNDS_MS[-1]


def figures_of(row: Sequence[float], seconds: float) -> Figures:
    """Return what increases over some seconds come to."""
    requests = row[REQUESTS]
    buckets = row[_BUCKETS:]
    return Figures(
        rate=requests / seconds,
        error_share=min(row[ERRORS] / requests, 1.0) if requests > 0 else 0.0,
        p50_ms=quantile(0.50, buckets),
        p95_ms=quantile(0.95, buckets),
        p99_ms=quantile(0.99, buckets),
        attempts_rate=row[ATTEMPTS] / seconds,
        calls=requests,
    )


class Rises:
    """Turns counters of series into what they rose since the last time. Not for several threads."""

    def __init__(self) -> None:
        self._last: dict[frozenset[tuple[str, str]], array[float]] = {}
        self._is_first = True

    def of(self, samples: Iterable[Sample]) -> list[Sample]:
        """Return the same series, each with its increases in the place of its counters."""
        kept: dict[frozenset[tuple[str, str]], array[float]] = {}
        risen: list[Sample] = []
        for sample in itertools.islice(samples, MOST_SERIES):
            key = frozenset(sample.labels.items())
            row = counts_of(sample.requests, sample.errors, sample.attempts, sample.durations)
            kept[key] = row
            before = self._last.get(key)
            if before is not None:
                # One of the counters fell: the worker began anew, and so did all of them.
                is_anew = any(new < old for new, old in zip(row, before, strict=True))
                rise = row if is_anew else array("d", map(operator.sub, row, before))
            else:
                rise = empty_row() if self._is_first else row
            risen.append(
                Sample(
                    labels=sample.labels,
                    requests=rise[REQUESTS],
                    errors=rise[ERRORS],
                    attempts=rise[ATTEMPTS],
                    durations=rise[_BUCKETS:],
                )
            )
        self._last, self._is_first = kept, False
        return risen


class Window:
    """The increases of many edges, by key. Not for several threads at once."""

    def __init__(self) -> None:
        self._fine: deque[dict[str, array[float]]] = deque(maxlen=FINE_STEPS)
        self._coarse: deque[dict[str, array[float]]] = deque(maxlen=COARSE_STEPS)
        self._filling: dict[str, array[float]] = {}
        self._filled = 0

    def add(self, rises: Mapping[str, array[float]], seconds: int = 1) -> None:
        """Take up what edges rose.

        Args:
            rises: rows of `counts_of`, by key; `MOST_KEYS` of them at the most.
            seconds: since the last time; the increase counts for the last one of them.
        """
        for _ in range(min(seconds, FINE_STEPS) - 1):
            self._step({})
        chosen = itertools.islice(rises.items(), MOST_KEYS)
        self._step({key: array("f", row) for key, row in chosen if any(row)})

    def totals(self, window_s: int) -> tuple[dict[str, array[float]], int]:
        """Return the increases of the last seconds by key, and how many seconds those were.

        Beyond five minutes in steps of ten seconds.
        """
        steps, step_s = self._steps(window_s)
        wanted = max(1, window_s // step_s)
        totals: dict[str, array[float]] = {}
        count = 0
        for step in itertools.islice(reversed(steps), wanted):
            count += 1
            _sum_into(totals, step)
        return totals, max(count, 1) * step_s

    def series(self, keys: Iterable[str], window_s: int) -> tuple[int, list[Figures]]:
        """Return the length of a step in seconds, and what the keys together come to in each."""
        chosen = tuple(keys)
        steps, step_s = self._steps(window_s)
        wanted = max(1, window_s // step_s)
        found = list(itertools.islice(reversed(steps), wanted))[::-1]
        return step_s, [figures_of(row, step_s) for row in _rows(found, chosen)]

    def _steps(self, window_s: int) -> tuple[deque[dict[str, array[float]]], int]:
        return (self._fine, 1) if window_s <= FINE_STEPS else (self._coarse, COARSE_S)

    def _step(self, step: dict[str, array[float]]) -> None:
        self._fine.append(step)
        _sum_into(self._filling, step)
        self._filled += 1
        if self._filled == COARSE_S:
            self._coarse.append({key: array("f", row) for key, row in self._filling.items()})
            self._filling, self._filled = {}, 0


def _sum_into(totals: dict[str, array[float]], step: Mapping[str, array[float]]) -> None:
    for key, row in step.items():
        total = totals.get(key)
        if total is None:
            totals[key] = array("d", row)
        else:
            for index, value in enumerate(row):
                if value:
                    total[index] += value


def _rows(
    steps: Iterable[Mapping[str, array[float]]], keys: Sequence[str]
) -> Iterator[array[float]]:
    for step in steps:
        row = empty_row()
        for key in keys:
            found = step.get(key)
            if found is not None:
                for index, value in enumerate(found):
                    row[index] += value
        yield row
