"""Check which workloads the inbound policies select: a slip there leaves a door open.

Source: Istio's validation of workload selectors; its analyser, IST0127.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
)
from meshware.policy.document.common import WorkloadSelector
from meshware.policy.document.peer_authentication import PeerAuthenticationSpec
from meshware.policy.document.request_authentication import RequestAuthenticationSpec
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
from meshware.policy.document.telemetry import TelemetrySpec
from meshware.policy.document.workload_policy import WorkloadPolicySpec
from meshware.policy.labels import selects
from meshware.policy.parse import Resource
from meshware.policy.records import labels_of
from meshware.policy.validate.common import Report
from meshware.policy.validate.mesh_config import root_namespace_of
from meshware.policy.yaml12 import brief

__all__ = ["NO_WORKLOAD", "check_authorization_selectors"]

NO_WORKLOAD = "IST0127"  # Istio's NoMatchingWorkloadsFound

_SELECTOR = "spec.selector"
_SELECTING = (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
    PeerAuthenticationSpec,
    RequestAuthenticationSpec,
    TelemetrySpec,
    WorkloadPolicySpec,
)


def check_authorization_selectors(resources: Sequence[Resource], report: Report) -> None:
    """Report selectors that select nothing, or everything by accident."""
    root = root_namespace_of(resources)
    workloads: dict[str, list[Mapping[str, str]]] = {}
    for resource in resources:
        if isinstance(resource.spec, WorkloadEntrySpec | WorkloadGroupSpec):
            workloads.setdefault(resource.namespace, []).append(labels_of(resource))
    for resource in resources:
        spec = resource.spec
        if isinstance(spec, PeerAuthenticationSpec) and resource.namespace == root:
            continue  # with a selector it selects nobody there, which is told elsewhere
        if isinstance(spec, _SELECTING):
            _check(resource, spec.selector, workloads, root, report)


def _check(
    resource: Resource,
    selector: WorkloadSelector | None,
    workloads: Mapping[str, Sequence[Mapping[str, str]]],
    root: str,
    report: Report,
) -> None:
    if selector is None:
        return
    wanted = selector.match_labels
    if not wanted:
        report.warning(
            resource,
            _SELECTOR,
            "the selector names no label and so selects every workload; add matchLabels, or "
            "remove it to say the same",
        )
        return
    is_bad = False
    for name, value in wanted.items():
        if not name or "*" in name or "*" in value:
            is_bad = True
            report.error(
                resource,
                f"{_SELECTOR}.matchLabels[{name}]",
                f"{brief(name)!r}: {brief(value)!r} is no label; selectors have no wildcards, "
                "write a name and a value",
            )
    # A Telemetry with a selector is for its own namespace, the root one's too.
    is_wide = resource.namespace == root and not isinstance(resource.spec, TelemetrySpec)
    in_reach = workloads if is_wide else {resource.namespace}
    if not is_bad and not any(
        selects(wanted, labels) for one in in_reach for labels in workloads.get(one, ())
    ):
        where = "" if is_wide else f" in namespace {resource.namespace}"
        labels = ", ".join(f"{name}={value}" for name, value in wanted.items())
        report.warning(
            resource,
            f"{_SELECTOR}.matchLabels",
            f"no workload{where} has the labels {brief(labels, 100)}; mend them, or add a "
            "WorkloadEntry or WorkloadGroup that has",
            NO_WORKLOAD,
        )
