"""How an endpoint is chosen: LoadBalancerSettings on a cluster, and hash policies on a route."""

from __future__ import annotations

from meshware.envoy.values import Json, duration
from meshware.policy.document.destination_rule import (
    ConsistentHash,
    HTTPCookie,
    LoadBalancerSettings,
)

__all__ = ["balancer", "hash_policy"]

_RING_SIZE = 1024  # Istio's minimumRingSize
_SIMPLE = {"ROUND_ROBIN": "ROUND_ROBIN", "RANDOM": "RANDOM"}
_SLOW_START_OF = {
    "LEAST_REQUEST": "least_request_lb_config",
    "ROUND_ROBIN": "round_robin_lb_config",
}


def balancer(written: LoadBalancerSettings | None) -> Json:
    """Return the fields of a cluster that choose an endpoint.

    Args:
        written: the policy's; None: least request.
    """
    if written is None:
        return {"lb_policy": "LEAST_REQUEST"}
    hashing = written.consistent_hash
    if hashing is not None:
        if hashing.maglev is not None:
            size = hashing.maglev.table_size
            table = {"maglev_lb_config": {"table_size": str(size)}} if size else {}
            return {"lb_policy": "MAGLEV", **table}
        ring = hashing.ring_hash
        size = (ring.minimum_ring_size if ring else None) or hashing.minimum_ring_size
        least = {"minimum_ring_size": str(size or _RING_SIZE)}
        return {"lb_policy": "RING_HASH", "ring_hash_lb_config": least}
    chosen = _SIMPLE.get(written.simple or "", "LEAST_REQUEST")
    return {"lb_policy": chosen, **_slow_start(written, chosen)}


def _slow_start(written: LoadBalancerSettings, chosen: str) -> Json:
    field = _SLOW_START_OF.get(chosen)
    warmup = written.warmup
    window = warmup.duration if warmup is not None else written.warmup_duration_secs
    if field is None or not window:
        return {}
    config: Json = {"slow_start_window": duration(window)}
    if warmup is not None and warmup.aggression is not None:
        config["aggression"] = {
            "default_value": warmup.aggression,
            "runtime_key": "warmup.aggression",
        }
    if warmup is not None and warmup.minimum_percent is not None:
        config["min_weight_percent"] = {"value": warmup.minimum_percent}
    return {field: {"slow_start_config": config}}


def hash_policy(written: ConsistentHash | None) -> Json | None:
    """Return what is hashed of a request; None: nothing."""
    if written is None:
        return None
    if written.http_header_name:
        return {"header": {"header_name": written.http_header_name}}
    if written.http_cookie is not None:
        return {"cookie": _cookie(written.http_cookie)}
    if written.use_source_ip:
        return {"connection_properties": {"source_ip": True}}
    if written.http_query_parameter_name:
        return {"query_parameter": {"name": written.http_query_parameter_name}}
    return None


def _cookie(cookie: HTTPCookie) -> Json:
    found: Json = {"name": cookie.name}
    if cookie.ttl is not None:
        found["ttl"] = duration(cookie.ttl)
    if cookie.path:
        found["path"] = cookie.path
    if cookie.attributes:
        found["attributes"] = [
            {"name": attribute.name, "value": attribute.value or ""}
            for attribute in cookie.attributes
        ]
    return found
