"""Who calls whom, out of the daemon's answer: rows, sorted and filtered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshware.errors import SyncError
from meshware.legible import legible

__all__ = ["SORTS", "EdgeRow", "Edges", "chosen", "namespaces_of", "read_edges"]


class EdgeRow(msgspec.Struct, frozen=True, kw_only=True):
    """Calls from one service to another, over the window. None: nobody tells."""

    source: str  # "shop/productpage"
    destination: str  # "shop/reviews", "shop/reviews@v2", "outside/api.bank.example"
    source_namespace: str  # "" where it has none
    destination_namespace: str
    rate: float  # calls a second
    error_share: float  # 0 to 1: answered with 5xx, or not at all
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mtls: bool | None
    source_principal: str | None
    destination_principal: str | None
    attempts_rate: float | None  # tries a second
    attempts_per_call: float | None
    health: str  # "good", "warn", "bad" or "idle"
    is_version: bool = msgspec.field(name="version")  # a part of the edge to its service


class Edges(msgspec.Struct, frozen=True, kw_only=True):
    """The mesh at one moment."""

    at: float  # unix time
    generation: int | None  # of the published policy
    window_s: int  # what rates and percentiles are over
    edges: tuple[EdgeRow, ...]


class _Node(msgspec.Struct, frozen=True):
    id: str
    namespace: str
    kind: str


class _Edge(msgspec.Struct, frozen=True):
    source: str
    target: str
    rate: float
    error_share: float
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    mtls: bool | None
    health: str
    source_principal: str | None = None
    target_principal: str | None = None
    attempts_rate: float = 0.0


class _Answer(msgspec.Struct, frozen=True):
    at: float
    generation: int | None
    window_s: int
    nodes: list[_Node]
    edges: list[_Edge]


def read_edges(body: bytes) -> Edges:
    """Return what `/api/graph` answered.

    Raises:
        SyncError: it is something else.
    """
    try:
        answer = msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        why = legible(" ".join(str(error).split()))[:200]
        raise SyncError(f"that is no graph of a meshware daemon: {why}") from error
    nodes = {node.id: node for node in answer.nodes}
    rows = tuple(_row(edge, nodes) for edge in answer.edges)
    return Edges(at=answer.at, generation=answer.generation, window_s=answer.window_s, edges=rows)


def _row(edge: _Edge, nodes: dict[str, _Node]) -> EdgeRow:
    source, target = nodes.get(edge.source), nodes.get(edge.target)
    tries = edge.attempts_rate or None  # where there are calls and no tries, nobody counts them
    return EdgeRow(
        source=legible(edge.source),
        destination=legible(edge.target),
        source_namespace="" if source is None else legible(source.namespace),
        destination_namespace="" if target is None else legible(target.namespace),
        rate=edge.rate,
        error_share=edge.error_share,
        p50_ms=edge.p50_ms,
        p95_ms=edge.p95_ms,
        p99_ms=edge.p99_ms,
        mtls=edge.mtls,
        source_principal=None if not edge.source_principal else legible(edge.source_principal),
        destination_principal=None if not edge.target_principal else legible(edge.target_principal),
        attempts_rate=tries,
        attempts_per_call=tries / edge.rate if tries and edge.rate > 0 else None,
        health=legible(edge.health),
        is_version=target is not None and target.kind == "version",
    )


def _number(of: Callable[[EdgeRow], float | None]) -> Callable[[EdgeRow], Any]:
    """Return a key by which the largest come first, and what is not known last."""

    def key(row: EdgeRow) -> float:
        value = of(row)
        return float("inf") if value is None else -value

    return key


SORTS: dict[str, Callable[[EdgeRow], Any]] = {
    "source": lambda row: row.source,
    "destination": lambda row: row.destination,
    "rate": _number(lambda row: row.rate),
    "errors": _number(lambda row: row.error_share),
    "p50": _number(lambda row: row.p50_ms),
    "p95": _number(lambda row: row.p95_ms),
    "p99": _number(lambda row: row.p99_ms),
    "tries": _number(lambda row: row.attempts_per_call),
}
"""What rows may be sorted by, in the order of the columns: numbers from the largest down."""


def chosen(
    rows: Iterable[EdgeRow],
    *,
    sort: str = "rate",
    is_reversed: bool = False,
    namespace: str | None = None,
    has_versions: bool = False,
) -> list[EdgeRow]:
    """Return the rows to be shown, in their order.

    Args:
        rows: all there are.
        sort: a name of `SORTS`; equal ones go by name.
        is_reversed: the other way round.
        namespace: that one end is in; None: any.
        has_versions: also show which version of a service was called.
    """
    found = [
        row
        for row in rows
        if (has_versions or not row.is_version)
        and (namespace is None or namespace in (row.source_namespace, row.destination_namespace))
    ]
    found.sort(key=lambda row: (row.source, row.destination))
    found.sort(key=SORTS[sort], reverse=is_reversed)
    return found


def namespaces_of(rows: Iterable[EdgeRow]) -> list[str]:
    """Return all namespaces that have a part in calls."""
    found = {name for row in rows for name in (row.source_namespace, row.destination_namespace)}
    return sorted(found - {""})
