"""What one worker has counted, as it is written beside its report; `telemetry.reading` reads it.

The file is one object of MessagePack. Texts stand in it once, and everything else refers to them by
number; buckets that are empty at the end are left out.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from meshware.telemetry.series import Histogram, Labels, Series, Store

__all__ = [
    "MAX_BYTES",
    "METRICS_FORMAT",
    "MOST_TEXT",
    "Counted",
    "Gauges",
    "encode",
]

Gauges = dict[tuple[str, Labels], float]
"""What holds now, by name and labels."""

METRICS_FORMAT = 1

MAX_BYTES = 8 * 1024 * 1024
"""No file is longer; the daemon reads no longer one."""

MOST_TEXT = 512
"""Characters of a name or value."""


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
        return numbers.setdefault(text[:MOST_TEXT], len(numbers))

    def of(labels: Labels) -> tuple[int, ...]:
        return tuple(number(text) for pair in labels for text in pair)

    def short(histogram: Histogram) -> tuple[list[int], float]:
        counts = histogram.counts
        last = len(counts)
        while last and not counts[last - 1]:
            last -= 1
        return counts[:last], histogram.total

    rows = [
        (
            of(series.labels),
            tuple(number(name) for name in sorted(series.metrics)),
            series.count,
            short(series.duration),
            short(series.received),
            short(series.sent),
            *((series.duration.exemplars,) if series.duration.exemplars else ()),
        )
        for series in list(store.series.values())
    ]
    counters, held = (
        [(number(name), of(labels), value) for (name, labels), value in list(each.items())]
        for each in (store.counters, gauges)
    )
    file = {
        "meshware": METRICS_FORMAT,
        "texts": list(numbers),
        "rows": rows,
        "counters": counters,
        "gauges": held,
        "left_out": store.left_out,
    }
    try:
        return msgspec.msgpack.encode(file)
    except UnicodeEncodeError:  # half of a surrogate pair, in a text that an app has made
        file["texts"] = [text.encode(errors="replace").decode() for text in numbers]
    return msgspec.msgpack.encode(file)
