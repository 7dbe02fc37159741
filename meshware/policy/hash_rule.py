"""Which part of a call is hashed to find its endpoint: ConsistentHash with its defaults.

Source: Istio LoadBalancerSettings.ConsistentHashLB; Envoy HashPolicy.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshware.policy.document.destination_rule import ConsistentHash, HTTPCookie

__all__ = ["RING_SIZE", "TABLE_SIZE", "Cookie", "HashRule", "compile_hash"]

RING_SIZE = 1024  # Istio's minimumRingSize
TABLE_SIZE = 65537  # Envoy's Maglev table


@dataclass(frozen=True, slots=True)
class Cookie:
    """The cookie that keeps a caller at one endpoint."""

    name: str
    made: str | None  # what follows the value of one that is made; None: none is made


@dataclass(frozen=True, slots=True, kw_only=True)
class HashRule:
    """What is hashed, and into which table. Of header, query, cookie and source one is set."""

    header: str | None = None  # lower case
    query: str | None = None
    cookie: Cookie | None = None
    is_source: bool = False
    is_maglev: bool = False
    size: int = RING_SIZE


def compile_hash(written: ConsistentHash | None) -> HashRule | None:
    """Return the rule of a load balancer; None: it does not hash."""
    if written is None:
        return None
    ring = written.ring_hash
    size = (ring.minimum_ring_size if ring is not None else None) or written.minimum_ring_size
    return HashRule(
        header=written.http_header_name.lower() if written.http_header_name else None,
        query=written.http_query_parameter_name or None,
        cookie=_cookie(written.http_cookie) if written.http_cookie is not None else None,
        is_source=bool(written.use_source_ip),
        is_maglev=written.maglev is not None,
        size=(written.maglev.table_size or TABLE_SIZE) if written.maglev else size or RING_SIZE,
    )


def _cookie(written: HTTPCookie) -> Cookie:
    if written.ttl is None:
        return Cookie(written.name, None)
    parts = [f"Max-Age={int(written.ttl)}"] if written.ttl else []  # 0s: until the browser closes
    if written.path:
        parts.append(f"Path={written.path}")
    for attribute in written.attributes or ():
        parts.append(f"{attribute.name}={attribute.value}" if attribute.value else attribute.name)
    parts.append("HttpOnly")
    return Cookie(written.name, "".join(f"; {part}" for part in parts))
