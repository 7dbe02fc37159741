"""Which resources may have a say in calls to a service. Pure.

For readers: what stands beside an edge is what they may want to edit. Whether a rule then matches a
call is for `meshware explain`, which decides it by the mesh's own code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from meshware.dashboard.graph import UNKNOWN, Node
from meshware.policy.labels import canonical_service
from meshware.policy.names import expand, matches

__all__ = ["may_concern"]

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
        hosts: by which it is called; none: by its own, as far as it is known.
        source: who calls; None: anybody.
    """
    kind, namespace = resource["kind"], resource["namespace"]
    if kind == "MeshConfig":
        return True
    if kind in _OF_HOSTS:
        patterns = [expand(written, namespace) for written in resource.get("hosts", ())]
        called = hosts or (_host(target),)
        return any(matches(pattern, host) for pattern in patterns for host in called)
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
    if canonical_service(selector, node.name) != node.name:
        return False
    version = selector.get("version")
    return version is None or node.version is None or version == node.version


def _host(node: Node) -> str:
    """Return the host of a node that nobody has called by one; that of unknown may be any."""
    if node.id == UNKNOWN:
        return "*"
    return node.name if node.kind == "outside" else expand(node.name, node.namespace)
