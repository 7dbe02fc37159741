"""Turn checked resources into the records of a policy file.

The daemon calls this before it publishes, a process without a daemon when it reads YAML itself,
and the tests through `TestMesh`: there is one way from resources to what a worker reads. It is
pure and deterministic: the same resources give the same bytes, in whatever order they come.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from meshware.policy.delegates import delegates_of, flattened, is_delegate
from meshware.policy.document.common import Document, Labels, WorkloadSelector
from meshware.policy.document.destination_rule import DestinationRuleSpec
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    ServicePort,
    WorkloadEntrySpec,
    WorkloadGroupSpec,
)
from meshware.policy.document.service_policy import ServicePolicySpec
from meshware.policy.document.sidecar import SidecarSpec
from meshware.policy.document.telemetry import TelemetrySpec
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.endpoint_identity import Accounts
from meshware.policy.endpoint_records import (
    Endpoints,
    Instance,
    endpoints_of,
    endpoints_record,
    own_port,
    vip_index,
)
from meshware.policy.inbound_policies import InboundPolicies, inbound_policies
from meshware.policy.labels import selects
from meshware.policy.mesh_record import mesh_records
from meshware.policy.names import expand, is_partial_wildcard
from meshware.policy.parse import Resource
from meshware.policy.peer_modes import peer_modes
from meshware.policy.record_types import (
    Candidate,
    HostIndex,
    PartialWildcards,
    PortRecord,
    ServedHost,
    ServiceClaim,
    ServiceRecord,
    SidecarEntry,
    SidecarIndex,
    TelemetryEntry,
    TelemetryIndex,
    WorkloadRecord,
)
from meshware.policy.workload_extras import workload_extras

__all__ = ["age", "build_records", "default_export", "exported_to", "is_for_mesh", "labels_of"]


def build_records(resources: Iterable[Resource]) -> dict[str, bytes]:
    """Return the records of a policy file, each one line of JSON, keyed as `record_types` lists.

    Args:
        resources: checked resources, without errors.
    """
    ordered = sorted(resources, key=age)
    mesh, bundles = mesh_records(ordered)
    records: dict[str, Document] = {"mesh": mesh, **bundles}
    modes_of = peer_modes(ordered, mesh.root_namespace)
    extras_of = workload_extras(ordered, mesh.root_namespace)
    accounts = Accounts(mesh.trust_domain, modes_of, extras_of)
    records |= _services(ordered, default_export(ordered, "default_service_export_to"), accounts)
    records |= vip_index(ordered)
    records |= _clients(ordered, mesh.root_namespace)
    records |= _telemetries(ordered)
    records |= _workloads(ordered, mesh.root_namespace, accounts)
    partial: dict[str, list[str]] = defaultdict(list)
    for key in sorted(records):
        prefix, _, host = key.partition("/")
        if is_partial_wildcard(host):
            partial[prefix].append(host)
    if partial:
        records["partial-wildcards"] = PartialWildcards(hosts=dict(partial))
    return {key: msgspec.json.encode(records[key]) for key in sorted(records)}


def age(resource: Resource) -> tuple[str, str, str]:
    """Order as Istio does: creation time, then name, then namespace; undated ones last."""
    return (resource.created or "~", resource.name, resource.namespace)


def _match_labels(selector: WorkloadSelector | None) -> Labels | None:
    return (selector.match_labels or None) if selector else None


# --- services and endpoints -------------------------------------------------------------------


def _services(
    resources: Sequence[Resource], default_export: tuple[str, ...] | None, accounts: Accounts
) -> dict[str, Document]:
    workloads = [r for r in resources if isinstance(r.spec, WorkloadEntrySpec)]
    claims: dict[str, list[ServiceClaim]] = defaultdict(list)
    endpoints: dict[str, dict[str, Endpoints]] = defaultdict(dict)
    for resource in resources:
        spec = resource.spec
        if not isinstance(spec, ServiceEntrySpec):
            continue
        instances = _instances(spec, resource.namespace, workloads)
        for written in spec.hosts or ():
            host = expand(written, resource.namespace)
            if resource.namespace in endpoints[host]:
                continue  # the oldest claim of a namespace holds; `check` warns of the others
            claims[host].append(
                ServiceClaim(
                    namespace=resource.namespace,
                    name=resource.name,
                    export_to=exported_to(
                        spec.export_to,
                        resource.namespace,
                        {host},
                        {host: {resource.namespace}},
                        default_export,
                    ),
                    ports=tuple(_port(port) for port in spec.ports or ()),
                    location=spec.location or "MESH_EXTERNAL",
                    resolution=spec.resolution or "NONE",
                    subject_alt_names=spec.subject_alt_names or (),
                )
            )
            endpoints[host][resource.namespace] = endpoints_of(
                spec, written, instances, resource.namespace, accounts
            )
    return {
        **{f"svc/{host}": ServiceRecord(claims=tuple(found)) for host, found in claims.items()},
        **{f"ep/{host}": endpoints_record(found) for host, found in endpoints.items()},
    }


def _port(port: ServicePort) -> PortRecord:
    return PortRecord(number=port.number, name=port.name, protocol=(port.protocol or "TCP").upper())


def _instances(
    spec: ServiceEntrySpec, namespace: str, workloads: Sequence[Resource]
) -> list[Instance]:
    """Return who answers for a service, as policy names them."""
    if spec.workload_selector is None:
        return [(entry, entry.labels or {}) for entry in spec.endpoints or ()]
    wanted = spec.workload_selector.labels
    return [
        (entry.spec, labels_of(entry))
        for entry in workloads
        if isinstance(entry.spec, WorkloadEntrySpec)
        and entry.namespace == namespace
        and selects(wanted, labels_of(entry))
    ]


def labels_of(resource: Resource) -> Mapping[str, str]:
    """Return a WorkloadEntry's labels: those of its spec over those of its metadata."""
    spec = resource.spec
    if isinstance(spec, WorkloadEntrySpec):
        return {**resource.labels, **(spec.labels or {})}
    if isinstance(spec, WorkloadGroupSpec):
        of_metadata = (spec.metadata.labels if spec.metadata else None) or {}
        of_template = spec.template.labels or {}
        return {**of_metadata, **of_template}
    return resource.labels


