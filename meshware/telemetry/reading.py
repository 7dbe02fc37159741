"""Read what workers have counted, and add up what many have.

A file is a claim like every report: whoever reads it bounds its size, and says itself whose side of
a call the worker is on. What is read goes into `/metrics` of all workloads, so names that could be
read there as anything but a name, and numbers that cannot be added up, make the whole file none.

A node's workers together have a hundred thousand buckets, which may all change from one second to
the next. So numbers are judged by msgspec as they are decoded, labels are put together once for
each worker and are one object for all of them, and buckets are added up column by column, not
worker by worker.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import zip_longest
from math import isfinite
from typing import Annotated, Generic, TypeVar

import msgspec
from msgspec import Meta

from meshware.telemetry.report import METRICS_FORMAT, MOST_TEXT, Counted, Gauges
from meshware.telemetry.series import (
    ALL,
    BUCKETS,
    CounterKey,
    Exemplar,
    Histogram,
    Labels,
    Series,
)

__all__ = ["MOST_ARCHIVED", "MOST_ROWS", "Kind", "Read", "Reading", "Row", "decode", "summed"]

MOST_ROWS = 4000
"""Series, counters and gauges, each: of one worker that is twice what it keeps."""

MOST_COUNTED = 2**48
"""No worker has counted more of anything. A node's workers together stay below 2**63."""

MOST_ARCHIVED = 2**62
"""Of anything that many workers have counted: MessagePack has no larger numbers."""

_MOST_TOTAL = 1e300  # of any sum of values: as much again and again is still a number
_LARGEST = 1.7976931348623157e308
_MOST_LABELS = 64  # Istio's 25, and those that policy adds
_MOST_GAUGE = 2.0**53

_LABEL = re.compile(r"(?!__)(?!le$)[a-zA-Z_][a-zA-Z0-9_]{0,127}")
_OURS = re.compile(r"meshware_(?!sync_)[a-z0-9_]{1,100}")  # the daemon tells of itself as `sync`
_TRACE = re.compile(r"[0-9a-f]{32}")

_N = TypeVar("_N")
_OfWorker = Annotated[int, Meta(ge=0, le=MOST_COUNTED)]
_OfMany = Annotated[int, Meta(ge=0, le=MOST_ARCHIVED)]


# Without `gc`, which would look at each of them again and again: none refers to its like.
class _Short(msgspec.Struct, Generic[_N], array_like=True, frozen=True, gc=False):
    """A histogram, without the empty buckets at its end."""

    counts: Annotated[tuple[_N, ...], Meta(max_length=len(BUCKETS) + 1)]
    total: Annotated[float, Meta(ge=0, le=_LARGEST)]


class Row(msgspec.Struct, Generic[_N], array_like=True, frozen=True, gc=False):
    """What a worker has counted of one kind of calls."""

    labels: msgspec.Raw  # numbers of texts: name, value, name, value, ...
    metrics: tuple[int, ...]
    count: _N
    duration: _Short[_N]
    received: _Short[_N]
    sent: _Short[_N]
    exemplars: dict[int, Exemplar] = {}


class _File(msgspec.Struct, Generic[_N], frozen=True):
    meshware: int
    texts: tuple[Annotated[str, Meta(max_length=MOST_TEXT)], ...]
    rows: tuple[Row[_N], ...] = ()
    counters: tuple[tuple[int, tuple[int, ...], float], ...] = ()
    gauges: tuple[tuple[int, tuple[int, ...], float], ...] = ()
    left_out: int = 0


_OF_WORKER = msgspec.msgpack.Decoder(_File[_OfWorker])
_OF_MANY = msgspec.msgpack.Decoder(_File[_OfMany])


