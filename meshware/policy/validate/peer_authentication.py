"""Check PeerAuthentications and WorkloadPolicies: ports, paths, and which of several counts.

Source: Istio's validation of PeerAuthentication.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshware.policy.codes import DUPLICATE
from meshware.policy.document.common import Document
from meshware.policy.document.peer_authentication import PeerAuthenticationSpec
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
from meshware.policy.document.workload_policy import WorkloadPolicySpec
from meshware.policy.parse import Resource
from meshware.policy.peer_modes import peer_modes
from meshware.policy.records import age, labels_of
from meshware.policy.validate.common import Report
from meshware.policy.validate.mesh_config import root_namespace_of
from meshware.policy.yaml12 import brief

__all__ = ["check_peer_authentication", "check_peer_authentications", "check_workload_policy"]


def check_peer_authentication(resource: Resource, report: Report) -> None:
    """Report what is wrong with one PeerAuthentication by itself."""
    spec = resource.spec
    if not isinstance(spec, PeerAuthenticationSpec):
        return
    ports = spec.port_level_mtls
    if ports and not (spec.selector and spec.selector.match_labels):
        report.error(
            resource,
            "spec.portLevelMtls",
            "portLevelMtls counts only beside a selector; add selector.matchLabels",
        )
    _check_ports(resource, "spec.portLevelMtls", ports or {}, report)


def check_workload_policy(resource: Resource, report: Report) -> None:
    """Report what is wrong with one WorkloadPolicy by itself."""
    spec = resource.spec
    if not isinstance(spec, WorkloadPolicySpec):
        return
    _check_ports(
        resource, "spec.portLevelTokenIdentity", spec.port_level_token_identity or {}, report
    )
    if not (spec.token_identity or spec.port_level_token_identity or spec.probe_paths):
        report.error(resource, "spec", "this policy says nothing; add tokenIdentity or probePaths")
    for index, path in enumerate(spec.probe_paths or ()):
        here = f"spec.probePaths[{index}]"
        if not path.startswith("/") or any(sign in path for sign in "*{}?#% "):
            report.error(
                resource,
                here,
                f"probePaths[{index}] is {brief(path)!r}; write one plain path, such as /healthz",
            )
        elif "//" in path or "/./" in f"{path}/" or "/../" in f"{path}/":
            report.error(
                resource, here, f"{brief(path)} is never a path by itself; write it normalised"
            )


def check_peer_authentications(resources: Sequence[Resource], report: Report) -> None:
    """Report PeerAuthentications that do not count, and workloads that nobody could call."""
    root = root_namespace_of(resources)
    ordered = sorted(resources, key=age)
    first: dict[tuple[str, frozenset[tuple[str, str]]], Resource] = {}
    for resource in ordered:
        spec = resource.spec
        if not isinstance(spec, PeerAuthenticationSpec):
            continue
        labels = (spec.selector.match_labels if spec.selector else None) or {}
        if labels and resource.namespace == root:
            report.warning(
                resource,
                "spec.selector",
                f"in the root namespace {root} a PeerAuthentication with a selector selects "
                "nobody; move it to the namespace of its workloads",
            )
        older = first.setdefault((resource.namespace, frozenset(labels.items())), resource)
        if older is not resource and older.name != resource.name:
            report.warning(
                resource,
                "spec",
                f"{older.name} ({older.origin.file}:{older.origin.line}) is older and for the same "
                "workloads, so this one does not count; put both into one",
                DUPLICATE,
            )
    _check_workloads(ordered, root, report)


def _check_workloads(resources: Sequence[Resource], root: str, report: Report) -> None:
    modes_of = peer_modes(resources, root)
    for resource in resources:
        spec = resource.spec
        if isinstance(spec, WorkloadGroupSpec):
            account, field = spec.template.service_account, "spec.template.serviceAccount"
        elif isinstance(spec, WorkloadEntrySpec):
            account, field = spec.service_account, "spec.serviceAccount"
        else:
            continue
        modes = modes_of(resource.namespace, labels_of(resource))
        if not account and "STRICT" in (modes.mode, *modes.ports.values()):
            report.warning(
                resource,
                field,
                "mode STRICT holds for this workload, which has no service account and so no "
                "certificate: nobody can call it; add serviceAccount",
            )


def _check_ports(
    resource: Resource, field: str, ports: Mapping[str, Document], report: Report
) -> None:
    for port in ports:
        if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535):
            report.error(
                resource,
                f"{field}[{port}]",
                f"{brief(port)!r} is no port; write the workload's own, from 1 to 65535",
            )
