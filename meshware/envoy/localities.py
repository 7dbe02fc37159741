"""Endpoints by locality: priorities of failover, shares of `distribute`.

Source: Istio, `loadbalancer.ApplyLocalityLoadBalancer`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from meshware.policy.document.destination_rule import Distribute, Failover, LocalityLbSetting
from meshware.policy.record_types import EndpointRecord

__all__ = ["Group", "groups"]


class Group(NamedTuple):
    """Endpoints of one locality and priority."""

    locality: str  # "region/zone/subzone", "" for none
    priority: int
    weight: int | None  # the locality's share; None: endpoints alone have weights
    endpoints: tuple[EndpointRecord, ...]


def groups(
    endpoints: Sequence[EndpointRecord],
    setting: LocalityLbSetting | None,
    own: str,
    labels: Mapping[str, str],
    *,
    fails_over: bool,
) -> list[Group]:
    """Return endpoints by locality, those that are never called left out.

    Args:
        endpoints: all of them.
        setting: the policy's.
        own: the client's locality, `""` where it is not known.
        labels: the client's.
        fails_over: endpoints may be ejected, without which there is no failover.
    """
    by_locality: dict[str, list[EndpointRecord]] = {}
    for endpoint in endpoints:
        by_locality.setdefault(endpoint.locality or "", []).append(endpoint)
    if setting is not None and setting.enabled is False:
        return [Group(name, 0, None, tuple(found)) for name, found in by_locality.items()]
    for rule in (setting.distribute if setting else None) or ():
        if own and _covers(rule.from_ or "*", own):
            return _distributed(by_locality, rule)
    if not fails_over:
        return [Group(name, 0, None, tuple(found)) for name, found in by_locality.items()]
    if setting is not None and setting.failover_priority:
        return _by_labels(by_locality, setting.failover_priority, labels)
    if not own:
        return [Group(name, 0, None, tuple(found)) for name, found in by_locality.items()]
    ranks = {
        name: _rank(own, name, (setting.failover if setting else None) or ())
        for name in by_locality
    }
    return _compacted([Group(name, ranks[name], None, tuple(f)) for name, f in by_locality.items()])


def _covers(pattern: str, locality: str) -> bool:
    parts = locality.split("/")
    for at, wanted in enumerate(pattern.split("/")):
        if wanted == "*":
            continue
        if at >= len(parts) or parts[at] != wanted:
            return False
    return True


def _distributed(by_locality: dict[str, list[EndpointRecord]], rule: Distribute) -> list[Group]:
    """Share a pattern's weight among the localities under it, by the weights of endpoints."""
    found: list[Group] = []
    left = dict(by_locality)
    # The most exact pattern first: a locality counts once.
    for pattern, share in sorted(
        (rule.to or {}).items(), key=lambda item: (item[0].count("*"), -len(item[0]))
    ):
        names = [name for name in left if _covers(pattern, name)]
        total = sum(endpoint.weight for name in names for endpoint in left[name])
        for name in names:
            endpoints = left.pop(name)
            weight = sum(endpoint.weight for endpoint in endpoints)
            found.append(Group(name, 0, max(1, round(share * weight / total)), tuple(endpoints)))
    return found


def _rank(own: str, other: str, failover: Sequence[Failover]) -> int:
    """0: same subzone, 1: zone, 2: region, 3: another region, 4: one that is not failed over to."""
    mine, theirs = (own.split("/") + ["", ""])[:3], (other.split("/") + ["", ""])[:3]
    if mine == theirs:
        return 0
    if mine[:2] == theirs[:2]:
        return 1
    if mine[0] == theirs[0]:
        return 2
    for rule in failover:
        if rule.from_ == mine[0]:
            return 3 if rule.to == theirs[0] else 4
    return 3


def _by_labels(
    by_locality: dict[str, list[EndpointRecord]], keys: Sequence[str], labels: Mapping[str, str]
) -> list[Group]:
    """Rank endpoints by how many of the labels, from the first on, are the client's."""
    found: dict[tuple[str, int], list[EndpointRecord]] = {}
    for locality, endpoints in by_locality.items():
        for endpoint in endpoints:
            agreed = 0
            for key in keys:
                name, has_value, value = key.partition("=")
                wanted = value if has_value else labels.get(name)
                if (endpoint.labels or {}).get(name) != wanted:
                    break
                agreed += 1
            found.setdefault((locality, len(keys) - agreed), []).append(endpoint)
    return _compacted([Group(loc, rank, None, tuple(e)) for (loc, rank), e in found.items()])


def _compacted(found: list[Group]) -> list[Group]:
    """Number the priorities that there are from 0 on, as Envoy asks."""
    ranks = sorted({group.priority for group in found})
    return [group._replace(priority=ranks.index(group.priority)) for group in found]
