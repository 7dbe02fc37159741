"""Which resources may have a say in calls to a service. Pure.

For readers: what stands beside an edge is what they may want to edit. Whether a rule then matches a
call is for `meshware explain`, which decides it by the mesh's own code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from meshware.dashboard.graph import Node

__all__ = ["may_concern"]

_APP_LABELS = ("app", "app.kubernetes.io/name", "service.istio.io/canonical-name")
_OF_HOSTS = frozenset({"VirtualService", "DestinationRule", "ServiceEntry", "ServicePolicy"})
_OF_CALLERS = frozenset({"Sidecar"})
_OF_WORKLOADS = frozenset(
    {
        "AuthorizationPolicy",
        "PeerAuthentication",
        "RequestAuthentication",
        "Telemetry",
        "WorkloadEntry",
        "WorkloadGroup",
    }
)


def may_concern(
    resource: Mapping[str, Any], target: Node, hosts: Collection[str], source: Node | None = None
) -> bool:
    """Say whether a resource may have a say in calls to a node.

    Args:
        resource: as `/api/policy` tells it; `hosts` and `selector` are of its spec.
        target: what is called.
        hosts: by which it is called.
        source: who calls; None: anybody.
    """
    kind, namespace = resource["kind"], resource["namespace"]
    if kind == "MeshConfig":
        return True
    if kind in _OF_HOSTS:
        return any(
            _is_named(written, namespace, target, hosts) for written in resource.get("hosts", ())
        )
    selector = resource.get("selector") or {}
    if kind in _OF_CALLERS:
        return source is not None and _is_selected(selector, namespace, source, resource)
    if kind in _OF_WORKLOADS:
        if not selector and kind in ("WorkloadEntry", "WorkloadGroup"):
            return False
        return _is_selected(selector, namespace, target, resource)
    return False


def _is_selected(
    selector: Mapping[str, str], namespace: str, node: Node, resource: Mapping[str, Any]
) -> bool:
    """Say whether a selector may mean a node; without one all of its namespace is meant."""
    if namespace != node.namespace and not resource.get("is_of_mesh", False):
        return False
    for label in _APP_LABELS:
        if label in selector and selector[label] != node.name:
            return False
    version = selector.get("version")
    return version is None or node.version is None or version == node.version


def _is_named(written: str, namespace: str, node: Node, hosts: Collection[str]) -> bool:
    """Say whether a host of a resource means a node. Source: Istio's short names."""
    if written == "*":
        return True
    if written.startswith("*."):
        return any(host.endswith(written[1:]) for host in hosts)
    if written in hosts:
        return True
    parts = written.split(".")
    if len(parts) == 1:
        return (written, namespace) == (node.name, node.namespace)
    return parts[:2] == [node.name, node.namespace] and node.kind != "outside"
