"""What keeps a caller at one endpoint: the hash of a part of its call, and the cookie it is given.

Source: Envoy, `HashPolicyImpl`; Istio ConsistentHashLB.
Differs from Istio: by source address means the address of this workload, as behind its sidecar, so
all of its calls go to one endpoint.
"""

from __future__ import annotations

from random import Random

from meshware.call import RequestHead
from meshware.policy.hash_rule import HashRule
from meshware.policy.hash_table import xxh64

__all__ = ["hash_of"]


def hash_of(
    rule: HashRule, head: RequestHead, own_address: str, rng: Random
) -> tuple[int | None, str | None]:
    """Return the hash of a call, and the `Set-Cookie` that its caller is given.

    Args:
        rule: what is hashed.
        head: the call.
        own_address: where this workload is, or its name where that is not known.
        rng: makes the value of a cookie.

    Returns:
        None for a hash: the call has no such part, and any endpoint will do.
    """
    if rule.header is not None:
        # The order in which a header's lines stand means nothing to the choice.
        return _hash("".join(sorted(head.headers(rule.header)))), None
    if rule.query is not None:
        return _hash(_query_value(head.target, rule.query)), None
    if rule.is_source:
        return _hash(own_address), None
    if rule.cookie is None:
        return None, None
    value = _cookie_value(head, rule.cookie.name)
    if value or rule.cookie.made is None:
        return _hash(value), None
    value = f"{rng.getrandbits(64):016x}"
    return _hash(value), f'{rule.cookie.name}="{value}"{rule.cookie.made}'


def _hash(text: str) -> int | None:
    return xxh64(text.encode("utf-8", "surrogateescape")) if text else None


def _query_value(target: str, name: str) -> str:
    query = target.partition("?")[2].partition("#")[0]
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key == name:
            return value
    return ""


def _cookie_value(head: RequestHead, name: str) -> str:
    for line in head.headers("cookie"):
        for pair in line.split(";"):
            key, _, value = pair.partition("=")
            if key.strip(" ") == name:
                return value.strip(" ").strip('"')
    return ""