# --- what clients read ------------------------------------------------------------------------


def _clients(resources: Sequence[Resource], root: str) -> dict[str, Document]:
    registry: dict[str, set[str]] = defaultdict(set)  # host -> namespaces of its ServiceEntries
    for resource in resources:
        if isinstance(resource.spec, ServiceEntrySpec):
            for host in resource.spec.hosts or ():
                registry[expand(host, resource.namespace)].add(resource.namespace)
    vs_default = default_export(resources, "default_virtual_service_export_to")
    dr_default = default_export(resources, "default_destination_rule_export_to")

    delegates = delegates_of(resources)
    records: dict[str, Document] = {}
    index: dict[str, list[Candidate]] = defaultdict(list)
    sidecars: list[SidecarEntry] = []
    for resource in resources:
        spec, namespace, name = resource.spec, resource.namespace, resource.name
        selector: Labels | None = None
        if isinstance(spec, VirtualServiceSpec):
            if not is_for_mesh(spec) or is_delegate(spec):
                continue  # only for gateways, or for other VirtualServices: no client reads it
            spec = flattened(spec, namespace, delegates)
            prefix, hosts, export_to, default = "vs", spec.hosts or (), spec.export_to, vs_default
        elif isinstance(spec, DestinationRuleSpec):
            prefix, hosts, export_to, default = "dr", (spec.host,), spec.export_to, dr_default
            selector = _match_labels(spec.workload_selector)
        elif isinstance(spec, ServicePolicySpec):
            prefix, hosts, export_to, default = "sp", spec.hosts or (), None, None
        elif isinstance(spec, SidecarSpec):
            wanted = spec.workload_selector.labels if spec.workload_selector else None
            sidecars.append(SidecarEntry(namespace=namespace, name=name, selector=wanted or None))
            records[f"sidecar/{namespace}/{name}"] = spec
            continue
        else:
            continue
        records[f"{prefix}/{namespace}/{name}"] = spec
        full = {expand(host, namespace) for host in hosts}
        for host in full:
            index[f"{prefix}-host/{host}"].append(
                Candidate(
                    namespace=namespace,
                    name=name,
                    export_to=exported_to(
                        export_to,
                        namespace,
                        {host},
                        registry,
                        # What the root namespace says is for the whole mesh.
                        ("*",) if namespace == root and default is None else default,
                    ),
                    selector=selector,
                )
            )
    records |= {key: HostIndex(candidates=tuple(found)) for key, found in index.items()}
    if sidecars:
        records["sidecars"] = SidecarIndex(sidecars=tuple(sidecars))
    return records


def is_for_mesh(spec: VirtualServiceSpec) -> bool:
    """Say whether any part of a VirtualService is for clients, not for gateways only."""
    return (
        not spec.gateways
        or "mesh" in spec.gateways
        or any(
            "mesh" in (match.gateways or ())
            for route in spec.http or ()
            for match in route.match or ()
        )
    )


def default_export(resources: Sequence[Resource], field: str) -> tuple[str, ...] | None:
    """Return what MeshConfig says of an absent `exportTo`; None: it says nothing.

    Args:
        resources: all there are.
        field: the attribute, such as `default_service_export_to`.
    """
    for resource in resources:
        if isinstance(resource.spec, MeshConfigSpec):
            found: tuple[str, ...] | None = getattr(resource.spec, field)
            return found
    return None


