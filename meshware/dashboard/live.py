"""The graph as it is now, and those who watch it: looked at once a second, for all readers alike.

Each reader has a bounded queue. Who does not read as fast as news come is dropped, and never waited
for: the page connects anew and fetches everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from meshware.dashboard.data import Console, Counted
from meshware.dashboard.endpoints import Endpoints
from meshware.dashboard.graph import Edge, Graph, health_of, read_graph
from meshware.dashboard.layout import Place, lay_out
from meshware.dashboard.tellers import Tellers
from meshware.dashboard.unnamed import Unnamed
from meshware.dashboard.window import Figures, Rises, Window, figures_of

__all__ = ["Live", "Reader", "TooManyError", "to_mend"]

_MOST_READERS = 32
_MOST_WAITING = 32  # events of one reader


class TooManyError(Exception):
    """So many watch that nobody else can."""


class Reader:
    """One who watches."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[bytes] = asyncio.Queue(_MOST_WAITING)
        self.dropped = asyncio.Event()

    def tell(self, event: bytes) -> None:
        """Queue an event, or drop the reader, without waiting."""
        try:
            self.events.put_nowait(event)
        except asyncio.QueueFull:
            self.dropped.set()


class Live:
    """Everything that is told of the graph. Of one event loop.

    Args:
        console: what the daemon knows.
        now: unix time in seconds.
    """

    def __init__(self, console: Console, now: Callable[[], float]) -> None:
        self._console = console
        self._now = now
        self._rises = Rises()
        self._unnamed = Unnamed()
        self.endpoints = Endpoints()
        self._tellers = Tellers()
        self.window = Window()
        self.graph = Graph()
        self._places: dict[str, Place] = {}
        self._readers: set[Reader] = set()
        self._told: dict[str, Any] = {}
        self._generation: int | None = None
        self._refused: Any = None
        self._calls_seen: int | None = None  # None: nobody watches yet

    # --- once a second ------------------------------------------------------------------------

    def tick(self, seconds: int = 1, counted: Counted | None = None) -> None:
        """Look at everything, and tell readers what is new.

        Args:
            seconds: since the last time.
            counted: what the console returned; None: it is asked now.
        """
        counted = self._console.counted() if counted is None else counted
        told = read_graph(self._rises.of(counted.samples))
        found = self._unnamed.settle(told, seconds)
        self.endpoints.look(counted.endpoints, seconds)
        is_other = found.nodes.keys() != self.graph.nodes.keys() or (
            found.edges.keys() != self.graph.edges.keys()
        )
        self.graph = found
        self.window.add(self._tellers.once(found), seconds)
        if is_other:
            pairs = [(edge.source.id, edge.target.id) for edge in found.edges.values()]
            self._places = lay_out(found.nodes, pairs, self._places)
        if not self._readers:
            return
        generation, policy = self._console.generation(), self._console.policy()
        said = {"at": self._now(), "generation": generation, "findings": to_mend(policy)}
        self._tell("tick", said)
        if is_other:
            self._tell("layout", {})
        self._tell_numbers()
        if (generation, policy["refused"]) != (self._generation, self._refused):
            self._generation, self._refused = generation, policy["refused"]
            self._tell("policy", {"generation": generation})
        self._tell_calls()

    def _tell_calls(self) -> None:
        """Tell that calls were refused or failed: how many, and the newest of them."""
        told = self._console.remembered()
        before, self._calls_seen = self._calls_seen, told.seen
        # The first who watches may have fetched them a moment ago: none of them is new to it, but
        # it is to look once more.
        new = [] if before is None else [call for call in told.calls if call["seen"] > before]
        if new or (told.calls and before is None):
            self._tell("call", {"count": len(new), "newest": told.calls[0]})

    def _tell_numbers(self) -> None:
        whole = self.view(60)
        nodes = [[n["id"], n["rate"], n["error_share"], n["health"]] for n in whole["nodes"]]
        keys = ("id", "rate", "error_share", "p50_ms", "p95_ms", "p99_ms", "health")
        edges = [[edge[key] for key in keys] for edge in whole["edges"]]
        now = {f"n{row[0]}": row for row in nodes} | {f"e{row[0]}": row for row in edges}
        nodes = [row for row in nodes if self._told.get(f"n{row[0]}") != row]
        edges = [row for row in edges if self._told.get(f"e{row[0]}") != row]
        self._told = now
        if nodes or edges:
            self._tell("graph", {"nodes": nodes, "edges": edges})

    def _tell(self, kind: str, data: object) -> None:
        event = b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
        for reader in self._readers:
            reader.tell(event)

    # --- readers ------------------------------------------------------------------------------

    @property
    def is_watched(self) -> bool:
        """Whether there is a reader."""
        return bool(self._readers)

    def join(self) -> Reader:
        """Return a new reader.

        Raises:
            TooManyError: there are as many as may be.
        """
        if len(self._readers) >= _MOST_READERS:
            raise TooManyError
        reader = Reader()
        if not self._readers:
            self._calls_seen = None
        self._readers.add(reader)
        self._told = {}  # the newcomer has fetched no numbers yet
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        self._readers.discard(reader)

    # --- what is asked ------------------------------------------------------------------------

    def view(self, window_s: int) -> dict[str, Any]:
        """Return the whole graph with what the last seconds come to."""
        totals, seconds = self.window.totals(window_s)
        at_node: dict[str, list[float]] = {name: [0.0, 0.0] for name in self.graph.nodes}
        called = {edge.target.id for edge in self.graph.edges.values()}
        edges = []
        for name, edge in self.graph.edges.items():
            figures = figures_of(totals.get(name, ()) or (0.0, 0.0, 0.0), seconds)
            edges.append(_edge(name, edge, figures))
            # A node is as well as its answers; who only calls, as the answers it gets.
            ends = (
                {edge.target.id} if edge.source.id in called else {edge.target.id, edge.source.id}
            )
            for end in ends:
                at_node[end][0] += figures.rate
                at_node[end][1] += figures.rate * figures.error_share
        nodes = []
        for name, node in self.graph.nodes.items():
            rate, errors = at_node[name]
            share = errors / rate if rate else 0.0
            place = self._places[name]
            nodes.append(
                {
                    "id": name,
                    "name": node.name,
                    "namespace": node.namespace,
                    "kind": node.kind,
                    "version": node.version,
                    "x": place.x,
                    "y": place.y,
                    "layer": place.layer,
                    "health": health_of(rate, share),
                    "rate": rate,
                    "error_share": share,
                }
            )
        return {
            "at": self._now(),
            "generation": self._console.generation(),
            "window_s": seconds,
            "nodes": nodes,
            "edges": edges,
        }

    def edges_of(self, node: str) -> list[str]:
        """Return the edges into a node, or out of it where nobody calls it."""
        into = [name for name, edge in self.graph.edges.items() if edge.target.id == node]
        return into or [name for name, edge in self.graph.edges.items() if edge.source.id == node]

    def series(self, edges: list[str], window_s: int) -> dict[str, Any]:
        """Return what edges together come to, step by step."""
        step_s, steps = self.window.series(edges, window_s)
        # Who attempts does not know which version will answer.
        kinds = {self.graph.edges[name].target.kind for name in edges if name in self.graph.edges}
        has_attempts = kinds != {"version"}
        return {
            "step_s": step_s,
            "start": self._now() - step_s * len(steps),
            "rate": [step.rate for step in steps],
            "error_share": [step.error_share for step in steps],
            "p50_ms": [step.p50_ms for step in steps],
            "p95_ms": [step.p95_ms for step in steps],
            "p99_ms": [step.p99_ms for step in steps],
            "attempts": [step.attempts_rate * step_s if has_attempts else None for step in steps],
            "calls": [step.calls for step in steps],
        }


def _edge(name: str, edge: Edge, figures: Figures) -> dict[str, Any]:
    return {
        "id": name,
        "source": edge.source.id,
        "target": edge.target.id,
        "rate": figures.rate,
        "error_share": figures.error_share,
        "p50_ms": figures.p50_ms,
        "p95_ms": figures.p95_ms,
        "p99_ms": figures.p99_ms,
        "mtls": edge.mtls,
        "source_principal": edge.source_principal,
        "target_principal": edge.target_principal,
        "health": health_of(figures.rate, figures.error_share),
        "attempts_rate": figures.attempts_rate,
    }


def to_mend(policy: Mapping[str, Any]) -> int:
    """Return how much there is to mend: findings, and problems of policy that was refused."""
    refused = policy["refused"]
    return len(policy["findings"]) + (max(len(refused["problems"]), 1) if refused else 0)
