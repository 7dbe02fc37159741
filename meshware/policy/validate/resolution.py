"""Check how the endpoints of services are found: what each `resolution` asks of its ServiceEntry.

Source: Istio, `ValidateServiceEntry`, and the rules in its CRD.
"""

from __future__ import annotations

from collections import defaultdict

from meshware.policy.addresses import UNIX_PREFIX, parse_block
from meshware.policy.codes import DUPLICATE, SUSPICIOUS
from meshware.policy.document.service_entry import ServiceEntrySpec, WorkloadEntrySpec
from meshware.policy.names import is_ip, is_wildcard
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import check_unique
from meshware.policy.validate.grammar import bad_block, bad_host
from meshware.policy.validate.registry import LOOKED_UP, Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_addresses", "check_places", "check_resolution"]


def check_resolution(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    """Report what does not go together with the resolution of a ServiceEntry."""
    if spec.resolution in LOOKED_UP:
        _check_looked_up(resource, spec, report)
    elif spec.resolution == "STATIC":
        _check_sockets(resource, spec, report)
    else:
        _check_original(resource, spec, report)


def _check_looked_up(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    count = len(spec.endpoints or ())
    if spec.resolution == "DNS_ROUND_ROBIN" and count > 1:
        report.error(
            resource,
            "spec.endpoints",
            f"there are {count} endpoints, and DNS_ROUND_ROBIN takes one; write resolution: DNS, "
            "or keep one of them",
        )
    if count or spec.workload_selector is not None:
        return
    for index, host in enumerate(spec.hosts):
        if bad_host(host) is not None:
            continue  # told already
        if is_wildcard(host):
            remedy = "a pattern, which nobody can look up; write single hosts, or add endpoints"
        elif is_ip(host):
            remedy = "an IP address; write resolution: STATIC, with endpoints"
        else:
            continue
        report.error(
            resource,
            f"spec.hosts[{index}]",
            f"without endpoints the host is looked up, and {brief(host)!r} is {remedy}",
        )


def _check_sockets(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    sockets = [
        index
        for index, endpoint in enumerate(spec.endpoints or ())
        if (endpoint.address or "").startswith(UNIX_PREFIX)
    ]
    if sockets and len(spec.ports or ()) > 1:
        report.error(
            resource,
            f"spec.endpoints[{sockets[0]}].address",
            "a service with a Unix socket has one port, for the socket has none to tell them "
            "apart; keep one of spec.ports",
        )


def _check_original(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    how = spec.resolution or "NONE"
    said = "resolution is missing, which means NONE" if spec.resolution is None else f"it is {how}"
    field = "spec.resolution"
    if spec.endpoints is not None:
        report.error(
            resource,
            field,
            f"{said}: calls go where the caller's URL says, and to no endpoints; write "
            "resolution: STATIC, or DNS if endpoints are names, or remove the endpoints",
        )
    elif spec.workload_selector is not None:
        report.warning(
            resource,
            field,
            f"{said}: calls go where the caller's URL says, and to none of the selected "
            "workloads; write resolution: STATIC, or remove the workloadSelector",
            SUSPICIOUS,
        )
    if how != "DYNAMIC_DNS":
        return
    for index, host in enumerate(spec.hosts):
        if bad_host(host) is None and not is_wildcard(host):
            report.warning(
                resource,
                f"spec.hosts[{index}]",
                f"DYNAMIC_DNS is for patterns, and {brief(host)!r} is one host; write "
                "resolution: DNS, which looks it up before it is called",
                SUSPICIOUS,
            )


# --- addresses of services --------------------------------------------------------------------


def check_addresses(resource: Resource, spec: ServiceEntrySpec, report: Report) -> None:
    """Report what is wrong with the addresses by which a service may be called."""
    seen: dict[str, str] = {}
    for index, written in enumerate(spec.addresses or ()):
        here = f"spec.addresses[{index}]"
        wrong = bad_block(written)
        if wrong is not None:
            report.error(resource, here, f"addresses[{index}] is {brief(written)!r}; {wrong}")
            continue
        check_unique(resource, here, str(parse_block(written)), seen, report)
        if "/" in written and spec.resolution not in (None, "NONE", "STATIC"):
            report.error(
                resource,
                here,
                f"{brief(written)} is a block of addresses, which goes with resolution NONE and "
                f"STATIC only, and this is {spec.resolution}; write single addresses",
            )


# --- across resources -------------------------------------------------------------------------


def check_places(registry: Registry, report: Report) -> None:
    """Report addresses that two services have, and selected workloads that cannot be reached."""
    owners: dict[tuple[str, int], list[Resource]] = defaultdict(list)
    for resource in registry.resources:
        spec = resource.spec
        if not isinstance(spec, ServiceEntrySpec):
            continue
        _check_shared(resource, spec, owners, report)
        if spec.workload_selector is not None:
            _check_selected(registry, resource, spec, report)


def _check_shared(
    resource: Resource,
    spec: ServiceEntrySpec,
    owners: dict[tuple[str, int], list[Resource]],
    report: Report,
) -> None:
    for index, written in enumerate(spec.addresses or ()):
        if bad_block(written) is not None:
            continue
        place = str(parse_block(written))
        rivals = [
            owner
            for port in spec.ports or ()
            for owner in owners[place, port.number]
            if owner is not resource
        ]
        if rivals:
            rival = rivals[0]
            report.warning(
                resource,
                f"spec.addresses[{index}]",
                f"ServiceEntry {rival.namespace}/{rival.name} ({rival.origin.file}:"
                f"{rival.origin.line}) has {brief(written)} with the same port, and is called by "
                "it where both are seen; give each its own",
                DUPLICATE,
            )
        for port in spec.ports or ():
            owners[place, port.number].append(resource)


def _check_selected(
    registry: Registry, resource: Resource, spec: ServiceEntrySpec, report: Report
) -> None:
    assert spec.workload_selector is not None
    for workload, _ in registry.selected(resource.namespace, spec.workload_selector.labels):
        entry = workload.spec
        if not isinstance(entry, WorkloadEntrySpec) or not entry.address:
            continue
        who = f"WorkloadEntry {workload.namespace}/{workload.name}"
        is_socket = entry.address.startswith(UNIX_PREFIX)
        if spec.resolution == "STATIC" and not is_socket and not is_ip(entry.address):
            report.error(
                resource,
                "spec.resolution",
                f"{who} is selected and has the address {brief(entry.address)}, a name, which "
                "STATIC does not look up; write resolution: DNS",
            )
        elif spec.resolution in LOOKED_UP and is_socket:
            report.error(
                resource,
                "spec.resolution",
                f"{who} is selected and is a Unix socket, which needs resolution: STATIC",
            )
        elif spec.resolution == "STATIC" and is_socket and len(spec.ports or ()) > 1:
            report.error(
                resource,
                "spec.ports",
                f"{who} is selected and is a Unix socket, which has no ports to tell apart; keep "
                "one port",
            )
