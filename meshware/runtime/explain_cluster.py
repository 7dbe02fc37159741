"""Explain the cluster of an outbound call: its endpoints, who is ejected, and its settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from meshware.outbound.ledger import ClusterState, Ledger
from meshware.policy.clusters import Cluster, ClusterKey, subset_of, why_outside
from meshware.policy.document.destination_rule import DestinationRuleSpec, TrafficPolicy
from meshware.policy.hash_rule import HashRule
from meshware.policy.labels import why_not_selected
from meshware.policy.limits import Limits
from meshware.policy.outlier_rule import OutlierRule
from meshware.policy.places import Name, Places
from meshware.policy.survey import why_no_service
from meshware.policy.traffic_policy import Level, effective_policy
from meshware.policy.view import Found, View
from meshware.runtime.outbound_answer import (
    NotEjectedAnswer,
    OtherEndpointAnswer,
    OutsideState,
    SettingAnswer,
)

__all__ = ["Ejections", "cluster_settings", "other_endpoints", "why_no_cluster"]

_NOW = 0.0  # nothing is sent, so no time passes

Setting = Literal["loadBalancer", "connectionPool", "outlierDetection", "tls"]
_SETTINGS: Final[tuple[tuple[str, Setting], ...]] = (
    ("load_balancer", "loadBalancer"),
    ("connection_pool", "connectionPool"),
    ("outlier_detection", "outlierDetection"),
    ("tls", "tls"),
)


def why_no_cluster(view: View, key: ClusterKey) -> str | None:
    """Return why a destination does not exist; None: it does."""
    host, port, name = key
    reason = why_no_service(view, host, port)
    service = view.service(host)
    if reason is not None or service is None:
        return reason
    found = view.destination_rule(host, service.claim.namespace)
    if not name or subset_of(found.spec if found is not None else None, name) is not None:
        return None
    if found is None:
        return f"no DestinationRule holds for {host}, so it has no subset {name}"
    names = ", ".join(subset.name for subset in found.spec.subsets or ())
    rule = f"DestinationRule {found.namespace}/{found.name}"
    return f"{rule} has no subset {name}; it has {names or 'none'}"


def other_endpoints(
    view: View, key: ClusterKey | None, cluster: Cluster | None
) -> tuple[OtherEndpointAnswer, ...]:
    """Return the endpoints of a destination's service that are none of its cluster."""
    service = view.service(key[0]) if key is not None else None
    if key is None or cluster is None or service is None:
        return ()
    found = view.destination_rule(key[0], service.claim.namespace)
    subset = subset_of(found.spec if found is not None else None, key[2])
    labels = subset.labels if subset is not None else None
    answers: list[OtherEndpointAnswer] = []
    for record in view.endpoints(service):
        outside = why_outside(record, str(key[1]), labels)
        state: OutsideState = outside or "other-locality"
        port = record.ports.get(str(key[1]))
        if outside == "other-subset":
            why = why_not_selected(labels, record.labels or {}) or ""
        elif outside == "no-port":
            why = f"it has no port {key[1]}"
        elif any((e.address, e.port) == (record.address, port) for e in cluster.endpoints):
            continue
        else:
            why = f"localityLbSetting gives {record.locality or 'no locality'} no share"
        answers.append(OtherEndpointAnswer(address=record.address, port=port, state=state, why=why))
    return tuple(answers)


class Ejections:
    """Endpoints that are ejected before the call, as far as the rule in force lets them be.

    Args:
        ledger: in which they are ejected.
        asked: their keys, "address:port".
    """

    def __init__(self, ledger: Ledger, asked: tuple[str, ...]) -> None:
        self._ledger = ledger
        self._asked = asked

    def apply(self, cluster: Cluster) -> None:
        """Eject those that are endpoints of a cluster, in the order in which they are asked."""
        for key in self._asked:
            if key in cluster.keys:
                self.state(cluster).eject(cluster, key, _NOW)

    def state(self, cluster: Cluster) -> ClusterState:
        """Return the state of a cluster."""
        return self._ledger.cluster(cluster.name)

    def out(self, cluster: Cluster) -> frozenset[str]:
        """Return the keys of the endpoints that no call goes to now."""
        if cluster.levels is None:
            return self.state(cluster).ejected(cluster, _NOW)
        standing = self.state(cluster).standing(cluster, _NOW)
        return frozenset[str]().union(*(out for _, out in standing))

    def refused(self, cluster: Cluster) -> tuple[NotEjectedAnswer, ...]:
        """Return which of those asked calls may go to all the same, and why."""
        out = self.out(cluster)
        return tuple(
            NotEjectedAnswer(endpoint=key, why=self._why(cluster, key))
            for key in self._asked
            if key not in out
        )

    def _why(self, cluster: Cluster, key: str) -> str:
        rule = cluster.outlier
        if key not in cluster.keys:
            return "it is no endpoint of this destination"
        if rule is None:
            return "no outlierDetection is in force, so nobody is ever ejected"
        if self.state(cluster).eject(cluster, key, _NOW):
            return (
                f"fewer than minHealthPercent {rule.min_health_percent} would be left, so all are "
                "called"
            )
        return (
            f"maxEjectionPercent is {rule.max_ejection_percent}, and one more of "
            f"{len(cluster.keys)} endpoints would be over it"
        )


