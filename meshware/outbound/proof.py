"""How an attempt proves who makes it: by its connection, or by tokens where its endpoint asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from meshware.call import MessageEdit, RequestHead, Send
from meshware.policy.clusters import Cluster
from meshware.policy.pool_rule import PoolRule

__all__ = ["Prove", "pool_of", "proved"]

Prove = Callable[[str, str, str], tuple[tuple[str, str], ...] | None]
"""Return the headers that prove who calls an audience, with a method, at a target; None: nobody
can prove anything (yet). It never waits, and each result is good for one attempt."""

_HEADERS = frozenset({"workload-identity-token", "workload-proof-token"})


def pool_of(cluster: Cluster, endpoint: str) -> PoolRule:
    """Return the rule for connections to an endpoint, by its key."""
    pools = cluster.pools
    return cluster.pool if pools is None else pools.get(endpoint, cluster.pool)


def proved(send: Send, audience: str | None, head: RequestHead, prove: Prove | None) -> Send:
    """Return an attempt with its proof, fresh each time: one that was used is refused.

    What an app has put into those headers itself goes, even where nothing comes in its place: it
    speaks for nobody but its own workload, and the mesh does that.

    Args:
        send: the attempt.
        audience: who is expected to receive it; None: its endpoint takes no tokens.
        head: the call.
        prove: of this process; None: it has no identity.
    """
    if audience is None:
        return send
    headers = None
    if prove is not None:
        headers = prove(audience, head.method, send.target or head.target)
    edit = send.edit or MessageEdit(frozenset(), ())
    return replace(
        send,
        headers=(*_without(send.headers), *(headers or ())),
        edit=MessageEdit(edit.drop | _HEADERS, _without(edit.append)),
    )


def _without(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(pair for pair in headers if pair[0].lower() not in _HEADERS)
