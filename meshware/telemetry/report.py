"""What one worker has counted, as it is written beside its report.

The file is one object of MessagePack. Texts stand in it once, and everything else refers to them by
number; buckets that are empty at the end are left out. It is a claim like every report: whoever
reads it bounds its size, and says itself whose side of a call the worker is on.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshware.telemetry.series import BUCKETS, Exemplar, Histogram, Labels, Series, Store

__all__ = ["MAX_BYTES", "METRICS_FORMAT", "Counted", "decode", "encode"]

METRICS_FORMAT = 1

MAX_BYTES = 8 * 1024 * 1024
"""No file is longer; the daemon reads no longer one."""

_MOST_TEXT = 512  # characters of a name or value


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
    return msgspec.msgpack.encode(
        _File(METRICS_FORMAT, tuple(numbers), rows, counters, held, store.left_out)
    )


def decode(data: bytes) -> Counted | None:
    """Return what a file says; None: it is none, or of a format that is not known here."""
    try:
        file = msgspec.msgpack.decode(data, type=_File)
        if file.meshware != METRICS_FORMAT or any(len(t) > _MOST_TEXT for t in file.texts):
            return None
        return _counted(file)
    except (msgspec.MsgspecError, IndexError, ValueError, RecursionError):
        return None


def _counted(file: _File) -> Counted:
    texts = file.texts

    def text(number: int) -> str:
        if number < 0:
            raise IndexError(number)
        return texts[number]

    def labels(numbers: tuple[int, ...]) -> Labels:
        names = map(text, numbers[::2])
        return tuple(sorted(zip(names, map(text, numbers[1::2]), strict=True)))

    def whole(short: tuple[list[int], float]) -> Histogram:
        counts, total = short
        missing = len(BUCKETS) + 1 - len(counts)
        if missing < 0 or any(count < 0 for count in counts) or not total >= 0:
            raise ValueError(counts)
        return Histogram(counts + [0] * missing, total)

    series = []
    for row in file.rows:
        if row.count < 0:
            raise ValueError(row.count)
        one = Series(
            labels(row.labels),
            frozenset(map(text, row.metrics)),
            row.count,
            whole(row.durations),
            whole(row.received),
            whole(row.sent),
        )
        one.duration.exemplars = row.exemplars
        series.append(one)
    counters, gauges = (
        {(text(name), labels(numbers)): value for name, numbers, value in each}
        for each in (file.counters, file.gauges)
    )
    if any(not value >= 0 for value in counters.values()) or file.left_out < 0:
        raise ValueError("a counter is below nothing")
    return Counted(series=tuple(series), counters=counters, gauges=gauges, left_out=file.left_out)
