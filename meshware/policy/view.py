"""What one client sees of the records: services, and the rules that apply to a host.

`view(records, client)` is pure. Which service a name means and which VirtualService,
DestinationRule and ServicePolicy apply to it depends on the client's namespace and labels, on
`exportTo` and on Sidecar; every such choice is made here and nowhere else. What may apply is
yielded in the order of precedence, and the first holds: whoever asks why the others do not
(`policy.survey`) reads on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Literal, TypeVar, cast

import msgspec

from meshware.policy.addresses import parse_address, parse_block
from meshware.policy.document.common import Document
from meshware.policy.document.destination_rule import DestinationRuleSpec, Subset
from meshware.policy.document.service_policy import ServicePolicySpec
from meshware.policy.document.sidecar import SidecarSpec
from meshware.policy.document.telemetry import TelemetrySpec
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.file import Records
from meshware.policy.labels import selects
from meshware.policy.names import candidates, expand, is_ip, matches, wildcards
from meshware.policy.record_types import (
    Candidate,
    EndpointRecord,
    EndpointsRecord,
    HostIndex,
    MeshRecord,
    PartialWildcards,
    ServiceClaim,
    ServiceRecord,
    SidecarIndex,
    TelemetryEntry,
    TelemetryIndex,
    Vip,
    VipIndex,
)

__all__ = ["Client", "Common", "Found", "ServiceView", "View", "view"]

D = TypeVar("D", bound=Document)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """Who is asking: the workload of this process."""

    namespace: str = "default"
    name: str | None = None  # None: MESH_WORKLOAD is not set
    labels: Mapping[str, str] = field(default_factory=dict)
    locality: str | None = None  # region/zone/subzone


@dataclass(frozen=True, slots=True)
class ServiceView:
    """A service as a client sees it."""

    host: str  # the host of its ServiceEntry: full, or a wildcard
    claim: ServiceClaim

    def has_port(self, number: int) -> bool:
        """Say whether the service has this port."""
        return any(port.number == number for port in self.claim.ports)


@dataclass(frozen=True, slots=True)
class Found(Generic[D]):
    """A resource that applies to a host, and where it comes from."""

    namespace: str
    name: str
    spec: D
    parts: tuple[Found[D], ...] = ()  # the resources that this one is joined of


def view(records: Records, client: Client) -> View:
    """Return what a client sees of the records; nothing is read until it is asked for."""
    return View(records, client)


Common = dict[str, tuple[str | None, Document | None]]
"""Digest and content of records that are asked for again and again, None for those that are not
there: mesh-wide ones, and the patterns that may cover a host."""

_MOST_COMMON = 1000  # a caller who dials ever new names asks for ever new patterns


class View:
    """The records through the eyes of one client. Not shared between threads.

    Args:
        records: the policy file's.
        client: who looks.
        common: kept by the caller from one view of the same records to the next.

    Attributes:
        rests_on: the records that were read so far, with their digests, absent ones too.
    """

    def __init__(self, records: Records, client: Client, common: Common | None = None) -> None:
        self._records = records
        self._common: Common = {} if common is None else common
        self.client = client
        self.rests_on: dict[str, str | None] = {}
        self._services: dict[str, ServiceView | None] = {}
        self._named: dict[tuple[str, str], list[tuple[str, tuple[Candidate, ...]]]] = {}

    @cached_property
    def mesh(self) -> MeshRecord:
        """The mesh-wide settings."""
        return self._read("mesh", MeshRecord) or MeshRecord()

    @cached_property
    def outbound_mode(self) -> Literal["ALLOW_ANY", "REGISTRY_ONLY"]:
        """What happens to hosts that the mesh does not know: Sidecar's word, else the mesh's."""
        if self.sidecar is not None and self.sidecar.spec.outbound_traffic_policy is not None:
            # Istio: the zero value inside an empty `outboundTrafficPolicy: {}` is REGISTRY_ONLY.
            mode = self.sidecar.spec.outbound_traffic_policy.mode
            return "ALLOW_ANY" if mode == "ALLOW_ANY" else "REGISTRY_ONLY"
        return self.mesh.outbound_mode

    @cached_property
    def most_inbound_requests(self) -> int | None:
        """How many calls this workload takes at once: its Sidecar's word; None: no limit."""
        pool = self.sidecar.spec.inbound_connection_pool if self.sidecar is not None else None
        http = pool.http if pool is not None else None
        return (http.http2_max_requests if http is not None else None) or None

    @cached_property
    def egress_proxy(self) -> tuple[str, int, str] | None:
        """Host, port and subset that answer for hosts the mesh does not know; None: nobody does."""
        if self.sidecar is None or self.outbound_mode != "ALLOW_ANY":
            return None
        policy = self.sidecar.spec.outbound_traffic_policy
        proxy = policy.egress_proxy if policy is not None else None
        if proxy is None or proxy.port is None or proxy.port.number is None:
            return None
        return (expand(proxy.host, self.sidecar.namespace), proxy.port.number, proxy.subset or "")

    # --- services -----------------------------------------------------------------------------

    def names(self, dialled: str) -> tuple[str, ...]:
        """Return the full hosts that a dialled name may mean, in the order to try them.

        An IP address means itself, and then the services that have it among their `addresses`.
        """
        found = candidates(dialled, self.client.namespace)
        if len(found) == 1 and is_ip(found[0]):
            return (*found, *self._named_by(found[0]))
        return found

    def _named_by(self, address: str) -> tuple[str, ...]:
        """Return the hosts that an address stands for, those of the narrowest block first."""
        index = self._read("vips", VipIndex)
        place = parse_address(address)
        if index is None or place is None:
            return ()
        blocks = (parse_block(text) for text in index.services if "/" in text)
        around = sorted((b for b in blocks if place in b), key=lambda b: -b.prefixlen)
        return tuple(
            vip.host
            for text in (str(place), *map(str, around))
            for vip in index.services.get(text, ())
            if self._is_seen(vip)
        )

    def _is_seen(self, vip: Vip) -> bool:
        """Say whether the claim that gives a host its address is the one this client sees."""
        service = self.service(vip.host)
        return service is not None and service.claim.namespace == vip.namespace

    def service(self, host: str) -> ServiceView | None:
        """Return the service that a full host means: an exact one, else the longest wildcard.

        Of several claims on a host the client's own namespace comes first, then the oldest.
        """
        if host not in self._services:
            self._services[host] = self._find_service(host)
        return self._services[host]

    def _find_service(self, host: str) -> ServiceView | None:
        return next(self.services(host), None)

    def services(self, host: str) -> Iterator[ServiceView]:
        """Yield what a full host may mean, in the order of precedence."""
        for pattern, claims in self.claims(host):
            seen = [claim for claim in claims if self.hides(claim, host) is None]
            seen.sort(key=lambda claim: claim.namespace != self.client.namespace)
            for claim in seen:
                yield ServiceView(pattern, claim)

    def claims(self, host: str) -> Iterator[tuple[str, tuple[ServiceClaim, ...]]]:
        """Yield who says that a full host is a service, seen or not, by the pattern that does."""
        for pattern in self._patterns("svc", host):
            record = self._read(f"svc/{pattern}", ServiceRecord)
            if record is not None:
                yield pattern, record.claims

    def endpoints(self, service: ServiceView) -> tuple[EndpointRecord, ...]:
        """Return the endpoints of a service, in the order in which policy names them."""
        record = self._read(f"ep/{service.host}", EndpointsRecord)
        return record.by_namespace.get(service.claim.namespace, ()) if record else ()

    # --- rules --------------------------------------------------------------------------------

    def virtual_service(self, host: str) -> Found[VirtualServiceSpec] | None:
        """Return the VirtualService for a full host: one wins, nothing is merged.

        An exact host beats a wildcard, a longer wildcard a shorter one; then those private to the
        client's namespace, those exported to it by name, the public ones; then the oldest.
        Source: Istio, `SelectVirtualServices` and `dedupeDomains`.
        """
        for _, candidate in self.virtual_services(host):
            found = self._found(candidate, "vs", VirtualServiceSpec)
            if found is not None:
                return found
        return None

    def virtual_services(self, host: str) -> Iterator[tuple[str, Candidate]]:
        """Yield the VirtualServices for a full host with their pattern, by precedence."""
        for pattern, named in self.naming("vs", host):
            seen = [c for c in named if self.hides(c, pattern) is None]
            for candidate in sorted(seen, key=self.privacy):
                yield pattern, candidate

    def destination_rule(
        self, host: str, service_namespace: str
    ) -> Found[DestinationRuleSpec] | None:
        """Return the DestinationRule for a full host, subsets of equal hosts joined.

        The first of the client's, the service's and the root namespace with any match decides, and
        in it the most specific host. Source: Istio, `PushContext.destinationRule`.
        """
        for _, chosen in self.destination_rules(host, service_namespace):
            found = [self._found(c, "dr", DestinationRuleSpec) for c in chosen]
            rules = [rule for rule in found if rule is not None]
            if rules:
                return _joined(rules)
        return None

    def destination_rules(
        self, host: str, service_namespace: str
    ) -> Iterator[tuple[str, list[Candidate]]]:
        """Yield the DestinationRules for a full host by precedence, those to be joined together."""
        for namespace in self.lookup_order(service_namespace):
            for pattern, named in self.naming("dr", host):
                seen = [c for c in named if c.namespace == namespace]
                if namespace == self.client.namespace:
                    if namespace == self.mesh.root_namespace:
                        seen = [c for c in seen if c.export_to == (namespace,)] or seen
                else:
                    seen = [c for c in seen if self.sees(c) and c.selector is None]
                mine = [c for c in seen if c.selector and selects(c.selector, self.client.labels)]
                chosen = mine[:1] or [c for c in seen if c.selector is None]
                if chosen:
                    yield pattern, chosen

    def service_policy(self, host: str, service_namespace: str) -> Found[ServicePolicySpec] | None:
        """Return the ServicePolicy for a full host, looked up as a DestinationRule is."""
        for _, candidate in self.service_policies(host, service_namespace):
            found = self._found(candidate, "sp", ServicePolicySpec)
            if found is not None:
                return found
        return None

    def service_policies(
        self, host: str, service_namespace: str
    ) -> Iterator[tuple[str, Candidate]]:
        """Yield the ServicePolicies for a full host with their pattern, by precedence."""
        for namespace in self.lookup_order(service_namespace):
            for pattern, named in self.naming("sp", host):
                for candidate in named:
                    if candidate.namespace == namespace:
                        yield pattern, candidate

    # --- how they are found -------------------------------------------------------------------

    def _read(self, key: str, kind: type[D]) -> D | None:
        kept = self._common.get(key)
        if kept is not None:
            self.rests_on[key] = kept[0]
            return cast("D | None", kept[1])  # a key has records of one kind
        digest = self.rests_on[key] = self._records.digest(key)
        data = None if digest is None else self._records.get(key)
        found = None if data is None else msgspec.json.decode(data, type=kind)
        if "*" in key or "/" not in key:
            if len(self._common) >= _MOST_COMMON:
                self._common.clear()
            self._common[key] = (digest, found)
        return found

    def _patterns(self, prefix: str, host: str) -> tuple[str, ...]:
        """Return what may be declared about a host: itself, then the patterns that cover it."""
        partial = self._read("partial-wildcards", PartialWildcards)
        return (host, *wildcards(host, partial.hosts.get(prefix, ()) if partial else ()))

    def naming(
        self, prefix: Literal["vs", "dr", "sp"], host: str
    ) -> list[tuple[str, tuple[Candidate, ...]]]:
        """Return what is declared about a host, seen or not, by the pattern that declares it."""
        found = self._named.get((prefix, host))
        if found is None:
            found = self._named[prefix, host] = []
            for pattern in self._patterns(f"{prefix}-host", host):
                index = self._read(f"{prefix}-host/{pattern}", HostIndex)
                if index is not None:
                    found.append((pattern, index.candidates))
        return found

    def _found(self, candidate: Candidate, prefix: str, kind: type[D]) -> Found[D] | None:
        spec = self._read(f"{prefix}/{candidate.namespace}/{candidate.name}", kind)
        return None if spec is None else Found(candidate.namespace, candidate.name, spec)

    def sees(self, resource: Candidate | ServiceClaim) -> bool:
        """Say whether a resource is exported to the client's namespace."""
        return "*" in resource.export_to or self.client.namespace in resource.export_to

    def hides(
        self, resource: Candidate | ServiceClaim, host: str
    ) -> Literal["exportTo", "Sidecar"] | None:
        """Return what hides a resource about a host from the client; None: nothing does."""
        if not self.sees(resource):
            return "exportTo"
        return None if self._imports(resource.namespace, host) else "Sidecar"

    def privacy(self, candidate: Candidate) -> Literal[0, 1, 2]:
        """Return how private a resource is: 0 to the client's namespace, 1 by name, 2 to nobody."""
        if "*" in candidate.export_to:
            return 2
        return 0 if candidate.export_to == (self.client.namespace,) else 1

    def lookup_order(self, service_namespace: str) -> tuple[str, ...]:
        """Return the namespaces whose rules count, in the order in which they are looked at."""
        order = (self.client.namespace, service_namespace, self.mesh.root_namespace)
        return tuple(dict.fromkeys(order))

    # --- Sidecar ------------------------------------------------------------------------------

    @cached_property
    def sidecar(self) -> Found[SidecarSpec] | None:
        """The Sidecar of this client: by labels, else its namespace's, else the root one's."""
        index = self._read("sidecars", SidecarIndex)
        if index is None:
            return None
        for namespace, with_selector in (
            (self.client.namespace, True),
            (self.client.namespace, False),
            (self.mesh.root_namespace, False),
        ):
            for entry in index.sidecars:
                if entry.namespace != namespace or (entry.selector is not None) != with_selector:
                    continue
                if selects(entry.selector, self.client.labels):
                    spec = self._read(f"sidecar/{namespace}/{entry.name}", SidecarSpec)
                    if spec is not None:
                        return Found(namespace, entry.name, spec)
        return None

    # --- Telemetry ----------------------------------------------------------------------------

    @cached_property
    def telemetries(self) -> tuple[Found[TelemetrySpec], ...]:
        """The Telemetries of this workload, the widest first: a later one counts over them."""
        chosen = (entries[0] for _, entries in self.telemetry_levels() if entries)
        found = (
            (e, self._read(f"telemetry/{e.namespace}/{e.name}", TelemetrySpec)) for e in chosen
        )
        return tuple(Found(e.namespace, e.name, spec) for e, spec in found if spec is not None)

    def telemetry_levels(self) -> Iterator[tuple[str, list[TelemetryEntry]]]:
        """Yield what may apply: the root namespace's, the own one's, those with a selector.

        Of each level the first holds. Source: Istio, `applicableTelemetries`.
        """
        index = self._read("telemetries", TelemetryIndex)
        entries = index.telemetries if index is not None else ()
        own, root = self.client.namespace, self.mesh.root_namespace
        wide = [each for each in entries if each.selector is None]
        yield "mesh", [each for each in wide if each.namespace == root]
        if own != root:
            yield "namespace", [each for each in wide if each.namespace == own]
        yield (
            "workload",
            [
                each
                for each in entries
                if each.selector is not None
                and each.namespace == own
                and selects(each.selector, self.client.labels)
            ],
        )

    @cached_property
    def _egress(self) -> tuple[tuple[str, str], ...] | None:
        """The (namespace, host pattern) pairs that the Sidecar imports; None for everything."""
        if self.sidecar is None or self.sidecar.spec.egress is None:
            return None
        pairs = []
        for listener in self.sidecar.spec.egress:
            for written in listener.hosts or ():
                namespace, _, pattern = written.partition("/")
                if namespace == ".":
                    namespace = self.client.namespace
                pairs.append((namespace, pattern.lower()))
        return tuple(pairs)

    def _imports(self, namespace: str, host: str) -> bool:
        if self._egress is None:
            return True
        return any(
            wanted in ("*", namespace) and (matches(pattern, host) or matches(host, pattern))
            for wanted, pattern in self._egress
        )


def _joined(rules: list[Found[DestinationRuleSpec]]) -> Found[DestinationRuleSpec]:
    """Join the rules of one namespace and host: subsets by name, the first policy there is."""
    first = rules[0]
    if len(rules) == 1:
        return first
    subsets: dict[str, Subset] = {}
    for rule in rules:
        for subset in rule.spec.subsets or ():
            subsets.setdefault(subset.name, subset)
    policy = next((r.spec.traffic_policy for r in rules if r.spec.traffic_policy), None)
    spec = msgspec.structs.replace(
        first.spec, subsets=tuple(subsets.values()) or None, traffic_policy=policy
    )
    return Found(first.namespace, first.name, spec, tuple(rules))
