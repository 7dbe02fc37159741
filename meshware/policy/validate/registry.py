"""What there is: services, DestinationRules and workloads, indexed for checks across resources.

The choices are those of `policy.view`, for a client of which only the namespace is known. What a
client's labels decide is left open here: a rule that some client may get counts.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from meshware.policy.document.destination_rule import DestinationRuleSpec
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    WorkloadEntrySpec,
    WorkloadGroupSpec,
)
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.labels import selects
from meshware.policy.names import expand, is_partial_wildcard, is_wildcard, wildcards
from meshware.policy.parse import Resource
from meshware.policy.records import age, default_export, exported_to, is_for_mesh, labels_of
from meshware.policy.validate.mesh_config import root_namespace_of

__all__ = ["ANYWHERE", "EVERYWHERE", "LOOKED_UP", "Claim", "Registry", "Routes", "Rule", "sees"]

LOOKED_UP = ("DNS", "DNS_ROUND_ROBIN")
"""The resolutions with which endpoints may be names."""

EVERYWHERE = "*"
ANYWHERE = ""  # stands for a client in a namespace that no resource names

Labels = Mapping[str, str]


def sees(export_to: Sequence[str], namespace: str) -> bool:
    """Say whether a client of a namespace sees what is exported so."""
    return EVERYWHERE in export_to or namespace in export_to


def _patterns(host: str, partial: Iterable[str]) -> Iterator[str]:
    """Yield what may be declared about a host: itself, which is most often all, then patterns."""
    yield host
    yield from wildcards(host, partial)


@dataclass(frozen=True, slots=True)
class Claim:
    """A host as one ServiceEntry declares it."""

    resource: Resource
    spec: ServiceEntrySpec
    export_to: tuple[str, ...]

    @property
    def ports(self) -> frozenset[int]:
        """The numbers of its ports."""
        return frozenset(port.number for port in self.spec.ports or ())

    @property
    def has_endpoints(self) -> bool:
        """Whether endpoints are chosen for its calls; else they go where they were dialled."""
        return self.spec.resolution in ("STATIC", *LOOKED_UP)


@dataclass(frozen=True, slots=True)
class Rule:
    """A DestinationRule, and who sees it."""

    resource: Resource
    spec: DestinationRuleSpec
    export_to: tuple[str, ...]

    @property
    def selector(self) -> Labels | None:
        """The labels of the clients that it is for; None: it is for all."""
        chosen = self.spec.workload_selector
        return (chosen.match_labels or None) if chosen is not None else None


@dataclass(frozen=True, slots=True)
class Routes:
    """A VirtualService that is for clients of the mesh."""

    resource: Resource
    spec: VirtualServiceSpec
    export_to: Mapping[str, tuple[str, ...]]  # full host -> who sees it for this host


class Registry:
    """The resources that others refer to. Built once for each check."""

    def __init__(self, resources: Sequence[Resource]) -> None:
        self.resources = sorted(resources, key=age)  # the oldest first, as it counts
        self.root = root_namespace_of(resources)
        self._reversed: list[str] | None = None

    # --- services -----------------------------------------------------------------------------

    @cached_property
    def _homes(self) -> Mapping[str, set[str]]:
        """The namespaces that declare a host."""
        found: dict[str, set[str]] = defaultdict(set)
        for resource in self.resources:
            if isinstance(resource.spec, ServiceEntrySpec):
                for host in resource.spec.hosts:
                    found[expand(host, resource.namespace)].add(resource.namespace)
        return found

    @cached_property
    def claims(self) -> Mapping[str, list[Claim]]:
        """Who declares a host, the oldest first."""
        default = default_export(self.resources, "default_service_export_to")
        found: dict[str, list[Claim]] = defaultdict(list)
        for resource in self.resources:
            spec = resource.spec
            if not isinstance(spec, ServiceEntrySpec):
                continue
            for host in dict.fromkeys(expand(each, resource.namespace) for each in spec.hosts):
                export = self._exported(spec.export_to, resource.namespace, host, default)
                found[host].append(Claim(resource, spec, export))
        return dict(found)

    def _exported(
        self,
        written: tuple[str, ...] | None,
        namespace: str,
        host: str,
        default: tuple[str, ...] | None,
    ) -> tuple[str, ...]:
        return exported_to(written, namespace, {host}, self._homes, default)

    @cached_property
    def _partial_hosts(self) -> tuple[str, ...]:
        return tuple(host for host in self.claims if is_partial_wildcard(host))

    def service(self, host: str, client: str) -> Claim | None:
        """Return the service that a full host means for clients of a namespace."""
        for pattern in _patterns(host, self._partial_hosts):
            seen = [c for c in self.claims.get(pattern, ()) if sees(c.export_to, client)]
            if seen:
                return min(seen, key=lambda claim: claim.resource.namespace != client)
        return None

    def claims_of(self, host: str) -> Sequence[Claim]:
        """Return all who declare a full host, or else the nearest pattern that covers it."""
        for pattern in _patterns(host, self._partial_hosts):
            found = self.claims.get(pattern)
            if found:
                return found
        return ()

    def is_host(self, host: str) -> bool:
        """Say whether a service has this full host, or one that this pattern covers."""
        return bool(self.claims_of(host)) or (is_wildcard(host) and self._is_covering(host))

    def _is_covering(self, pattern: str) -> bool:
        if self._reversed is None:
            self._reversed = sorted(host[::-1] for host in self.claims)
        wanted = pattern[:0:-1]  # the end after the `*`, backwards
        at = bisect_left(self._reversed, wanted)
        return at < len(self._reversed) and self._reversed[at].startswith(wanted)

    @cached_property
    def _by_namespace(self) -> Mapping[str, list[str]]:
        found: dict[str, list[str]] = defaultdict(list)
        for host, claims in self.claims.items():
            for namespace in {claim.resource.namespace for claim in claims}:
                found[namespace].append(host)
        return dict(found)

    def hosts_of(self, namespace: str) -> Sequence[str]:
        """Return the full hosts that a namespace declares."""
        return self._by_namespace.get(namespace, ())

    @cached_property
    def by_first_label(self) -> Mapping[str, list[str]]:
        """The full hosts of services by what comes before their first dot."""
        found: dict[str, list[str]] = defaultdict(list)
        for host in self.claims:
            found[host.partition(".")[0]].append(host)
        return found

    # --- VirtualServices ----------------------------------------------------------------------

    @cached_property
    def routes(self) -> Sequence[Routes]:
        """The VirtualServices for clients of the mesh, the oldest first."""
        default = default_export(self.resources, "default_virtual_service_export_to")
        found = []
        for resource in self.resources:
            spec = resource.spec
            if isinstance(spec, VirtualServiceSpec) and is_for_mesh(spec):
                absent = self._absent(resource, default)
                hosts = (expand(host, resource.namespace) for host in spec.hosts or ())
                found.append(
                    Routes(
                        resource,
                        spec,
                        {
                            host: self._exported(spec.export_to, resource.namespace, host, absent)
                            for host in hosts
                        },
                    )
                )
        return found

    # --- DestinationRules ---------------------------------------------------------------------

    @cached_property
    def rules(self) -> Mapping[tuple[str, str], list[Rule]]:
        """The DestinationRules by namespace and full host, the oldest first."""
        default = default_export(self.resources, "default_destination_rule_export_to")
        found: dict[tuple[str, str], list[Rule]] = defaultdict(list)
        for resource in self.resources:
            spec = resource.spec
            if not isinstance(spec, DestinationRuleSpec):
                continue
            host = expand(spec.host, resource.namespace)
            absent = self._absent(resource, default)
            export = self._exported(spec.export_to, resource.namespace, host, absent)
            found[resource.namespace, host].append(Rule(resource, spec, export))
        return dict(found)

    @cached_property
    def _partial_rules(self) -> tuple[str, ...]:
        return tuple({host for _, host in self.rules if is_partial_wildcard(host)})

    def _absent(
        self, resource: Resource, default: tuple[str, ...] | None
    ) -> tuple[str, ...] | None:
        """Return what an absent `exportTo` of a VirtualService or DestinationRule means."""
        if resource.namespace == self.root and default is None:
            return (EVERYWHERE,)  # what the root namespace says is for the whole mesh
        return default

    def rules_for(self, host: str, service_namespace: str, client: str) -> Iterator[Rule]:
        """Yield the DestinationRules that some client of a namespace may get for a full host."""
        for namespace in dict.fromkeys((client, service_namespace, self.root)):
            for pattern in _patterns(host, self._partial_rules):
                seen = self.rules.get((namespace, pattern), [])
                if namespace != client:
                    seen = [r for r in seen if sees(r.export_to, client) and not r.selector]
                yield from seen
                if any(not rule.selector for rule in seen):
                    return

    # --- workloads ----------------------------------------------------------------------------

    @cached_property
    def workloads(self) -> Mapping[str, list[tuple[Resource, Labels]]]:
        """WorkloadEntries and WorkloadGroups with their labels, by namespace."""
        found: dict[str, list[tuple[Resource, Labels]]] = defaultdict(list)
        for resource in self.resources:
            if isinstance(resource.spec, WorkloadEntrySpec | WorkloadGroupSpec):
                found[resource.namespace].append((resource, labels_of(resource)))
        return dict(found)

    @cached_property
    def _by_label(self) -> Mapping[tuple[str, str, str], list[tuple[Resource, Labels]]]:
        found: dict[tuple[str, str, str], list[tuple[Resource, Labels]]] = defaultdict(list)
        for namespace, workloads in self.workloads.items():
            for workload in workloads:
                for name, value in workload[1].items():
                    found[namespace, name, value].append(workload)
        return dict(found)

    def selected(self, namespace: str, selector: Labels | None) -> list[tuple[Resource, Labels]]:
        """Return the workloads of a namespace that a selector selects."""
        if not selector:
            return self.workloads.get(namespace, [])
        fewest = min(
            (self._by_label.get((namespace, name, value), []) for name, value in selector.items()),
            key=len,
        )
        return [workload for workload in fewest if selects(dict(selector), workload[1])]

    def endpoint_labels(self, claim: Claim) -> Iterable[Labels]:
        """Return the labels of a service's endpoints."""
        chosen = claim.spec.workload_selector
        if chosen is None:
            if not claim.spec.endpoints and claim.spec.resolution in LOOKED_UP:
                return [{}]  # the host itself is looked up
            return [endpoint.labels or {} for endpoint in claim.spec.endpoints or ()]
        return [labels for _, labels in self.selected(claim.resource.namespace, chosen.labels)]
