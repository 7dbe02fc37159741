"""Who calls whom: edges and nodes out of the labels of series.

A call between two workers of the mesh is told of twice, by its source and by its destination. For
each edge what sources tell is taken, for they also saw the calls that never arrived; where no
source tells anything (a caller without the mesh), what the destination tells.

Source: Kiali's choice of reporters, and the labels of Istio's standard metrics.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from meshware.dashboard.data import Sample
from meshware.dashboard.window import ATTEMPTS, REQUESTS, counts_of

__all__ = [
    "UNKNOWN",
    "Edge",
    "Graph",
    "Kind",
    "Node",
    "edge_id",
    "health_of",
    "read_graph",
    "with_edges",
]

Kind = Literal["service", "version", "outside", "unknown", "ingress"]
Health = Literal["good", "warn", "bad", "idle"]

UNKNOWN = "unknown"
_NOWHERE = frozenset({"", UNKNOWN})
_PASSING = frozenset({"BlackHoleCluster", "PassthroughCluster", "InboundPassthroughCluster"})

# Flags of calls whose last attempt no destination has seen. Source: Envoy, response flags.
_LOST = frozenset({"UF", "UH", "UO", "NR", "NC"})

# Source: Kiali's defaults for HTTP: degraded from 0.1 % of 5xx, failing from 10 %.
_WARN, _BAD = 0.001, 0.1


@dataclass(frozen=True, slots=True)
class Node:
    """A service, one of its versions, or whoever else has a part in calls."""

    id: str  # "ns/service", "ns/service@version", "outside/host", "unknown"
    name: str
    namespace: str
    kind: Kind
    version: str | None = None


@dataclass(slots=True)
class Edge:
    """Calls from one node to another."""

    source: Node
    target: Node
    counts: array[float]  # row of `window.counts_of`
    mtls: bool | None = None  # None: nobody says; False: some calls are without
    source_principal: str | None = None
    target_principal: str | None = None
    is_of_source: bool = False  # told by who called, and not by who was called

    @property
    def id(self) -> str:
        """The edge's name."""
        return edge_id(self.source, self.target)


