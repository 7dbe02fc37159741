"""What one worker has counted, as it is written beside its report.

The file is one object of MessagePack. Texts stand in it once, and everything else refers to them by
number; buckets that are empty at the end are left out. It is a claim like every report: whoever
reads it bounds its size, and says itself whose side of a call the worker is on. What is read goes
into `/metrics` of all workloads, so names that could be read there as anything but a name, and
numbers that cannot be added up, make the whole file none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite

import msgspec

from meshware.telemetry.series import ALL, BUCKETS, Exemplar, Histogram, Labels, Series, Store

__all__ = [
    "MAX_BYTES",
    "METRICS_FORMAT",
    "MOST_ROWS",
    "Counted",
    "Gauges",
    "Reading",
    "decode",
    "encode",
]

Gauges = dict[tuple[str, Labels], float]
"""What holds now, by name and labels."""

METRICS_FORMAT = 1

MAX_BYTES = 8 * 1024 * 1024
"""No file is longer; the daemon reads no longer one."""

MOST_ROWS = 4000
"""Series, counters and gauges, each: of one worker that is twice what it keeps."""

MOST_COUNTED = 2**48
"""No worker has counted more of anything. A node's workers together stay below 2**63."""

_MOST_TEXT = 512  # characters of a name or value
_MOST_LABELS = 64  # Istio's 25, and those that policy adds
_MOST_GAUGE = 2.0**53

_LABEL = re.compile(r"(?!__)(?!le$)[a-zA-Z_][a-zA-Z0-9_]{0,127}")
_OURS = re.compile(r"meshware_(?!sync_)[a-z0-9_]{1,100}")  # the daemon tells of itself as `sync`
_TRACE = re.compile(r"[0-9a-f]{32}")


class _Row(msgspec.Struct, array_like=True, frozen=True):
    labels: tuple[int, ...]  # name, value, name, value, ...
    metrics: tuple[int, ...]
    count: int
    durations: tuple[list[int], float]
    received: tuple[list[int], float]
    sent: tuple[list[int], float]
    exemplars: dict[int, Exemplar] = {}


