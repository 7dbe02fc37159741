"""Which traffic policy holds for a destination, its subset and port, of all that is written."""

from __future__ import annotations

from meshware.envoy.values import ClusterKey
from meshware.policy.document.destination_rule import (
    DestinationRuleSpec,
    Subset,
    TrafficPolicy,
)
from meshware.policy.view import Found, ServiceView, View

__all__ = ["Behind", "behind"]

_OF_A_PORT = ("load_balancer", "connection_pool", "outlier_detection", "tls")


class Behind:
    """What there is behind a destination.

    Attributes:
        key: host, port and subset.
        service: the service.
        rule: the DestinationRule, None where there is none.
        subset: the subset; None where the destination has none.
        policy: what holds for this port.
    """

    def __init__(
        self,
        key: ClusterKey,
        service: ServiceView,
        rule: Found[DestinationRuleSpec] | None,
        subset: Subset | None,
    ) -> None:
        self.key = key
        self.service = service
        self.rule = rule
        self.subset = subset
        self.policy = _policy(rule.spec if rule else None, subset, key[1])

    @property
    def origin(self) -> str:
        """The resource to name in a warning."""
        if self.rule is None:
            claim = self.service.claim
            return f"ServiceEntry {claim.namespace}/{claim.name}"
        return f"DestinationRule {self.rule.namespace}/{self.rule.name}"


def behind(view: View, key: ClusterKey) -> Behind | None:
    """Return what there is behind a destination; None where host, port or subset is not there."""
    host, port, name = key
    service = view.service(host)
    if service is None or not service.has_port(port):
        return None
    rule = view.destination_rule(host, service.claim.namespace)
    if not name:
        return Behind(key, service, rule, None)
    for subset in (rule.spec.subsets if rule else None) or ():
        if subset.name == name:
            return Behind(key, service, rule, subset)
    return None


def _policy(rule: DestinationRuleSpec | None, subset: Subset | None, port: int) -> TrafficPolicy:
    """Merge as Istio's `MergeTrafficPolicy` and `MergeSubsetTrafficPolicy` do.

    A port's settings replace all four, those that it leaves out too. A subset's replace one by one.
    """
    whole = rule.traffic_policy if rule else None
    own = subset.traffic_policy if subset else None
    merged = dict.fromkeys(_OF_A_PORT)
    for level in (whole, own):
        if level is None:
            continue
        of_port = [e for e in level.port_level_settings or () if e.port and e.port.number == port]
        for name in _OF_A_PORT:
            if of_port:
                merged[name] = getattr(of_port[0], name)
            else:
                merged[name] = getattr(level, name) or merged[name]
    budget = (own.retry_budget if own else None) or (whole.retry_budget if whole else None)
    return TrafficPolicy(retry_budget=budget, **merged)
