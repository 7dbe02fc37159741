"""Turn what a ServiceEntry says of its endpoints and addresses into records.

Whatever is a name stays one here: `dns_records` puts addresses in its place, as they are found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from meshware.policy.addresses import UNIX_PREFIX, parse_block
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    ServicePort,
    WorkloadEntrySpec,
)
from meshware.policy.endpoint_identity import Accounts, Speech
from meshware.policy.names import expand, is_ip
from meshware.policy.parse import Resource
from meshware.policy.record_types import (
    DnsRecord,
    EndpointRecord,
    EndpointsRecord,
    Vip,
    VipIndex,
)

__all__ = [
    "Endpoints",
    "Instance",
    "endpoints_of",
    "endpoints_record",
    "own_port",
    "vip_index",
]

Instance = tuple[WorkloadEntrySpec, Mapping[str, str]]
"""One who answers for a service, and its labels."""

Endpoints = tuple[EndpointRecord, ...] | DnsRecord
"""The endpoints of one claim: known, or to be found by DNS."""


def endpoints_of(
    spec: ServiceEntrySpec,
    host: str,
    instances: Sequence[Instance],
    namespace: str = "default",
    accounts: Accounts | None = None,
) -> Endpoints:
    """Return the endpoints of one host of a ServiceEntry.

    Args:
        spec: the ServiceEntry.
        host: as written there. Without endpoints it is looked up itself, by this name and not by
            the full one: a short host then means what it means to the system's resolver.
        instances: who answers, as policy names them.
        namespace: of the ServiceEntry and its instances.
        accounts: tells how they are called; None: in plaintext.
    """
    inside = _Inside(namespace, accounts if spec.location == "MESH_INTERNAL" else None)
    if spec.resolution in ("DNS", "DNS_ROUND_ROBIN"):
        if not spec.endpoints and spec.workload_selector is None:
            instances = [(WorkloadEntrySpec(address=host.lower()), {})]
        return DnsRecord(
            endpoints=tuple(
                _endpoint(spec, *instance, inside)
                for instance in instances
                if instance[0].address and not instance[0].address.startswith(UNIX_PREFIX)
            ),
            is_first_only=spec.resolution == "DNS_ROUND_ROBIN",
        )
    if spec.resolution != "STATIC":
        return ()  # NONE and DYNAMIC_DNS: calls go where the caller's URL says
    return tuple(
        _endpoint(spec, *instance, inside)
        for instance in instances
        if _is_place(instance[0].address)
    )


def _is_place(address: str | None) -> bool:
    """Say whether an address can be dialled without looking it up."""
    return address is not None and (is_ip(address) or address.startswith(UNIX_PREFIX))


class _Inside(NamedTuple):
    """The place of a ServiceEntry in the mesh."""

    namespace: str
    accounts: Accounts | None  # None: it is outside


def _endpoint(
    spec: ServiceEntrySpec, entry: WorkloadEntrySpec, labels: Mapping[str, str], inside: _Inside
) -> EndpointRecord:
    assert entry.address is not None
    is_name = not _is_place(entry.address)
    ports = {str(port.number): own_port(port, entry) for port in spec.ports or ()}
    speech = Speech()
    if inside.accounts is not None:
        speech = inside.accounts.speech(inside.namespace, entry, labels, ports)
    return EndpointRecord(
        address=entry.address.lower() if is_name else entry.address,
        ports=ports,
        labels=dict(labels) or None,
        # Istio leaves an absent weight at 0, which Envoy reads as 1.
        weight=entry.weight or 1,
        locality=entry.locality,
        service_account=entry.service_account,
        network=entry.network,
        tls_id=speech.tls_id,
        plain_ports=speech.plain_ports,
        token_ports=speech.token_ports,
    )


def own_port(port: ServicePort, entry: WorkloadEntrySpec) -> int:
    """Return the port of an instance at which it answers for a port of its service."""
    return (entry.ports or {}).get(port.name) or port.target_port or port.number


def endpoints_record(found: Mapping[str, Endpoints]) -> EndpointsRecord:
    """Return the record of one host's endpoints.

    Args:
        found: the endpoints by the namespace of the claim. There are none yet of what DNS finds.
    """
    dns = {namespace: each for namespace, each in found.items() if isinstance(each, DnsRecord)}
    return EndpointsRecord(
        by_namespace={
            namespace: () if isinstance(each, DnsRecord) else each
            for namespace, each in found.items()
        },
        dns=dns or None,
    )


def vip_index(resources: Sequence[Resource]) -> dict[str, VipIndex]:
    """Return the record of the addresses that stand for hosts, if there are any.

    Args:
        resources: all there are, the oldest first.
    """
    found: dict[str, dict[Vip, None]] = defaultdict(dict)
    for resource in resources:
        if not isinstance(resource.spec, ServiceEntrySpec):
            continue
        for written in resource.spec.addresses or ():
            block = parse_block(written)
            is_single = block.prefixlen == block.max_prefixlen
            place = str(block.network_address) if is_single else str(block)
            for host in resource.spec.hosts:
                named = Vip(host=expand(host, resource.namespace), namespace=resource.namespace)
                found[place].setdefault(named)
    if not found:
        return {}
    return {"vips": VipIndex(services={place: tuple(each) for place, each in found.items()})}
