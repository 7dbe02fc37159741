"""Which endpoints come first for one client, by where they are: levels, and shares within them.

A *level* is Envoy's priority: calls go to the first one while enough of its endpoints are well,
and spill over to the next by degrees. Within a level the endpoints of one locality form a *group*
with a weight. A locality is `region/zone/subzone`.

Source: Istio LocalityLoadBalancerSetting, `loadbalancer.go`; Envoy, "Priority levels", "Locality
weighted load balancing".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, NamedTuple

from meshware.policy.document.destination_rule import Failover, LocalityLbSetting

if TYPE_CHECKING:
    from meshware.policy.clusters import Endpoint
    from meshware.policy.hash_table import HashTable

__all__ = ["Group", "Level", "Located", "levels_of", "locality_labels", "matches_locality"]

_REGION = "topology.kubernetes.io/region"
_ZONE = "topology.kubernetes.io/zone"
_SUBZONE = "topology.istio.io/subzone"

_OTHER_REGION = 3


class Located(NamedTuple):
    """An endpoint, and what decides how far away it is."""

    endpoint: Endpoint
    locality: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """The endpoints of one locality within a level."""

    weight: int
    endpoints: tuple[Endpoint, ...]
    is_weighted: bool  # the endpoints' weights differ


@dataclass(frozen=True, slots=True)
class Level:
    """Endpoints that are equally near. Not empty."""

    groups: tuple[Group, ...]
    keys: frozenset[str]  # of all its endpoints
    table: HashTable | None = None  # where a hash chooses


def split_locality(written: str | None) -> tuple[str, str, str]:
    """Return region, zone and subzone; empty where nothing is said."""
    region, _, rest = (written or "").partition("/")
    zone, _, subzone = rest.partition("/")
    return region, zone, subzone


def locality_labels(locality: str | None) -> dict[str, str]:
    """Return a locality as the labels that `failoverPriority` may name. Source: Istio."""
    named = zip((_REGION, _ZONE, _SUBZONE), split_locality(locality), strict=True)
    return {name: value for name, value in named if value}


def matches_locality(locality: str | None, rule: str) -> bool:
    """Say whether a locality is one that a rule means; `*` and what is left out mean any."""
    here, wanted = split_locality(locality), split_locality(rule)
    if wanted[0] not in ("*", here[0]):
        return False
    return all(want in ("", "*", have) for have, want in zip(here[1:], wanted[1:], strict=True))


def levels_of(
    located: Sequence[Located],
    setting: LocalityLbSetting | None,
    *,
    fails_over: bool,
    locality: str | None,
    labels: Mapping[str, str],
) -> tuple[Level, ...] | None:
    """Sort the endpoints of a cluster by where they are.

    Args:
        located: the endpoints.
        setting: of the DestinationRule, else of the mesh; None: Istio's defaults.
        fails_over: whether endpoints may be ejected at all; without that there is no fail-over.
        locality: of the client.
        labels: of the client.

    Returns:
        None where locality changes nothing; empty where no endpoint may be called.
    """
    setting = setting or LocalityLbSetting()
    if setting.enabled is False:
        return None
    if setting.distribute:
        return _distributed(located, setting, locality)
    if not fails_over:
        return None
    if setting.failover_priority:
        own = {**labels, **locality_labels(locality)}
        wanted = [_wanted(written, own) for written in setting.failover_priority]
        distances = [_mismatch(each, wanted) for each in located]
    else:
        distances = [_distance(each, locality, setting.failover or ()) for each in located]
    if len(set(distances)) <= 1:
        return None
    by_distance: dict[int, list[Located]] = defaultdict(list)
    for distance, each in zip(distances, located, strict=True):
        by_distance[distance].append(each)
    return tuple(_level(by_distance[distance], None) for distance in sorted(by_distance))


# --- shares -----------------------------------------------------------------------------------


def _distributed(
    located: Sequence[Located], setting: LocalityLbSetting, locality: str | None
) -> tuple[Level, ...] | None:
    """Give each locality its share; those that no share names get no calls."""
    to = next(
        (
            entry.to or {}
            for entry in setting.distribute or ()
            if matches_locality(locality, entry.from_ or "")
        ),
        None,
    )
    if to is None:
        return None
    total: dict[str, int] = defaultdict(int)  # the endpoints' weights, by locality
    for each in located:
        total[each.locality] += each.endpoint.weight
    left, weights = dict(total), dict[str, int]()
    for pattern in sorted(to, key=_vagueness):
        covered = {name: left.pop(name) for name in list(left) if matches_locality(name, pattern)}
        for name, weight in covered.items():
            weights[name] = ceil(weight * to[pattern] / sum(covered.values()))
    chosen = [each for each in located if weights.get(each.locality)]
    return (_level(chosen, weights),) if chosen else ()


def _vagueness(pattern: str) -> tuple[int, str]:
    """Order the most exact patterns first."""
    return sum(part in ("", "*") for part in split_locality(pattern)), pattern


def _level(located: Sequence[Located], weights: Mapping[str, int] | None) -> Level:
    by_locality: dict[str, list[Endpoint]] = defaultdict(list)
    for each in located:
        by_locality[each.locality].append(each.endpoint)
    return Level(
        groups=tuple(
            Group(
                weight=weights[name] if weights is not None else sum(e.weight for e in endpoints),
                endpoints=tuple(endpoints),
                is_weighted=len({e.weight for e in endpoints}) > 1,
            )
            for name, endpoints in by_locality.items()
        ),
        keys=frozenset(each.endpoint.key for each in located),
    )


# --- distances --------------------------------------------------------------------------------


def _distance(each: Located, locality: str | None, failover: Sequence[Failover]) -> int:
    """Return 0 for the same subzone, 1 zone, 2 region, 3 another region, 4 one not failed over to.

    Source: Istio, `LbPriority`, `applyLocalityFailover`.
    """
    here, there = split_locality(locality), split_locality(each.locality)
    for common in (3, 2, 1):
        if here[:common] == there[:common]:
            return 3 - common
    for entry in failover:
        if entry.from_ == here[0]:
            return _OTHER_REGION if there[0] == entry.to else _OTHER_REGION + 1
    return _OTHER_REGION


def _wanted(written: str, own: Mapping[str, str]) -> tuple[str, str]:
    """Return a label of `failoverPriority` with its value: the client's, where none is written."""
    name, equals, value = written.partition("=")
    return name, value if equals else own.get(name, "")


def _mismatch(each: Located, wanted: Sequence[tuple[str, str]]) -> int:
    """Return how many labels do not count for an endpoint: those from the first that differs on."""
    labels = {**each.labels, **locality_labels(each.locality)}
    for index, (name, value) in enumerate(wanted):
        if labels.get(name, "") != value:
            return len(wanted) - index
    return 0
