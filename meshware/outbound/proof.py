"""How an attempt proves who makes it: by its connection, or by tokens where TLS ends elsewhere."""

from __future__ import annotations

from meshware.call import ClientIdentity, RequestHead
from meshware.outbound.message import Message
from meshware.policy.clusters import Cluster
from meshware.policy.pool_rule import PoolRule

__all__ = ["pool_of", "proof_for"]

_NOTHING: tuple[tuple[str, str], ...] = ()


def pool_of(cluster: Cluster, endpoint: str) -> PoolRule:
    """Return the rule for connections to an endpoint, by its key."""
    pools = cluster.pools
    return cluster.pool if pools is None else pools.get(endpoint, cluster.pool)


def proof_for(
    cluster: Cluster,
    endpoint: str,
    head: RequestHead,
    message: Message,
    identity: ClientIdentity | None,
) -> tuple[tuple[str, str], ...]:
    """Return the headers that prove to an endpoint who calls; none where it takes no tokens."""
    audiences = cluster.audiences
    if audiences is None or identity is None:
        return _NOTHING
    audience = audiences.get(endpoint)
    if audience is None:
        return _NOTHING
    target = head.target if message.target is None else message.target
    return identity.proof(audience, head.method, target)
