"""What is asked of history: which node or edge, and which time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshware.clock import Clock
from meshware.dashboard.graph import UNKNOWN, Graph
from meshware.dashboard.prometheus import HistoryError, Prometheus
from meshware.dashboard.promql import Selection, Span, of_edge, of_node

__all__ = ["MOST_S", "History", "selected"]

MOST_S = 31 * 24 * 3600
"""A question is of a month at the most."""

_NONE = "history longer than an hour is not kept here: start the daemon with --prometheus URL"


class History:
    """Answers questions of history.

    Args:
        prometheus: whom to ask; None: nobody is there.
        clock: the machine's.
    """

    def __init__(self, prometheus: Prometheus | None, clock: Clock) -> None:
        self._prometheus = prometheus
        self._clock = clock

    async def answer(self, asked: Mapping[str, str], graph: Graph) -> tuple[int, Any]:
        """Return status and answer; in place of the answer the reason why there is none.

        Args:
            asked: `id` of a node or edge, `from` and `to` in unix seconds.
            graph: as it is now; history is of what is in it.
        """
        if self._prometheus is None:
            return 404, _NONE
        span = _span(asked, int(self._clock.now().timestamp()))
        if isinstance(span, str):
            return 400, span
        selection = selected(asked.get("id", ""), graph)
        if selection is None:
            return 404, "there is no such node or edge now"
        try:
            return 200, {"series": await self._prometheus.series(selection, span)}
        except HistoryError as error:
            return 502, str(error)

    async def close(self) -> None:
        """Close connections."""
        if self._prometheus is not None:
            await self._prometheus.close()


def selected(name: str, graph: Graph) -> Selection | None:
    """Return the calls of a node or edge by its id; None: there is none."""
    edge = graph.edges.get(name)
    if edge is not None:
        return of_edge(edge)
    node = graph.nodes.get(name)
    if node is None:
        return None
    into = [each for each in graph.edges.values() if each.target.id == name]
    has_unknown = any(each.source.id == UNKNOWN for each in into)
    return of_node(node, is_called=bool(into), has_unknown=has_unknown)


def _span(asked: Mapping[str, str], now: int) -> Span | str:
    times = [asked.get("from", ""), asked.get("to", "")]
    if not all(text.isascii() and text.isdigit() and len(text) <= 11 for text in times):
        return "from and to are unix seconds"
    start, end = map(int, times)
    end = min(end, now)
    if not 0 < end - start <= MOST_S:
        return f"from is before to, by {MOST_S} s at the most"
    return Span.between(start, end)