class Kind:
    """What calls of one series have in common. As a key it is quick, for its hash is kept."""

    __slots__ = ("_hash", "labels", "metrics")

    def __init__(self, labels: Labels, metrics: frozenset[str]) -> None:
        self.labels = labels
        self.metrics = metrics
        self._hash = hash((labels, metrics))

    def __hash__(self) -> int:
        """Return what was kept."""
        return self._hash

    def __eq__(self, other: object) -> bool:
        """Say whether both are of the same calls."""
        return self is other or (
            isinstance(other, Kind)
            and self.labels == other.labels
            and self.metrics == other.metrics
        )


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What one file says.

    Attributes:
        rows: of calls of each kind; of one kind there may be several.
        kinds: of each row.
        counters, gauges, left_out: as of `Counted`.
        calls: that it tells of.
    """

    rows: Sequence[Row[int]] = ()
    kinds: Sequence[Kind] = ()
    counters: Mapping[CounterKey, float] = {}
    gauges: Mapping[CounterKey, float] = {}
    left_out: int = 0
    calls: int = 0


def summed(kind: Kind, rows: Sequence[Row[int]]) -> Series:
    """Return what many have counted of the same calls.

    Args:
        kind: of all rows.
        rows: at least one.
    """
    series = Series(
        kind.labels,
        kind.metrics,
        min(sum([row.count for row in rows]), MOST_ARCHIVED),
        _together([row.duration for row in rows]),
        _together([row.received for row in rows]),
        _together([row.sent for row in rows]),
    )
    exemplars: dict[int, Exemplar] = {}
    for row in rows:
        for at, exemplar in row.exemplars.items():
            if at not in exemplars or exemplars[at].at < exemplar.at:
                exemplars[at] = exemplar
    series.duration.exemplars = exemplars
    return series


def _together(shorts: Sequence[_Short[int]]) -> Histogram:
    if len(shorts) == 1:
        counts = list(shorts[0].counts)
    else:
        counts = list(map(sum, zip_longest(*[short.counts for short in shorts], fillvalue=0)))
    if counts and max(counts) > MOST_ARCHIVED:
        counts = [min(count, MOST_ARCHIVED) for count in counts]
    counts += [0] * (len(BUCKETS) + 1 - len(counts))
    return Histogram(counts, min(sum([short.total for short in shorts]), _MOST_TOTAL))


class Reading:
    """Reads the files of one worker, one after the other.

    Texts keep their numbers from file to file, so labels are put together once.

    Args:
        correct: is handed the labels of a series and returns those to be believed.
        kinds: those that are known, of all workers, by themselves.
        most_rows: series, counters and gauges, each.
        is_of_many: what it reads was added up of many workers.
    """

    def __init__(
        self,
        correct: Callable[[Labels], Labels] | None = None,
        kinds: dict[Kind, Kind] | None = None,
        most_rows: int = MOST_ROWS,
        *,
        is_of_many: bool = False,
    ) -> None:
        self._correct = correct
        self._all_kinds = {} if kinds is None else kinds
        self._most_rows = most_rows
        self._most = MOST_ARCHIVED if is_of_many else MOST_COUNTED
        self._decoder: msgspec.msgpack.Decoder[_File[int]] = _OF_MANY if is_of_many else _OF_WORKER
        self._texts: tuple[str, ...] = ()
        self._labels: dict[bytes, Labels] = {}
        self._kinds: dict[tuple[bytes, tuple[int, ...]], Kind] = {}

    def decode(self, data: bytes) -> Read | None:
        """Return what a file says; None: it is none, or of a format that is not known here."""
        try:
            file = self._decoder.decode(data)
            if file.meshware != METRICS_FORMAT:
                return None
            if max(len(file.rows), len(file.counters), len(file.gauges)) > self._most_rows:
                return None
            return self._read(file)
        except (msgspec.MsgspecError, IndexError, ValueError, RecursionError, OverflowError):
            return None

    def _read(self, file: _File[int]) -> Read:
        if (
            file.texts[: len(self._texts)] != self._texts
            or max(len(self._labels), len(self._kinds)) > 4 * self._most_rows
        ):
            self._labels.clear()
            self._kinds.clear()
        self._texts = file.texts
        if not 0 <= file.left_out <= self._most:
            raise ValueError(file.left_out)
        kinds, known = [], self._kinds
        for row in file.rows:
            key = (bytes(row.labels), row.metrics)
            kind = known.get(key)
            if kind is None:
                kind = known[key] = self._kind(*key)
            if row.exemplars:
                _judge(row.exemplars)
            kinds.append(kind)
        counters, gauges = {}, {}
        for name, labels, value in self._samples(file.counters):
            if not name.endswith("_total") or not 0 <= value <= self._most:
                raise ValueError(name)
            counters[(name, labels)] = value
        for name, labels, value in self._samples(file.gauges):
            if name.endswith("_total") or not abs(value) < _MOST_GAUGE:
                raise ValueError(name)
            gauges[(name, labels)] = value
        return Read(
            rows=file.rows,
            kinds=kinds,
            counters=counters,
            gauges=gauges,
            left_out=file.left_out,
            calls=file.left_out + sum([row.count for row in file.rows]),
        )

    def _samples(
        self, samples: Iterable[tuple[int, tuple[int, ...], float]]
    ) -> Iterable[tuple[str, Labels, float]]:
        for number, numbers, value in samples:
            name = self._text(number)
            if not _OURS.fullmatch(name):
                raise ValueError(name)
            yield name, self._labels_of(msgspec.msgpack.encode(numbers)), value

    def _kind(self, labels: bytes, numbers: tuple[int, ...]) -> Kind:
        metrics = frozenset(map(self._text, numbers))
        if not metrics <= ALL:
            raise ValueError(metrics)
        kind = Kind(self._labels_of(labels), ALL if metrics == ALL else metrics)
        return self._all_kinds.setdefault(kind, kind)

    def _labels_of(self, written: bytes) -> Labels:
        found = self._labels.get(written)
        if found is None:
            numbers = msgspec.msgpack.decode(written, type=tuple[int, ...])
            names = list(map(self._text, numbers[::2]))
            values = map(self._text, numbers[1::2])
            found = tuple(sorted(zip(names, values, strict=True)))
            if len(set(names)) < len(names) or len(names) > _MOST_LABELS:
                raise ValueError(names)
            if not all(map(_LABEL.fullmatch, names)):
                raise ValueError(names)
            if self._correct is not None:
                found = self._correct(found)
            self._labels[written] = found
        return found

    def _text(self, number: int) -> str:
        if number < 0:
            raise IndexError(number)
        return self._texts[number]


def _judge(exemplars: Mapping[int, Exemplar]) -> None:
    """Raise ValueError for what cannot be one."""
    for at, exemplar in exemplars.items():
        if (
            not 0 <= at <= len(BUCKETS)
            or not _TRACE.fullmatch(exemplar.trace_id)
            or not isfinite(exemplar.value)
            or not 0 <= exemplar.at < _MOST_GAUGE
        ):
            raise ValueError(exemplar)


def decode(data: bytes) -> Counted | None:
    """Return what one file says; None: it is none, or of a format that is not known here."""
    read = Reading().decode(data)
    if read is None:
        return None
    gauges: Gauges = dict(read.gauges)
    return Counted(
        series=tuple(summed(kind, [row]) for kind, row in zip(read.kinds, read.rows, strict=True)),
        counters=dict(read.counters),
        gauges=gauges,
        left_out=read.left_out,
    )