def exported_to(
    written: tuple[str, ...] | None,
    namespace: str,
    hosts: set[str],
    registry: Mapping[str, set[str]],
    default: tuple[str, ...] | None,
) -> tuple[str, ...]:
    """Return the namespaces that may see a resource; `*` for all, nothing for none.

    Differs from Istio: about a host of another namespace an absent `exportTo` means the
    resource's own namespace only, so that nobody redirects the calls of others by accident.
    MeshConfig's defaults restore Istio's meaning.
    """
    if not written:
        about_own = all(_home(host, registry.get(host, set()), namespace) for host in hosts)
        written = default or (("*",) if about_own else (".",))
    if "*" in written:
        return ("*",)
    resolved = {namespace if word == "." else word for word in written if word != "~"}
    return tuple(sorted(resolved))


def _home(host: str, claimed_in: set[str], namespace: str) -> bool:
    """Say whether a host belongs to a namespace: by its name, else by who declares it."""
    labels = host.split(".")
    if len(labels) >= 4 and labels[2] == "svc":  # <name>.<namespace>.svc.<domain>
        return labels[1] == namespace
    # A host without a namespace in its name belongs to those who declare it, and to nobody else.
    return namespace in claimed_in


def _telemetries(resources: Sequence[Resource]) -> dict[str, Document]:
    records: dict[str, Document] = {}
    index: list[TelemetryEntry] = []
    for resource in resources:
        spec, namespace, name = resource.spec, resource.namespace, resource.name
        if isinstance(spec, TelemetrySpec):
            records[f"telemetry/{namespace}/{name}"] = spec
            selector = _match_labels(spec.selector)
            index.append(TelemetryEntry(namespace=namespace, name=name, selector=selector))
    if index:
        records["telemetries"] = TelemetryIndex(telemetries=tuple(index))
    return records


# --- what servers read ------------------------------------------------------------------------


def _workloads(
    resources: Sequence[Resource], root_namespace: str, accounts: Accounts
) -> dict[str, Document]:
    rules = inbound_policies(resources, root_namespace)
    records: dict[str, Document] = dict(rules.records)
    # Entries after groups: where both bear one name, the entry, being concrete, holds.
    # Who is behind which service matters to browsers alone, and costs each with each.
    has_cors = any(
        route.cors_policy is not None
        for resource in resources
        if isinstance(resource.spec, VirtualServiceSpec)
        for route in resource.spec.http or ()
    )
    services = [r for r in resources if has_cors and isinstance(r.spec, ServiceEntrySpec)]
    about = _About(rules, services, accounts)
    kinds: tuple[type[Document], ...] = (WorkloadGroupSpec, WorkloadEntrySpec)
    for kind in kinds:
        for resource in resources:
            if isinstance(resource.spec, kind):
                key = f"workload/{resource.namespace}/{resource.name}"
                records[key] = _workload(resource, about)
    return records


class _About(NamedTuple):
    """What may apply to workloads."""

    rules: InboundPolicies
    services: Sequence[Resource]
    accounts: Accounts


def _workload(resource: Resource, about: _About) -> WorkloadRecord:
    labels = labels_of(resource)
    entry = _entry(resource.spec)
    extras = about.accounts.extras_of(resource.namespace, labels)
    return WorkloadRecord(
        labels=dict(labels),
        service_account=entry.service_account,
        peer=about.accounts.modes_of(resource.namespace, labels),
        tokens=extras.tokens,
        probe_paths=extras.probe_paths,
        address=entry.address,
        ports=entry.ports,
        locality=entry.locality,
        serves=tuple(_served(resource, entry, about.services)),
        authorization=about.rules.authorization_of(resource.namespace, labels),
        authentication=about.rules.authentication_of(resource.namespace, labels),
    )


def _served(
    resource: Resource, entry: WorkloadEntrySpec, services: Sequence[Resource]
) -> Iterator[ServedHost]:
    """Yield the hosts behind which a workload is: chosen by labels, or listed by its address."""
    for service in services:
        spec = service.spec
        assert isinstance(spec, ServiceEntrySpec)
        own: WorkloadEntrySpec | None = None
        if spec.workload_selector is not None:
            if service.namespace == resource.namespace and selects(
                spec.workload_selector.labels, labels_of(resource)
            ):
                own = entry
        elif entry.address:
            own = next((e for e in spec.endpoints or () if e.address == entry.address), None)
        if own is not None:
            ports = {str(port.number): own_port(port, own) for port in spec.ports or ()}
            for host in spec.hosts:
                full = expand(host, service.namespace)
                yield ServedHost(host=full, namespace=service.namespace, ports=ports)


def _entry(spec: Document) -> WorkloadEntrySpec:
    """Return what a WorkloadEntry says, or what a WorkloadGroup says of each of its members."""
    if isinstance(spec, WorkloadGroupSpec):
        return spec.template
    assert isinstance(spec, WorkloadEntrySpec)
    return spec
