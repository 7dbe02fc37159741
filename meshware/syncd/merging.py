"""Add up what all workers of a node have counted, and share out the room between workloads.

There is room for so many series. A workload's workers may tell of as many as they like, and none of
them drives out those of another workload: all have their first before any has its second. What is
beyond a workload's share are those of its series that came last; their calls are counted as left
out. A workload that tells of no more than its share loses nothing, whatever others do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from meshware.telemetry.reading import MOST_ARCHIVED, Kind, Read, Row, summed
from meshware.telemetry.series import CounterKey, Labels, Store

__all__ = ["Merged", "Own", "merge", "shares_of"]

Own = tuple[str, str]
"""Namespace and workload, as the directories of a file are called."""

_Who = TypeVar("_Who", bound=Hashable)
_Thing = TypeVar("_Thing", bound=Sized)


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What all workers have counted, by one moment."""

    store: Store
    gauges: Mapping[tuple[str, Labels], float]


@dataclass(slots=True)
class _Gathered:
    """What the workers of one workload tell, in the order in which they came."""

    rows: dict[Kind, list[Row[int]]] = field(default_factory=lambda: defaultdict(list))
    counters: dict[CounterKey, float] = field(default_factory=dict)
    gauges: dict[CounterKey, float] = field(default_factory=dict)
    left_out: int = 0


def merge(parts: Mapping[Own, Sequence[Read]], most: int) -> Merged:
    """Return what all have counted.

    Args:
        parts: of each workload; those of workers that have ended come first, so that they stay.
        most: series, counters and gauges, each.
    """
    gathered = {own: _gathered(reads) for own, reads in parts.items()}
    store = Store(most)
    store.left_out = sum(each.left_out for each in gathered.values())
    # Those with little come first, so that they are also among the first of all.
    order = sorted(gathered.values(), key=lambda each: len(each.rows))
    rows: dict[Kind, list[Row[int]]] = {}
    for each, share in _shared([each.rows for each in order], most):
        for kind, found in islice(each.items(), share):
            known = rows.get(kind)
            rows[kind] = found if known is None else known + found
        for found in islice(each.values(), share, None):
            store.left_out += sum(row.count for row in found)
    store.series = {(kind.labels, kind.metrics): summed(kind, each) for kind, each in rows.items()}
    for counters, share in _shared([each.counters for each in order], most):
        for key, value in islice(counters.items(), share):
            store.counters[key] = min(store.counters.get(key, 0) + value, MOST_ARCHIVED)
        store.left_out += max(len(counters) - share, 0)
    gauges: dict[CounterKey, float] = {}
    for held, share in _shared([each.gauges for each in order], most):
        for key, value in islice(held.items(), share):
            gauges[key] = _together(key[0], gauges.get(key), value)
    store.left_out = min(store.left_out, MOST_ARCHIVED)
    return Merged(store=store, gauges=gauges)


def shares_of(wanted: Mapping[_Who, int], most: int) -> dict[_Who, int]:
    """Return how many of what each wants it has, where there is room for so many together.

    Everybody has the first before anybody has the second.
    """
    shares: dict[_Who, int] = {}
    left = most
    for number, (who, count) in enumerate(sorted(wanted.items(), key=lambda each: each[1])):
        shares[who] = min(count, left // (len(wanted) - number))
        left -= shares[who]
    return shares


def _shared(things: Sequence[_Thing], most: int) -> list[tuple[_Thing, int]]:
    """Return each with how many of it are kept."""
    shares = shares_of({at: len(each) for at, each in enumerate(things)}, most)
    return [(each, shares[at]) for at, each in enumerate(things)]


def _gathered(reads: Sequence[Read]) -> _Gathered:
    found = _Gathered()
    rows, counters, gauges = found.rows, found.counters, found.gauges
    for read in reads:
        for kind, row in zip(read.kinds, read.rows, strict=True):
            rows[kind].append(row)
        for key, value in read.counters.items():
            counters[key] = counters.get(key, 0) + value
        for key, value in read.gauges.items():
            gauges[key] = _together(key[0], gauges.get(key), value)
        found.left_out += read.left_out
    return found


def _together(name: str, before: float | None, value: float) -> float:
    """Return what several workers say of one thing that holds now."""
    if before is None:
        return value
    if name.endswith(("_endpoints", "_workers")):
        return before + value
    return min(before, value)  # the oldest generation, the certificate that ends first