@dataclass(frozen=True, slots=True)
class Graph:
    """What all series come to.

    Attributes:
        nodes: by id.
        edges: by id.
        told: attempts by the service they went to: those that sources tell less those whose caller
            the destination names. `unnamed` finds them among those from unknown.
        hosts: of the services, by their ids.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: dict[str, Edge] = field(default_factory=dict)
    told: Mapping[str, float] = field(default_factory=dict)
    hosts: Mapping[str, set[str]] = field(default_factory=dict)


def edge_id(source: Node, target: Node) -> str:
    """Return the name of an edge."""
    return f"{source.id}->{target.id}"


def health_of(rate: float, error_share: float) -> Health:
    """Return the colour of so many calls of which a share fails."""
    if rate <= 0:
        return "idle"
    if error_share >= _BAD:
        return "bad"
    return "warn" if error_share >= _WARN else "good"


def read_graph(samples: Iterable[Sample]) -> Graph:
    """Return nodes and edges of all series.

    A service of which several versions are called is followed by a node for each of them.
    """
    by_reporter: dict[str, dict[str, Edge]] = {"source": {}, "destination": {}}
    hosts: dict[str, set[str]] = {}
    lost: dict[str, float] = {}  # attempts that never arrived, by edge
    versions: dict[str, dict[str, dict[str, Edge]]] = {}
    listed = list(samples)
    owners = _owners(listed)
    for sample in listed:
        labels = sample.labels
        reporter = "source" if labels.get("reporter") == "source" else "destination"
        source, target = _source(labels), _target(labels)
        if source.id == UNKNOWN:
            source = owners.get(labels.get("source_principal", ""), source)
        _add(by_reporter[reporter], source, target, sample)
        host = _known(labels.get("destination_service"))
        if host is not None:
            hosts.setdefault(target.id, set()).add(host)
        if reporter == "source" and _LOST & set(labels.get("response_flags", "").split(",")):
            name = edge_id(source, target)
            lost[name] = lost.get(name, 0.0) + sample.requests
        version = labels.get("destination_version", "")
        if target.kind == "service" and version not in _NOWHERE:
            part = Node(f"{target.id}@{version}", target.name, target.namespace, "version", version)
            of_service = versions.setdefault(target.id, {"source": {}, "destination": {}})
            _add(of_service[reporter], target, part, sample)
    # A source wins per edge.
    edges = {**by_reporter["destination"], **by_reporter["source"]}
    for name, named in by_reporter["destination"].items():
        _prove(edges[name], named)
    for of_service in versions.values():
        merged = {**of_service["destination"], **of_service["source"]}
        for name, named in of_service["destination"].items():
            _prove(merged[name], named)
        if len(merged) > 1:
            edges.update(merged)
    told: dict[str, float] = {}
    for name, edge in by_reporter["source"].items():
        came = max(edge.counts[REQUESTS], edge.counts[ATTEMPTS]) - lost.get(name, 0.0)
        told[edge.target.id] = told.get(edge.target.id, 0.0) + max(came, 0.0)
    for edge in by_reporter["destination"].values():
        if edge.source.id != UNKNOWN:
            told[edge.target.id] = told.get(edge.target.id, 0.0) - edge.counts[REQUESTS]
    return with_edges(Graph(told=told, hosts=hosts), dict(sorted(edges.items())))


def _owners(samples: Iterable[Sample]) -> dict[str, Node]:
    """Return callers by the identity that is theirs alone.

    Several workloads may share an account, as versions of a service do. A destination then knows
    the identity and no workload, while sources say who they are.
    """
    found: dict[str, Node | None] = {}
    for sample in samples:
        labels = sample.labels
        principal = _known(labels.get("source_principal"))
        if labels.get("reporter") == "source" and principal is not None:
            node = _source(labels)
            before = found.setdefault(principal, node)
            if before != node:
                found[principal] = None
    return {name: node for name, node in found.items() if node is not None and node.id != UNKNOWN}


def with_edges(graph: Graph, edges: Mapping[str, Edge]) -> Graph:
    """Return a graph with these edges, and the nodes at their ends."""
    nodes: dict[str, Node] = {}
    for edge in edges.values():
        nodes[edge.source.id] = edge.source
        nodes[edge.target.id] = edge.target
    return replace(graph, nodes=nodes, edges=dict(edges))


def _add(edges: dict[str, Edge], source: Node, target: Node, sample: Sample) -> None:
    counts = counts_of(sample.requests, sample.errors, sample.attempts, sample.durations)
    name = edge_id(source, target)
    edge = edges.get(name)
    if edge is None:
        is_of_source = sample.labels.get("reporter") == "source"
        edge = edges[name] = Edge(source, target, counts, is_of_source=is_of_source)
    else:
        for index, value in enumerate(counts):
            edge.counts[index] += value
    labels = sample.labels
    security = labels.get("connection_security_policy", UNKNOWN)
    if security == "mutual_tls":
        edge.mtls = edge.mtls is not False
    elif security == "none":
        edge.mtls = False
    edge.source_principal = edge.source_principal or _known(labels.get("source_principal"))
    edge.target_principal = edge.target_principal or _known(labels.get("destination_principal"))


def _prove(edge: Edge, told: Edge) -> None:
    """Take from what a destination tells that which sources do not know: Istio's security label."""
    if edge.mtls is None:
        edge.mtls = told.mtls
    edge.source_principal = edge.source_principal or told.source_principal
    edge.target_principal = edge.target_principal or told.target_principal


def _known(text: str | None) -> str | None:
    return None if text is None or text in _NOWHERE else text


def _first_known(labels: Mapping[str, str], side: str) -> str | None:
    """Return what a workload is known by: its canonical service, else its app, else its name."""
    names = (f"{side}_{name}" for name in ("canonical_service", "app", "workload"))
    return next((labels[name] for name in names if _known(labels.get(name))), None)


def _source(labels: Mapping[str, str]) -> Node:
    name = _first_known(labels, "source")
    if name is None:
        return Node(UNKNOWN, UNKNOWN, "", "unknown")
    namespace = labels.get("source_workload_namespace", "")
    kind: Kind = "ingress" if "ingress" in name else "service"
    return Node(f"{namespace}/{name}", name, namespace, kind)


def _target(labels: Mapping[str, str]) -> Node:
    name = _known(labels.get("destination_service_name"))
    namespace = _known(labels.get("destination_service_namespace"))
    if name is not None and namespace is not None and name not in _PASSING:
        return Node(f"{namespace}/{name}", name, namespace, "service")
    host = _known(labels.get("destination_service")) or name
    if host is None:
        # Called by its address: the workload says which service that is, as it does as a caller.
        service = _first_known(labels, "destination")
        where = _known(labels.get("destination_workload_namespace"))
        if service is None or where is None:
            return Node(UNKNOWN, UNKNOWN, "", "unknown")
        return Node(f"{where}/{service}", service, where, "service")
    return Node(f"outside/{host}", host, "", "outside")
