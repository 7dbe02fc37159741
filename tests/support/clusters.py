"""Clusters as policy compiles them, made by hand."""

from __future__ import annotations

from meshware.policy.clusters import Balance, Cluster, Endpoint
from meshware.policy.limits import compile_limits
from meshware.policy.pool_rule import PoolRule


def endpoints(*weights: int) -> tuple[Endpoint, ...]:
    """Return one endpoint for each weight, named a, b, c and so on."""
    return tuple(
        Endpoint(f"10.0.0.{n}", 80, weight, "abcdefgh"[n]) for n, weight in enumerate(weights)
    )


def cluster(balance: Balance, *weights: int) -> Cluster:
    """Return a cluster of endpoints with these weights."""
    return Cluster(
        name="c",
        pool=PoolRule(name="c"),
        balance=balance,
        endpoints=endpoints(*weights),
        is_weighted=len(set(weights)) > 1,
        connect_timeout_s=10,
        keys=frozenset(endpoint.key for endpoint in endpoints(*weights)),
        limits=compile_limits(None, None),
        outlier=None,
        hash=None,
        table=None,
    )