class _File(msgspec.Struct, frozen=True):
    meshware: int
    texts: tuple[str, ...]
    rows: tuple[_Row, ...] = ()
    counters: tuple[tuple[int, tuple[int, ...], float], ...] = ()
    gauges: tuple[tuple[int, tuple[int, ...], float], ...] = ()
    left_out: int = 0


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted, and what holds now."""

    series: tuple[Series, ...] = ()
    counters: dict[tuple[str, Labels], float] = {}
    gauges: dict[tuple[str, Labels], float] = {}
    left_out: int = 0  # calls


def encode(store: Store, gauges: Mapping[tuple[str, Labels], float]) -> bytes:
    """Return the file of what a process has counted."""
    numbers: dict[str, int] = {}

    def number(text: str) -> int:
        return numbers.setdefault(text[:_MOST_TEXT], len(numbers))

    def of(labels: Labels) -> tuple[int, ...]:
        return tuple(number(text) for pair in labels for text in pair)

    def short(histogram: Histogram) -> tuple[list[int], float]:
        counts = histogram.counts
        last = len(counts)
        while last and not counts[last - 1]:
            last -= 1
        return counts[:last], histogram.total

    rows = tuple(
        _Row(
            of(series.labels),
            tuple(number(name) for name in sorted(series.metrics)),
            series.count,
            short(series.duration),
            short(series.received),
            short(series.sent),
            series.duration.exemplars,
        )
        for series in list(store.series.values())
    )
    counters, held = (
        tuple((number(name), of(labels), value) for (name, labels), value in list(each.items()))
        for each in (store.counters, gauges)
    )
    texts = tuple(numbers)
    try:
        return msgspec.msgpack.encode(
            _File(METRICS_FORMAT, texts, rows, counters, held, store.left_out)
        )
    except UnicodeEncodeError:  # half of a surrogate pair, in a text that an app has made
        texts = tuple(text.encode(errors="replace").decode() for text in texts)
    return msgspec.msgpack.encode(
        _File(METRICS_FORMAT, texts, rows, counters, held, store.left_out)
    )


class Reading:
    """Reads the files of one worker, one after the other.

    Texts keep their numbers from file to file, so labels are put together once.

    Args:
        correct: is handed the labels of a series and returns those to be believed.
        most: of anything that is counted.
        most_rows: series, counters and gauges, each.
    """

    def __init__(
        self,
        correct: Callable[[Labels], Labels] | None = None,
        most: int = MOST_COUNTED,
        most_rows: int = MOST_ROWS,
    ) -> None:
        self._correct = correct
        self._most = most
        self._most_rows = most_rows
        self._texts: tuple[str, ...] = ()
        self._labels: dict[tuple[int, ...], Labels] = {}

    def decode(self, data: bytes) -> Counted | None:
        """Return what a file says; None: it is none, or of a format that is not known here."""
        try:
            file = msgspec.msgpack.decode(data, type=_File)
            if file.meshware != METRICS_FORMAT or any(len(t) > _MOST_TEXT for t in file.texts):
                return None
            if max(len(file.rows), len(file.counters), len(file.gauges)) > self._most_rows:
                return None
            return self._counted(file)
        except (msgspec.MsgspecError, IndexError, ValueError, RecursionError, OverflowError):
            return None

    def _counted(self, file: _File) -> Counted:
        if file.texts[: len(self._texts)] != self._texts:
            self._labels.clear()
        self._texts = file.texts
        most = self._most
        if not 0 <= file.left_out <= most:
            raise ValueError(file.left_out)
        series = tuple(self._series(row) for row in file.rows)
        counters, gauges = {}, {}
        for number, numbers, value in file.counters:
            name = self._text(number)
            if not _OURS.fullmatch(name) or not name.endswith("_total") or not 0 <= value <= most:
                raise ValueError(name)
            counters[(name, self._labels_of(numbers))] = value
        for number, numbers, value in file.gauges:
            name = self._text(number)
            if not _OURS.fullmatch(name) or name.endswith("_total") or not abs(value) < _MOST_GAUGE:
                raise ValueError(name)
            gauges[(name, self._labels_of(numbers))] = value
        return Counted(series=series, counters=counters, gauges=gauges, left_out=file.left_out)

    def _series(self, row: _Row) -> Series:
        metrics = frozenset(map(self._text, row.metrics))
        if not 0 <= row.count <= self._most or not metrics <= ALL:
            raise ValueError(row)
        series = Series(
            self._labels_of(row.labels),
            ALL if metrics == ALL else metrics,
            row.count,
            self._histogram(row.durations),
            self._histogram(row.received),
            self._histogram(row.sent),
        )
        for at, exemplar in row.exemplars.items():
            if (
                not 0 <= at <= len(BUCKETS)
                or not _TRACE.fullmatch(exemplar.trace_id)
                or not isfinite(exemplar.value)
                or not 0 <= exemplar.at < _MOST_GAUGE
            ):
                raise ValueError(exemplar)
        series.duration.exemplars = row.exemplars
        return series

    def _histogram(self, short: tuple[list[int], float]) -> Histogram:
        counts, total = short
        missing = len(BUCKETS) + 1 - len(counts)
        if missing < 0 or not 0 <= total < float("inf"):
            raise ValueError(short)
        if counts and not 0 <= min(counts) <= max(counts) <= self._most:
            raise ValueError(short)
        return Histogram(counts + [0] * missing, total)

    def _labels_of(self, numbers: tuple[int, ...]) -> Labels:
        found = self._labels.get(numbers)
        if found is None:
            names = list(map(self._text, numbers[::2]))
            values = map(self._text, numbers[1::2])
            found = tuple(sorted(zip(names, values, strict=True)))
            if len(set(names)) < len(names) or len(names) > _MOST_LABELS:
                raise ValueError(names)
            if not all(map(_LABEL.fullmatch, names)):
                raise ValueError(names)
            if self._correct is not None:
                found = self._correct(found)
            self._labels[numbers] = found
        return found

    def _text(self, number: int) -> str:
        if number < 0:
            raise IndexError(number)
        return self._texts[number]


def decode(data: bytes) -> Counted | None:
    """Return what one file says; None: it is none, or of a format that is not known here."""
    return Reading().decode(data)
