"""Choose the endpoint of one attempt: by level and locality, by hash, or by the cluster's balancer.

A `Chooser` remembers whose turn it is and when it met an endpoint first. It is not safe to use from
several threads: the state of its cluster owns it, and holds its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from meshware.outbound.balance import Schedule, pick_least_loaded
from meshware.outbound.levels import choose_group, choose_level, loads
from meshware.outbound.outlier import OutlierState

if TYPE_CHECKING:
    from meshware.policy.clusters import Cluster, Endpoint
    from meshware.policy.hash_table import HashTable
    from meshware.policy.warmup import WarmupRule

__all__ = ["Chooser", "Wish", "untried"]

_GRAINS = 10_000  # in which a hash chooses among levels


class Wish(NamedTuple):
    """What one attempt asks of the balancers; see `ClusterState.take`."""

    tried: Sequence[str]
    rng: Random
    now: float
    hashed: int | None
    away_from: Collection[str]


class Chooser:
    """Whose turn it is in one cluster.

    Args:
        active: calls in flight by endpoint key, as they change.
        outlier: who is ejected.
    """

    __slots__ = ("_active", "_met", "_met_at", "_outlier", "_schedules")

    def __init__(self, active: Mapping[str, int], outlier: OutlierState) -> None:
        self._active = active
        self._outlier = outlier
        # Of weighted and round-robin balancers, one for each locality.
        self._schedules: dict[tuple[int, int], tuple[tuple[Endpoint, ...], Schedule]] = {}
        self._met: tuple[Endpoint, ...] = ()
        self._met_at: dict[str, float] = {}

    def choose(self, cluster: Cluster, wish: Wish) -> Endpoint | None:
        """Choose by level and locality where there are any, then by the balancer."""
        out: frozenset[str] = frozenset()
        rule, levels, hashed = cluster.outlier, cluster.levels, wish.hashed
        if cluster.warmup is not None and self._met is not cluster.endpoints:
            self._met = cluster.endpoints
            self._met_at = {key: self._met_at.get(key, wish.now) for key in cluster.keys}
        if levels is None:
            if rule is not None:
                out = self._outlier.ejected(cluster.keys, rule, wish.now)
            if cluster.table is not None and hashed is not None:
                return _belonging(cluster.table, hashed, out, wish.tried)
            endpoints = _without(cluster.endpoints, out)
            return self._balanced(cluster, endpoints, wish, is_weighted=cluster.is_weighted)
        if rule is not None:
            out = self._outlier.out(cluster.keys, rule, wish.now)
        avoided = [n for n, e in enumerate(levels) if not e.keys.isdisjoint(wish.away_from)]
        shares = loads(levels, out, rule.min_health_percent if rule else 0, avoided)
        drawn = wish.rng.random() if hashed is None else hashed % _GRAINS / _GRAINS
        chosen = choose_level(shares, drawn)
        if chosen is None:
            return None
        level = levels[chosen]
        if shares[chosen][1]:
            out = frozenset()  # panic
        if level.table is not None and hashed is not None:
            return _belonging(level.table, hashed, out, wish.tried)
        index = choose_group(level, out, wish.rng.random())
        if index is None:
            return None
        group = level.groups[index]
        endpoints = _without(group.endpoints, out)
        return self._balanced(
            cluster, endpoints, wish, is_weighted=group.is_weighted, turns=(chosen, index)
        )

    def _balanced(
        self,
        cluster: Cluster,
        endpoints: tuple[Endpoint, ...],
        wish: Wish,
        *,
        is_weighted: bool,
        turns: tuple[int, int] = (0, 0),
    ) -> Endpoint | None:
        """Have the balancer choose among endpoints of a locality."""
        if len(endpoints) <= 1:
            return endpoints[0] if endpoints else None
        rng, tried = wish.rng, _in_this_round(endpoints, wish.tried)
        if cluster.hash is not None or cluster.balance == "RANDOM":
            # Envoy: where there is no key to hash any will do; weights do not count.
            return rng.choice(untried(endpoints, tried))
        factor = self._warming(cluster.warmup, wish.now) if cluster.warmup else None
        if cluster.balance == "LEAST_REQUEST" and not is_weighted and factor is None:
            return pick_least_loaded(untried(endpoints, tried), self._active, rng)
        kept = self._schedules.get(turns)
        # Anew for other endpoints: one that comes back would have all its missed turns at once.
        if kept is None or (kept[0] is not endpoints and kept[0] != endpoints):
            kept = self._schedules[turns] = (endpoints, Schedule(endpoints, rng, factor))
        active = self._active if cluster.balance == "LEAST_REQUEST" else None
        return kept[1].next(tried, active, factor)

    def _warming(self, rule: WarmupRule, now: float) -> Callable[[str], float] | None:
        """Return what new endpoints' weights are multiplied by; None: nobody is new."""
        met_at = self._met_at
        if all(now - at >= rule.seconds for at in met_at.values()):
            return None
        return lambda key: rule.factor(now - met_at[key])


def _belonging(
    table: HashTable, hashed: int, out: frozenset[str], tried: Sequence[str]
) -> Endpoint | None:
    """Return the endpoint that a hash belongs to, one of those that are not out; None: all are."""
    if not tried:
        return table.find(hashed, out)
    return (
        table.find(hashed, out.union(tried))
        or table.find(hashed, out.union(tried[-1:]))  # all were tried: another round
        or table.find(hashed, out)
    )


def _without(endpoints: tuple[Endpoint, ...], out: frozenset[str]) -> tuple[Endpoint, ...]:
    return tuple([e for e in endpoints if e.key not in out]) if out else endpoints


def _in_this_round(endpoints: tuple[Endpoint, ...], tried: Sequence[str]) -> Sequence[str]:
    """Return whom to pass over: when all were tried only the last one, which failed just now."""
    if tried and all(endpoint.key in tried for endpoint in endpoints):
        return tried[-1:]
    return tried


def untried(endpoints: tuple[Endpoint, ...], tried: Sequence[str]) -> tuple[Endpoint, ...]:
    """Leave out what was tried, unless nothing would be left.

    Differs from Envoy, which redraws up to five times and may meet a tried endpoint all the same.
    """
    if not tried:
        return endpoints
    tried = _in_this_round(endpoints, tried)
    return tuple(e for e in endpoints if e.key not in tried) or endpoints
