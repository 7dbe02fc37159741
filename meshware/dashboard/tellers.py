"""Count a call once where its two ends tell of it in different seconds.

Of an edge what sources tell is taken, and what destinations tell only as long as no source does:
`dashboard.graph`. But each worker tells in its own second. Of a pair that has never called before,
the destination may be heard first, and is believed; a second later the source tells of the same
calls. So what destinations told of an edge in the last seconds is taken off what its source tells
when it is first heard.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field

from meshware.dashboard.graph import Graph

__all__ = ["Tellers"]

_TICKS = 5  # workers tell each second, and are heard by the second one after that


@dataclass(slots=True)
class _Heard:
    """What destinations told of an edge, second by second; how long its source tells by now."""

    rows: deque[array[float]] = field(default_factory=lambda: deque(maxlen=_TICKS))
    left: array[float] | None = None  # to be taken off, since the source is heard
    ticks: int = 0


class Tellers:
    """Remembers who told of each edge. Not for several threads."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def once(self, graph: Graph) -> dict[str, array[float]]:
        """Return the increases of each edge, without those that were told of before.

        Args:
            graph: the increases of one tick.
        """
        heard: dict[str, _Heard] = {}
        rows: dict[str, array[float]] = {}
        for name, edge in graph.edges.items():
            row = edge.counts
            known = self._heard.get(name)
            if not edge.is_of_source:
                known = known or _Heard()
                known.rows.append(row)
                heard[name] = known
            elif known is not None:
                row, is_done = _taken_off(known, row)
                if not is_done:
                    heard[name] = known
            rows[name] = row
        self._heard = heard
        return rows


def _taken_off(known: _Heard, row: array[float]) -> tuple[array[float], bool]:
    """Return what a source tells that is new, and whether nothing is left to be taken off."""
    if known.left is None:
        known.left = array("d", map(sum, zip(*known.rows, strict=True)))
    known.ticks += 1
    new = array("d", (max(a - b, 0.0) for a, b in zip(row, known.left, strict=True)))
    known.left = array("d", (max(b - a, 0.0) for a, b in zip(row, known.left, strict=True)))
    return new, known.ticks >= _TICKS or not any(known.left)
