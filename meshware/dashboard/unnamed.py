"""Calls that their destination cannot name, and that a source has told of already.

A call over plaintext is told of twice: by its source as `web -> hello`, and by its destination as
`unknown -> hello`, which counts each attempt that arrived. What sources have told, and destinations
have not named, is therefore taken off what comes from unknown: what is left has callers outside of
the mesh.

Theory of operation
-------------------
Both ends tell once a second, each in its own time, and a source only when the call is over, with
all its retries. So what is unknown is held for some seconds, and so is what sources have told; the
two cancel each other, the oldest first. What is then left of the unknown is shown, and what is left
of the other is forgotten: attempts that never arrived must not hide callers that come later.

An edge from unknown is drawn from the first call that was left, for as long as the hour has one:
it neither comes and goes, nor stands beside the edge that tells the same calls.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from meshware.dashboard.graph import UNKNOWN, Edge, Graph, with_edges
from meshware.dashboard.window import empty_row

__all__ = ["HOLD_S", "Cancelling", "Unnamed"]

HOLD_S = 5
"""Seconds: flushes of both ends, reads of the daemon, and a retry or two."""

_SHOWN_S = 3600  # the hour that is remembered
_NOTHING = 1e-6  # of a call: what rounding leaves


@dataclass(slots=True)
class Cancelling:
    """What is unknown at one service against what sources have told of it. No clock, no I/O.

    Attributes:
        told: attempts by second, the oldest first: those that sources told less those that the
            destination named. Below nought where the destination was first.
        held: rows of `window.counts_of` of what is unknown, likewise.
    """

    told: deque[float] = field(default_factory=deque)
    held: deque[array[float]] = field(default_factory=deque)

    def step(self, told: float, unknown: array[float]) -> array[float]:
        """Take up one second. Returns the row of a second long ago that nobody has told of."""
        self.told.append(told)
        self.held.append(array("d", unknown))
        left = sum(self.told)
        for row in self.held:
            if left <= _NOTHING:
                break
            left -= self._cancel(row, left)
        if len(self.held) <= HOLD_S:
            return empty_row()
        self.told.popleft()
        return self.held.popleft()

    def _cancel(self, row: array[float], most: float) -> float:
        """Take calls that were told off a row, and off what was told. Returns how many."""
        unknown = row[0]
        taken = min(unknown, most)
        if taken <= 0:
            return 0.0
        kept = 1 - taken / unknown if unknown - taken > _NOTHING else 0.0
        for index, value in enumerate(row):
            row[index] = value * kept
        wanted = taken
        for index, told in enumerate(self.told):
            used = min(max(told, 0.0), wanted)
            self.told[index] = told - used
            wanted -= used
        return taken


class Unnamed:
    """Does that for all services of a graph, second after second. Not for several threads."""

    def __init__(self) -> None:
        self._services: dict[str, Cancelling] = {}
        self._shown: dict[str, int] = {}  # seconds since something was left, by edge

    def settle(self, graph: Graph, seconds: int = 1) -> Graph:
        """Return a graph whose edges from unknown hold what nobody else tells.

        Args:
            graph: of what rose since the last time.
            seconds: since then.
        """
        unnamed = {name: e for name, e in graph.edges.items() if e.source.id == UNKNOWN}
        services: dict[str, Cancelling] = {}
        settled: dict[str, Edge] = {}
        for name, edge in unnamed.items():
            found = services[name] = self._services.get(name) or Cancelling()
            told = graph.told.get(edge.target.id, 0.0)
            counts = found.step(told, edge.counts)
            for _ in range(min(seconds - 1, HOLD_S)):  # nobody looked: those seconds had nothing
                _add(counts, found.step(0.0, empty_row()))
            settled[name] = replace(edge, counts=counts)
        self._services = services
        self._shown = self._still_shown(settled, seconds)
        edges: Mapping[str, Edge] = {
            name: settled.get(name, edge)
            for name, edge in graph.edges.items()
            if name not in settled or name in self._shown
        }
        return with_edges(graph, edges)

    def _still_shown(self, settled: Mapping[str, Edge], seconds: int) -> dict[str, int]:
        ages = {
            name: 0 if edge.counts[0] > _NOTHING else self._shown.get(name, _SHOWN_S) + seconds
            for name, edge in settled.items()
        }
        return {name: age for name, age in ages.items() if age < _SHOWN_S}


def _add(row: array[float], other: array[float]) -> None:
    for index, value in enumerate(other):
        row[index] += value
