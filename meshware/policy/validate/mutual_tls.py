"""Check mutual TLS of the mesh across resources: that somebody is expected wherever it is wanted.

A call by ISTIO_MUTUAL to an endpoint for which policy names nobody fails: an answer of whoever is
there would prove nothing. `policy.mutual_tls` and `policy.endpoint_identity` tell who is expected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import Subset
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    ServicePort,
    WorkloadEntrySpec,
)
from meshware.policy.endpoint_identity import TLS_MODE_LABEL
from meshware.policy.endpoint_records import Instance, own_port
from meshware.policy.labels import selects
from meshware.policy.names import is_wildcard, matches
from meshware.policy.peer_modes import ModesOf, mode_at, peer_modes
from meshware.policy.records import labels_of
from meshware.policy.traffic_policy import Level, effective_policy
from meshware.policy.validate.common import Report
from meshware.policy.validate.registry import ANYWHERE, EVERYWHERE, Claim, Registry, Rule
from meshware.policy.yaml12 import brief

__all__ = ["check_mutual_tls"]

_MUTUAL = "ISTIO_MUTUAL"


def check_mutual_tls(registry: Registry, report: Report) -> None:
    """Report ISTIO_MUTUAL that expects nobody, and endpoints that say it of themselves alone."""
    modes_of = peer_modes(registry.resources, registry.root)
    for (_, pattern), rules in registry.rules.items():
        for rule in rules:
            if not _wants_it(rule):
                continue
            told: set[str] = set()
            for host, claim in _claims(registry, rule, pattern):
                _check_claim(_Place(rule, host, claim), registry, modes_of, told, report)
    for resource in registry.resources:
        spec = resource.spec
        if isinstance(spec, WorkloadEntrySpec):
            if _is_nobody(spec, labels_of(resource)):
                report.warning(resource, "spec.labels", _ALONE, SUSPICIOUS)
        elif isinstance(spec, ServiceEntrySpec) and spec.location == "MESH_INTERNAL":
            for index, entry in enumerate(spec.endpoints or ()):
                if _is_nobody(entry, entry.labels or {}):
                    field = f"spec.endpoints[{index}].labels"
                    report.warning(resource, field, _ALONE, SUSPICIOUS)


_ALONE = (
    f"{TLS_MODE_LABEL} says that it speaks mutual TLS, and without a serviceAccount nobody knows "
    "whom to expect, so that it is called in plaintext; add its serviceAccount"
)


def _is_nobody(entry: WorkloadEntrySpec, labels: Mapping[str, str]) -> bool:
    return labels.get(TLS_MODE_LABEL) == "istio" and not entry.service_account


class _Place(NamedTuple):
    """A service that a rule is for."""

    rule: Rule
    host: str
    claim: Claim


def _wants_it(rule: Rule) -> bool:
    """Say whether ISTIO_MUTUAL is written anywhere in a rule."""
    layers = [rule.spec.traffic_policy, *(each.traffic_policy for each in rule.spec.subsets or ())]
    policies = [policy for policy in layers if policy is not None]
    settings = [policy.tls for policy in policies]
    settings += [entry.tls for policy in policies for entry in policy.port_level_settings or ()]
    return any(tls is not None and tls.mode == _MUTUAL for tls in settings)


def _claims(registry: Registry, rule: Rule, pattern: str) -> Iterator[tuple[str, Claim]]:
    """Yield the services, by full host, for which some client gets a rule."""
    hosts = [pattern]
    if is_wildcard(pattern):
        hosts = [host for host in registry.claims if matches(pattern, host)]
    clients = {rule.resource.namespace, *rule.export_to} - {EVERYWHERE}
    if EVERYWHERE in rule.export_to:
        clients.add(ANYWHERE)
    for host in hosts:
        for claim in registry.claims.get(host, ()):
            home = claim.resource.namespace
            if any(
                rule is found
                for client in {*clients, home}
                for found in registry.rules_for(host, home, client)
            ):
                yield host, claim


def _check_claim(
    place: _Place, registry: Registry, modes_of: ModesOf, told: set[str], report: Report
) -> None:
    spec = place.rule.spec
    for port in place.claim.spec.ports or ():
        for at, subset in enumerate((None, *(spec.subsets or ()))):
            found = effective_policy(spec, subset, port.number)
            tls = found.policy.tls
            if tls is None or tls.mode != _MUTUAL:
                continue
            if tls.subject_alt_names or place.claim.spec.subject_alt_names:
                continue
            level = found.levels["tls"]
            is_of_subset = subset is not None and level.policy is subset.traffic_policy
            path = _path(at - 1 if is_of_subset else None, level)
            if path in told:
                continue
            why = _why_nobody(place, _instances(registry, place.claim, subset), port, modes_of)
            if why is not None:
                told.add(path)
                report.warning(place.rule.resource, path, why, SUSPICIOUS)


def _path(subset_at: int | None, level: Level) -> str:
    start = "spec" if subset_at is None else f"spec.subsets[{subset_at}]"
    port = "" if level.port_at is None else f".portLevelSettings[{level.port_at}]"
    return f"{start}.trafficPolicy{port}.tls"


def _instances(registry: Registry, claim: Claim, subset: Subset | None) -> Sequence[Instance]:
    """Return who answers for a service, or for a subset of it."""
    spec = claim.spec
    found: list[Instance]
    if spec.workload_selector is None:
        found = [(entry, entry.labels or {}) for entry in spec.endpoints or ()]
        if not found and claim.has_endpoints and spec.resolution != "STATIC":
            found = [(WorkloadEntrySpec(), {})]  # the host itself is looked up
    else:
        found = [
            (resource.spec, labels)
            for resource, labels in registry.selected(
                claim.resource.namespace, spec.workload_selector.labels
            )
            if isinstance(resource.spec, WorkloadEntrySpec)
        ]
    wanted = subset.labels if subset is not None else None
    return [each for each in found if selects(wanted, each[1])]


def _why_nobody(
    place: _Place, instances: Sequence[Instance], port: ServicePort, modes_of: ModesOf
) -> str | None:
    """Return why nobody is expected where a rule wants mutual TLS; None: somebody is, everywhere.

    A service without endpoints is told of elsewhere.
    """
    host, claim = place.host, place.claim
    named = brief(host, 100)
    end = "so calls to it are 503 UF; write subjectAltNames,"
    if not claim.has_endpoints:
        return (
            f"calls to {named} go where they were dialled, and nobody is known to be there, {end} "
            "or resolution: STATIC and endpoints with a serviceAccount"
        )
    if claim.spec.location != "MESH_INTERNAL":
        return (
            f"{named} is outside of the mesh, where nobody has an identity, {end} location: "
            "MESH_INTERNAL, or mode: SIMPLE"
        )
    count = len(instances)
    without = sum(not entry.service_account for entry, _ in instances)
    end = "so calls there are 503 UF"
    if without:
        return (
            f"{without} of {count} endpoints of {named} have no serviceAccount, and nobody is "
            f"expected there, {end}; add it, or write subjectAltNames"
        )
    plain = [
        entry
        for entry, labels in instances
        if labels.get(TLS_MODE_LABEL, "istio") != "istio"
        or mode_at(modes_of(claim.resource.namespace, labels), own_port(port, entry)) == "DISABLE"
    ]
    if plain:
        return (
            f"{len(plain)} of {count} endpoints of {named} want plaintext at port {port.number} "
            f"(PeerAuthentication, or the label {TLS_MODE_LABEL}), {end}; leave tls out, so that "
            "each is called as it speaks"
        )
    return None
