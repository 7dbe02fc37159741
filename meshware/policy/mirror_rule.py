"""Which calls of a route are copied, and where to. Source: Istio HTTPRoute, `mirror`, `mirrors`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from meshware.policy.document.virtual_service import Destination, HTTPRoute, Percent
from meshware.policy.route_actions import per_million

__all__ = ["MirrorRule", "compile_mirrors", "mirrored"]

_ALL = 1_000_000


@dataclass(frozen=True, slots=True)
class MirrorRule:
    """One destination of copies."""

    key: tuple[str, int, str]  # of its cluster
    per_million: int


def mirrored(route: HTTPRoute) -> list[tuple[str, Destination, Percent | None]]:
    """Return the mirrors of a route: the field of each, where it leads, and its share."""
    found: list[tuple[str, Destination, Percent | None]] = []
    if route.mirror is not None:
        share = route.mirror_percentage
        older = route.mirror_percent
        older = route.mirror_percent_snake if older is None else older
        if share is None and older is not None:
            share = Percent(value=older)
        found.append(("mirror", route.mirror, share))
    for index, policy in enumerate(route.mirrors or ()):
        found.append((f"mirrors[{index}].destination", policy.destination, policy.percentage))
    return found


def compile_mirrors(
    route: HTTPRoute, key_of: Callable[[Destination], tuple[str, int, str]]
) -> tuple[MirrorRule, ...]:
    """Return where copies of a route's calls go; without a percentage it is all of them.

    Args:
        route: as written.
        key_of: returns the cluster of a destination.
    """
    rules = [
        MirrorRule(key_of(destination), _ALL if share is None else per_million(share))
        for _, destination, share in mirrored(route)
    ]
    return tuple(rule for rule in rules if rule.per_million > 0)
