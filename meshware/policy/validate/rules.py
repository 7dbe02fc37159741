"""Check what DestinationRules refer to: hosts, ports and endpoints.

Source: Istio's analysers, IST0173 and IST0174.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshware.policy.codes import (
    EMPTY_SUBSET,
    SUSPICIOUS,
    UNKNOWN_REFERENCE,
    UNKNOWN_RULE_HOST,
)
from meshware.policy.document.destination_rule import TrafficPolicy
from meshware.policy.labels import selects
from meshware.policy.names import is_wildcard
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host, shown_labels
from meshware.policy.validate.hints import Hints
from meshware.policy.validate.outlier import check_outlier_share
from meshware.policy.validate.registry import LOOKED_UP, Claim, Registry, Rule
from meshware.policy.yaml12 import brief

__all__ = ["check_rules"]


def check_rules(registry: Registry, report: Report) -> None:
    """Report DestinationRules whose hosts, ports or subsets nobody has."""
    hints = Hints(registry)
    for (namespace, host), rules in registry.rules.items():
        claims = registry.claims_of(host)
        is_known = bool(claims) or registry.is_host(host)
        for rule in rules:
            if bad_host(rule.spec.host) is not None:
                continue
            if not is_known:
                report.warning(
                    rule.resource,
                    "spec.host",
                    f"no ServiceEntry has the host {brief(host, 100)}, so this changes nothing; "
                    f"{hints.for_host(rule.spec.host, namespace)}",
                    UNKNOWN_RULE_HOST,
                )
            elif not is_wildcard(host):
                _check_ports(rule, host, claims, report)
                _check_subsets(rule, host, claims, registry, report)
                _check_shares(rule, claims, registry, report)
                _check_reach(rule, host, claims, registry, report)


def _check_ports(rule: Rule, host: str, claims: Sequence[Claim], report: Report) -> None:
    ports = frozenset[int]().union(*(claim.ports for claim in claims))
    for path, policy in _policies(rule):
        for index, entry in enumerate(policy.port_level_settings or ()):
            number = entry.port.number if entry.port is not None else None
            if number is not None and ports and number not in ports:
                has = ", ".join(str(port) for port in sorted(ports))
                report.warning(
                    rule.resource,
                    f"{path}.portLevelSettings[{index}].port.number",
                    f"{brief(host, 100)} has no port {number}; write one of {has}",
                    UNKNOWN_REFERENCE,
                )


def _policies(rule: Rule) -> Iterator[tuple[str, TrafficPolicy]]:
    if rule.spec.traffic_policy is not None:
        yield "spec.trafficPolicy", rule.spec.traffic_policy
    for index, subset in enumerate(rule.spec.subsets or ()):
        if subset.traffic_policy is not None:
            yield f"spec.subsets[{index}].trafficPolicy", subset.traffic_policy


def _check_subsets(
    rule: Rule, host: str, claims: Sequence[Claim], registry: Registry, report: Report
) -> None:
    if not rule.spec.subsets:
        return
    endpoints = [labels for claim in claims for labels in registry.endpoint_labels(claim)]
    if not endpoints:
        return  # told of the service itself
    for index, subset in enumerate(rule.spec.subsets):
        if subset.labels and not any(selects(subset.labels, labels) for labels in endpoints):
            report.warning(
                rule.resource,
                f"spec.subsets[{index}].labels",
                f"no endpoint of {brief(host, 100)} has the labels "
                f"{brief(shown_labels(subset.labels), 100)}, so calls to subset "
                f"{brief(subset.name)!r} are 503 no healthy upstream; mend them, or add an "
                "endpoint that has",
                EMPTY_SUBSET,
            )


def _check_shares(rule: Rule, claims: Sequence[Claim], registry: Registry, report: Report) -> None:
    """Report shares of endpoints that come to less than one."""
    if any(claim.spec.resolution in LOOKED_UP for claim in claims):
        return  # nobody knows yet how many there will be
    endpoints = [labels for claim in claims for labels in registry.endpoint_labels(claim)]
    by_name = {subset.name: subset.labels for subset in rule.spec.subsets or ()}
    for path, policy in _policies(rule):
        labels = None
        if path != "spec.trafficPolicy":
            index = int(path.partition("[")[2].partition("]")[0])
            labels = by_name[(rule.spec.subsets or ())[index].name]
        count = sum(selects(labels, each) for each in endpoints)
        where = f"{path}.outlierDetection"
        check_outlier_share(rule.resource, where, policy.outlier_detection, count, report)


def _check_reach(
    rule: Rule, host: str, claims: Sequence[Claim], registry: Registry, report: Report
) -> None:
    """Report an `exportTo` that reaches nobody: clients look in three namespaces only."""
    namespace = rule.resource.namespace
    homes = {claim.resource.namespace for claim in claims}
    beyond = [word for word in rule.export_to if word != namespace]
    if not rule.spec.export_to or not beyond or namespace in homes or namespace == registry.root:
        return
    report.warning(
        rule.resource,
        "spec.exportTo",
        f"only clients of {namespace} get this DestinationRule: others look in their own "
        f"namespace, in that of {brief(host, 100)} ({', '.join(sorted(homes)[:5])}) and in "
        f"{registry.root}; move it there, or remove exportTo",
        SUSPICIOUS,
    )
