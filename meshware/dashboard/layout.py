"""Where nodes are drawn: callers left, called right, few crossings, and nobody moves who was there.

Layers are the longest paths through the graph of strongly connected parts, so that a cycle of
services shares its layer. Within a layer nodes are ordered by the mean place of their neighbours,
some times to and fro. A node that had a place keeps it as long as it lives, and newcomers take
free ones, nearest to where they belong.

Source: Sugiyama, Tagawa and Toda 1981 for the barycentre ordering; networkx for the layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Place", "lay_out"]

_LAYER_GAP = 3.0  # between layers, where a node is about 1 wide
_ROW_GAP = 1.5
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is."""

    x: float
    y: float
    layer: int


def lay_out(
    nodes: Iterable[str],
    edges: Iterable[tuple[str, str]],
    kept: Mapping[str, Place] | None = None,
) -> dict[str, Place]:
    """Return a place for each node.

    Args:
        nodes: ids.
        edges: pairs of source and target; both are among the nodes.
        kept: places that nodes have already.
    """
    names = sorted(set(nodes))
    pairs = sorted({pair for pair in edges if pair[0] != pair[1]})
    live = set(names)
    old = {name: place for name, place in (kept or {}).items() if name in live}
    if len(old) == len(names):
        return old
    layers = _layers(names, pairs)
    order = _ordered(names, pairs, layers)
    if not old:
        return {
            name: Place(layer * _LAYER_GAP, _middled(row, len(order[layer])), layer)
            for layer in order
            for row, name in enumerate(order[layer])
        }
    places = dict(old)
    taken = {(place.layer, round(place.y / (_ROW_GAP / 2))) for place in old.values()}
    for layer, row_names in order.items():
        for row, name in enumerate(row_names):
            if name not in places:
                step = _free(taken, layer, round(_middled(row, len(row_names)) / (_ROW_GAP / 2)))
                places[name] = Place(layer * _LAYER_GAP, step * _ROW_GAP / 2, layer)
    return places


def _middled(row: int, count: int) -> float:
    return (row - (count - 1) / 2) * _ROW_GAP


def _free(taken: set[tuple[int, int]], layer: int, wanted: int) -> int:
    """Take the nearest free half row that has no neighbour less than a row away."""
    distance = 0
    while True:
        for step in (wanted + distance, wanted - distance):
            if not {(layer, step - 1), (layer, step), (layer, step + 1)} & taken:
                taken.add((layer, step))
                return step
        distance += 1


def _layers(names: list[str], pairs: list[tuple[str, str]]) -> dict[str, int]:
    import networkx

    graph: Any = networkx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(pairs)
    parts = networkx.condensation(graph)
    found: dict[str, int] = {}
    for layer, generation in enumerate(networkx.topological_generations(parts)):
        for part in generation:
            for name in parts.nodes[part]["members"]:
                found[name] = layer
    return found


def _ordered(
    names: list[str], pairs: list[tuple[str, str]], layers: Mapping[str, int]
) -> dict[int, list[str]]:
    """Return the nodes of each layer from top to bottom."""
    before: dict[str, list[str]] = {name: [] for name in names}
    after: dict[str, list[str]] = {name: [] for name in names}
    for source, target in pairs:
        before[target].append(source)
        after[source].append(target)
    order: dict[int, list[str]] = {}
    for name in names:
        order.setdefault(layers[name], []).append(name)
    order = dict(sorted(order.items()))
    at = {
        name: _middled(row, len(row_)) for row_ in order.values() for row, name in enumerate(row_)
    }

    for sweep in range(_SWEEPS):
        neighbours = after if sweep % 2 else before
        for layer in sorted(order, reverse=bool(sweep % 2)):
            row_names = order[layer]
            wanted = {
                name: sum(at[other] for other in neighbours[name]) / len(neighbours[name])
                if neighbours[name]
                else at[name]
                for name in row_names
            }
            row_names.sort(key=lambda name, wanted=wanted: (wanted[name], name))  # type: ignore[misc]
            for row, name in enumerate(row_names):
                at[name] = _middled(row, len(row_names))
    return order
