"""The telemetry of one workload, out of what it sees of the records."""

from __future__ import annotations

from collections.abc import Mapping

from meshware.policy.labels import canonical_service
from meshware.policy.record_types import TelemetrySettings
from meshware.policy.telemetry_plan import DEFAULT_PLAN, TelemetryPlan
from meshware.policy.view import View

__all__ = ["compile_telemetry"]

_NOTHING = TelemetrySettings()


def compile_telemetry(seen: View, account: str | None) -> TelemetryPlan:
    """Return what is measured, traced and logged.

    Args:
        seen: the records through the eyes of the workload.
        account: its service account; None: it has none.

    Raises:
        CelError: an expression cannot be compiled.
        PolicyError: a record is missing.
    """
    mesh = seen.mesh
    policies = [found.spec for found in seen.telemetries]
    if not policies and not mesh.providers and mesh.telemetry == _NOTHING:
        return DEFAULT_PLAN
    # An app whose policy says nothing of telemetry needs none of these.
    from meshware.policy.telemetry_merge import merge_telemetry
    from meshware.policy.telemetry_providers import Providers

    def dial(host: str, port: int) -> tuple[str, int]:
        return _reached(seen, host, port)

    providers = Providers(mesh.providers, dial)
    return merge_telemetry(mesh.telemetry, providers, policies, _node(seen, account))


def _reached(seen: View, host: str, port: int) -> tuple[str, int]:
    """Return an endpoint of a service; of what the mesh does not know the name itself."""
    service = seen.service(host)
    for endpoint in () if service is None else seen.endpoints(service):
        own = endpoint.ports.get(str(port))
        if own is not None and not endpoint.address.startswith("unix:"):
            return endpoint.address, own
    return host, port


def _node(seen: View, account: str | None) -> Mapping[str, object]:
    """Return what expressions find under `xds.node`, as Istio's sidecars have it."""
    client = seen.client
    name, namespace = client.name or "unknown", client.namespace
    labels = dict(client.labels or {})
    region, zone, sub_zone = (*(client.locality or "").split("/"), "", "", "")[:3]
    metadata: dict[str, object] = {
        "NAME": name,
        "NAMESPACE": namespace,
        "WORKLOAD_NAME": name,
        "LABELS": labels,
        "MESH_ID": seen.mesh.trust_domain,
    }
    if account:
        metadata["SERVICE_ACCOUNT"] = account
    return {
        "id": f"{name}.{namespace}",
        "cluster": f"{canonical_service(labels, name)}.{namespace}",
        "locality": {"region": region, "zone": zone, "sub_zone": sub_zone},
        "metadata": metadata,
    }
