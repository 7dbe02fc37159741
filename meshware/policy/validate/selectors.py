"""Check which workloads the networking kinds select, and that Sidecars do not compete for them.

Source: Istio's analysers, IST0110, IST0111 and IST0127.
"""

from __future__ import annotations

from meshware.policy.codes import (
    NO_WORKLOAD,
    SIDECARS_OF_NAMESPACE,
    SIDECARS_OF_WORKLOAD,
    UNKNOWN_REFERENCE,
)
from meshware.policy.decode import nearest
from meshware.policy.document.destination_rule import DestinationRuleSpec
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    WorkloadEntrySpec,
    WorkloadGroupSpec,
)
from meshware.policy.document.sidecar import SidecarSpec
from meshware.policy.names import is_wildcard, matches
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.grammar import bad_host, shown_labels
from meshware.policy.validate.registry import Labels, Registry
from meshware.policy.yaml12 import brief

__all__ = ["check_selectors"]


def check_selectors(registry: Registry, report: Report) -> None:
    """Report selectors that select nothing, Sidecars that compete, and ports that nobody names."""
    named: dict[str, tuple[Resource, set[str]]] = {}  # workload -> the ports of its services
    for resource in registry.resources:
        spec = resource.spec
        if isinstance(spec, ServiceEntrySpec) and spec.workload_selector is not None:
            labels = spec.workload_selector.labels
            _check_any(resource, "spec.workloadSelector.labels", labels, registry, report)
            ports = {port.name for port in spec.ports or () if port.name}
            for workload, _ in registry.selected(resource.namespace, labels):
                named.setdefault(workload.key, (workload, set()))[1].update(ports)
        elif isinstance(spec, DestinationRuleSpec) and spec.workload_selector is not None:
            labels = spec.workload_selector.match_labels
            _check_any(resource, "spec.workloadSelector.matchLabels", labels, registry, report)
        elif isinstance(spec, SidecarSpec):
            if spec.workload_selector is not None:
                labels = spec.workload_selector.labels
                _check_any(resource, "spec.workloadSelector.labels", labels, registry, report)
            _check_imports(resource, spec, registry, report)
    for workload, names in named.values():
        _check_port_names(workload, names, report)
    _check_rivals(registry, report)


def _check_port_names(workload: Resource, names: set[str], report: Report) -> None:
    """Report ports under a name that no service of the workload has: they change nothing."""
    spec, path = workload.spec, "spec.ports"
    if isinstance(spec, WorkloadGroupSpec):
        spec, path = spec.template, "spec.template.ports"
    for name in (spec.ports if isinstance(spec, WorkloadEntrySpec) else None) or ():
        if name in names:
            continue
        near = nearest(name, names)
        hint = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(names)[:10])}"
        report.warning(
            workload,
            f"{path}[{name}]",
            f"no service that selects this workload has a port named {brief(name)!r}, so its "
            f"callers dial the service's own port number; {hint}",
            UNKNOWN_REFERENCE,
        )


def _check_any(
    resource: Resource, path: str, selector: Labels | None, registry: Registry, report: Report
) -> None:
    if not selector or registry.selected(resource.namespace, selector):
        return  # an empty selector is told of where the resource is looked at alone
    report.warning(
        resource,
        path,
        f"no workload in namespace {resource.namespace} has the labels "
        f"{brief(shown_labels(selector), 100)}; mend them, or add a WorkloadEntry or WorkloadGroup "
        "that has",
        NO_WORKLOAD,
    )


def _check_imports(
    resource: Resource, spec: SidecarSpec, registry: Registry, report: Report
) -> None:
    """Report imported hosts that no service has: the client would not know what it needs."""
    for at, listener in enumerate(spec.egress or ()):
        for index, written in enumerate(listener.hosts):
            namespace, _, host = written.partition("/")
            if namespace.startswith("~") or bad_host(host) is not None or host == "*":
                continue
            wanted = resource.namespace if namespace == "." else namespace
            if not _is_declared(host.lower(), wanted, registry):
                where = "" if wanted == "*" else f" of namespace {brief(wanted)}"
                report.warning(
                    resource,
                    f"spec.egress[{at}].hosts[{index}]",
                    f"no ServiceEntry{where} has the host {brief(host, 100)}; mend it, or add one",
                    UNKNOWN_REFERENCE,
                )


def _is_declared(host: str, namespace: str, registry: Registry) -> bool:
    if namespace == "*":
        return registry.is_host(host)
    if not is_wildcard(host):
        return any(c.resource.namespace == namespace for c in registry.claims_of(host))
    return any(matches(host, one) for one in registry.hosts_of(namespace)) or any(
        claim.resource.namespace == namespace for claim in registry.claims_of(host)
    )


def _check_rivals(registry: Registry, report: Report) -> None:
    alone: dict[str, Resource] = {}  # namespace -> its Sidecar without a selector
    taken: dict[str, Resource] = {}  # workload -> the Sidecar that selects it
    for resource in registry.resources:
        spec = resource.spec
        if not isinstance(spec, SidecarSpec):
            continue
        selector = spec.workload_selector.labels if spec.workload_selector else None
        if not selector:
            other = alone.setdefault(resource.namespace, resource)
            if other.name != resource.name:
                report.error(
                    resource,
                    "spec",
                    f"{_shown(other)} has no workloadSelector either, and a namespace has one "
                    "such Sidecar; join them, or select workloads",
                    SIDECARS_OF_NAMESPACE,
                )
            continue
        rivals: dict[str, tuple[Resource, Resource]] = {}
        for workload, _ in registry.selected(resource.namespace, selector):
            other = taken.setdefault(workload.key, resource)
            if other.name != resource.name:
                rivals.setdefault(other.key, (other, workload))
        for other, workload in rivals.values():
            report.error(
                resource,
                "spec.workloadSelector.labels",
                f"{_shown(other)} selects {workload.kind} {workload.name} too, and only one of "
                "them would hold; select different workloads",
                SIDECARS_OF_WORKLOAD,
            )


def _shown(resource: Resource) -> str:
    return (
        f"Sidecar {resource.namespace}/{resource.name} "
        f"({resource.origin.file}:{resource.origin.line})"
    )
