"""Find resources that say different things about one host.

Which of them holds is decided by age and visibility (`policy.view`), so that one of them would do
nothing and nobody would know. A VirtualService that is private to a namespace and overrides a
public one does so on purpose, and is only pointed out.

Source: Istio's analyser, IST0109.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from meshware.policy.codes import CONFLICT, DUPLICATE
from meshware.policy.document.destination_rule import Subset
from meshware.policy.names import expand
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.registry import EVERYWHERE, Claim, Registry, Routes, Rule
from meshware.policy.yaml12 import brief

__all__ = ["check_conflicts"]


def check_conflicts(registry: Registry, report: Report) -> None:
    """Report hosts about which two VirtualServices, DestinationRules or ServiceEntries differ."""
    by_host: dict[str, list[Routes]] = defaultdict(list)
    for routes in registry.routes:
        for host in routes.export_to:
            by_host[host].append(routes)
    for host, several in by_host.items():
        if len(several) > 1:
            _check_routes(host, several, report)
    for (_, host), rules in registry.rules.items():
        if len(rules) > 1:
            _check_rules(host, rules, report)
    for host, claims in registry.claims.items():
        if len(claims) > 1:
            _check_claims(host, claims, report)


def _place(resource: Resource) -> str:
    """Name a resource and where it is written."""
    return (
        f"{resource.kind} {resource.namespace}/{resource.name} "
        f"({resource.origin.file}:{resource.origin.line})"
    )


def _is_same(one: Resource, other: Resource) -> bool:
    """Say whether two resources have one name, which is told of elsewhere."""
    return (one.namespace, one.name) == (other.namespace, other.name)


def _field_of(routes: Routes, host: str) -> str:
    for index, written in enumerate(routes.spec.hosts or ()):
        if expand(written, routes.resource.namespace) == host:
            return f"spec.hosts[{index}]"
    return "spec.hosts"


# --- VirtualServices --------------------------------------------------------------------------


def _check_routes(host: str, several: Sequence[Routes], report: Report) -> None:
    first: dict[tuple[str, str], Routes] = {}
    for routes in several:  # the oldest first
        rival = next(
            (
                found
                for key in _ranks(routes.export_to[host])
                if (found := first.setdefault(key, routes)) is not routes
                and not _is_same(found.resource, routes.resource)
            ),
            None,
        )
        if rival is not None:
            report.error(
                routes.resource,
                _field_of(routes, host),
                f"{_place(rival.resource)} has the host {brief(host, 100)} for the same clients, "
                "and only one of them would hold; join them",
                CONFLICT,
            )
    public = next((found for (rank, _), found in first.items() if rank == "public"), None)
    if public is None:
        return
    told: set[str] = set()
    for (_, namespace), routes in first.items():
        if routes is public or routes.resource.key in told:
            continue
        told.add(routes.resource.key)
        report.info(
            routes.resource,
            _field_of(routes, host),
            f"for clients of {brief(namespace)} this holds instead of {_place(public.resource)}, "
            f"whole, since VirtualServices for one host ({brief(host, 100)}) are not merged",
            CONFLICT,
        )


def _ranks(export_to: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield for whom a VirtualService competes: `view` takes private ones before public ones."""
    if EVERYWHERE in export_to:
        yield ("public", EVERYWHERE)
        return
    rank = "private" if len(export_to) == 1 else "named"
    for namespace in export_to:
        yield (rank, namespace)


# --- DestinationRules -------------------------------------------------------------------------


def _check_rules(host: str, rules: Sequence[Rule], report: Report) -> None:
    joined: dict[frozenset[tuple[str, str]], list[Rule]] = defaultdict(list)
    for rule in rules:
        joined[frozenset((rule.selector or {}).items())].append(rule)
    for selector, alike in joined.items():
        for rule in alike[1:]:
            if selector and not _is_same(alike[0].resource, rule.resource):
                report.error(
                    rule.resource,
                    "spec.workloadSelector",
                    f"{_place(alike[0].resource)} is for the same clients and host "
                    f"{brief(host, 100)}, and only one of them would hold; join them",
                    DUPLICATE,
                )
        if not selector:
            _check_joined(host, alike, report)


def _check_joined(host: str, rules: Sequence[Rule], report: Report) -> None:
    """Report what is lost when the rules for one host are joined."""
    subsets: dict[str, tuple[Subset, Rule]] = {}
    with_policy: Rule | None = None
    for rule in rules:
        for index, subset in enumerate(rule.spec.subsets or ()):
            other, owner = subsets.setdefault(subset.name, (subset, rule))
            if (
                owner is not rule
                and other != subset
                and not _is_same(owner.resource, rule.resource)
            ):
                report.error(
                    rule.resource,
                    f"spec.subsets[{index}].name",
                    f"{_place(owner.resource)} defines subset {brief(subset.name)!r} of "
                    f"{brief(host, 100)} in another way, and only one of them would hold; keep one",
                    DUPLICATE,
                )
        if rule.spec.traffic_policy is None:
            continue
        if with_policy is None:
            with_policy = rule
        elif rule.spec.traffic_policy != with_policy.spec.traffic_policy and not _is_same(
            with_policy.resource, rule.resource
        ):
            report.error(
                rule.resource,
                "spec.trafficPolicy",
                f"{_place(with_policy.resource)} has a trafficPolicy for {brief(host, 100)} as "
                "well, and only one of them would hold; join them",
                DUPLICATE,
            )


# --- ServiceEntries ---------------------------------------------------------------------------


def _check_claims(host: str, claims: Sequence[Claim], report: Report) -> None:
    first: dict[str, Claim] = {}
    public: Claim | None = None
    for claim in claims:  # the oldest first
        other = first.setdefault(claim.resource.namespace, claim)
        if other is not claim:
            if not _is_same(other.resource, claim.resource):
                report.error(
                    claim.resource,
                    _host_field(claim, host),
                    f"{_place(other.resource)} has the host {brief(host, 100)} already, and its "
                    "ports and endpoints would hold alone; join them",
                    DUPLICATE,
                )
            continue
        if EVERYWHERE not in claim.export_to:
            continue
        if public is None:
            public = claim
        else:
            report.warning(
                claim.resource,
                _host_field(claim, host),
                f"{_place(public.resource)} has the host {brief(host, 100)} too, and clients of "
                "other namespaces get that one; set exportTo, or rename one of them",
                DUPLICATE,
            )


def _host_field(claim: Claim, host: str) -> str:
    for index, written in enumerate(claim.spec.hosts):
        if expand(written, claim.resource.namespace) == host:
            return f"spec.hosts[{index}]"
    return "spec.hosts"
