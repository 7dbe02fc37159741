"""The pieces that every part of an Envoy configuration is made of: durations, shares, types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import Percent

__all__ = [
    "ClusterKey",
    "Json",
    "Say",
    "any_of",
    "cluster_name",
    "duration",
    "fraction",
    "is_presence",
    "path_config",
    "string_match",
]

Json = dict[str, Any]
"""One JSON object, as Envoy reads it."""

Say = Callable[[str, str], None]
"""Take a warning: the resource that it is about (`VirtualService shop/orders`), and a sentence."""

ClusterKey = tuple[str, int, str]
"""Host, port and subset (`""` for none) of a destination."""

_MILLION = 1_000_000
_TYPE = "type.googleapis.com/"


def any_of(kind: str, **fields: Any) -> Json:
    """Return a message with its type, as it stands where Envoy takes any."""
    return {"@type": _TYPE + kind, **fields}


def duration(seconds: float) -> str:
    """Return seconds as protobuf's JSON writes them: `1.500s`."""
    nanos = round(seconds * 1_000_000_000)
    whole, rest = divmod(nanos, 1_000_000_000)
    return f"{whole}.{rest:09d}".rstrip("0").rstrip(".") + "s"


def fraction(percentage: Percent | None, absent: float = 0.0) -> Json:
    """Return a share in millionths, truncated as Istio does.

    Args:
        percentage: as written, 0 to 100.
        absent: what holds where there is none.
    """
    value = absent if percentage is None or percentage.value is None else percentage.value
    return {"numerator": int(value * (_MILLION // 100)), "denominator": "MILLION"}


def cluster_name(key: ClusterKey) -> str:
    """Return Istio's name of an outbound cluster: `outbound|80|v1|orders.example.com`."""
    host, port, subset = key
    return f"outbound|{port}|{subset}|{host}"


def path_config(path: str) -> Json:
    """Return a source that is a file, read again when another one is moved into its place."""
    return {"path_config_source": {"path": path}, "resource_api_version": "V3"}


def is_presence(match: StringMatch) -> bool:
    """Say whether a match only asks for something to be there. Source: Istio, `{}` and `*`."""
    if match.regex is not None:
        return match.regex == "*"
    return match.exact is None and match.prefix is None


def string_match(match: StringMatch) -> Json:
    """Return a StringMatcher. An empty prefix, which Envoy refuses, becomes a regex of anything."""
    if match.exact is not None:
        return {"exact": match.exact}
    if match.prefix is not None:
        return {"prefix": match.prefix} if match.prefix else {"safe_regex": {"regex": ".*"}}
    return {"safe_regex": {"regex": match.regex or ".*"}}