# --- settings ---------------------------------------------------------------------------------


def cluster_settings(
    view: View, places: Places, key: ClusterKey | None, cluster: Cluster | None
) -> tuple[SettingAnswer, ...]:
    """Return the settings of a destination, each with the level of the rule that it comes from."""
    service = view.service(key[0]) if key is not None else None
    if key is None or cluster is None or service is None:
        return ()
    found = view.destination_rule(key[0], service.claim.namespace)
    rule = found.spec if found is not None else None
    effective = effective_policy(rule, subset_of(rule, key[2]), key[1])
    tls = effective.policy.tls
    values = {
        "load_balancer": _balancer(cluster),
        "connection_pool": _pool(cluster.limits),
        "outlier_detection": _outlier(cluster.outlier),
        "tls": "none" if tls is None else tls.mode or "DISABLE",
    }
    answers = []
    for name, setting in _SETTINGS:
        level = effective.levels[name]
        owner, field = _written(found, level, setting)
        place = places.find(owner, field) if owner is not None and field is not None else None
        answers.append(
            SettingAnswer(
                setting=setting,
                value=values[name],
                policy=f"{owner.namespace}/{owner.name}" if owner is not None else None,
                level=field,
                is_reset=level.is_reset,
                file=place.file if place is not None else None,
                line=place.line if place is not None else None,
            )
        )
    return tuple(answers)


def _written(
    found: Found[DestinationRuleSpec] | None, level: Level, setting: Setting
) -> tuple[Name | None, str | None]:
    """Return the rule and the field that a level means, by the very policy that was read."""
    if found is None or level.policy is None:
        return None, None
    for part in found.parts or (found,):
        for field, policy in _policies(part.spec):
            if policy is level.policy:
                port = f".portLevelSettings[{level.port_at}]" if level.port_at is not None else ""
                end = "" if level.is_reset else f".{setting}"
                return Name("DestinationRule", part.namespace, part.name), f"{field}{port}{end}"
    return None, None


def _policies(spec: DestinationRuleSpec) -> Iterator[tuple[str, TrafficPolicy | None]]:
    yield "spec.trafficPolicy", spec.traffic_policy
    for index, subset in enumerate(spec.subsets or ()):
        yield f"spec.subsets[{index}].trafficPolicy", subset.traffic_policy


def _balancer(cluster: Cluster) -> str:
    words = [cluster.balance if cluster.hash is None else _hash(cluster.hash)]
    if cluster.warmup is not None:
        words.append(f"warm-up {cluster.warmup.seconds:g} s")
    if cluster.levels is not None:
        words.append("by locality")
    return ", ".join(words)


def _hash(rule: HashRule) -> str:
    if rule.header is not None:
        by = f"header {rule.header}"
    elif rule.query is not None:
        by = f"query parameter {rule.query}"
    elif rule.cookie is not None:
        by = f"cookie {rule.cookie.name}"
    else:
        by = "the address of this workload"
    return f"consistentHash by {by}"


def _pool(limits: Limits) -> str:
    numbers = (
        ("connections", limits.connections),
        ("waiting requests", limits.pending),
        ("requests", limits.requests),
        ("retries at once", None if limits.budget is not None else limits.retries),
    )
    words = [f"at most {number} {what}" for what, number in numbers if number is not None]
    if limits.budget is not None:
        percent, least = 100 * limits.budget.ratio, limits.budget.least
        words.append(f"retries for at most {percent:g} % of the requests, {least} always")
    return ", ".join(words) or "no limits"


def _outlier(rule: OutlierRule | None) -> str:
    if rule is None:
        return "off"
    counts = (
        ("errors", rule.consecutive_5xx),
        ("gateway errors", rule.consecutive_gateway),
        ("failures without an answer", rule.consecutive_local),
    )
    words = " or ".join(f"{count} {what}" for what, count in counts if count)
    if not words:
        return "on, with every count off"
    return (
        f"after {words} in a row, {rule.base_s:g} s at first, at most "
        f"{rule.max_ejection_percent} % of the endpoints"
    )
