"""The kinds of the policy language: which there are, in which group, and what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
)
from meshware.policy.document.common import Document
from meshware.policy.document.destination_rule import DestinationRuleSpec
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.document.peer_authentication import PeerAuthenticationSpec
from meshware.policy.document.request_authentication import RequestAuthenticationSpec
from meshware.policy.document.service_entry import (
    ServiceEntrySpec,
    WorkloadEntrySpec,
    WorkloadGroupSpec,
)
from meshware.policy.document.service_policy import ServicePolicySpec
from meshware.policy.document.sidecar import SidecarSpec
from meshware.policy.document.telemetry import TelemetrySpec
from meshware.policy.document.virtual_service import VirtualServiceSpec
from meshware.policy.document.workload_policy import WorkloadPolicySpec

__all__ = ["KINDS", "NOT_CARRIED", "OURS", "Kind", "Unknown", "classify"]

NETWORKING = "networking.istio.io"
SECURITY = "security.istio.io"
TELEMETRY = "telemetry.istio.io"
EXTENSIONS = "extensions.istio.io"
OURS = "meshware.dev"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind that the mesh carries."""

    name: str
    group: str
    versions: tuple[str, ...]  # the schema is the same in all of them
    spec: type[Document]
    label: str  # the name, told apart where two groups have one of that name


_NETWORKING_VERSIONS = ("v1", "v1beta1", "v1alpha3")
_SECURITY_VERSIONS = ("v1", "v1beta1")


def _kind(
    name: str, group: str, versions: tuple[str, ...], spec: type[Document], label: str = ""
) -> tuple[tuple[str, str], Kind]:
    return (group, name), Kind(name, group, versions, spec, label or name)


KINDS: Mapping[tuple[str, str], Kind] = MappingProxyType(
    dict(
        (
            _kind("VirtualService", NETWORKING, _NETWORKING_VERSIONS, VirtualServiceSpec),
            _kind("DestinationRule", NETWORKING, _NETWORKING_VERSIONS, DestinationRuleSpec),
            _kind("ServiceEntry", NETWORKING, _NETWORKING_VERSIONS, ServiceEntrySpec),
            _kind("WorkloadEntry", NETWORKING, _NETWORKING_VERSIONS, WorkloadEntrySpec),
            _kind("WorkloadGroup", NETWORKING, _NETWORKING_VERSIONS, WorkloadGroupSpec),
            _kind("Sidecar", NETWORKING, _NETWORKING_VERSIONS, SidecarSpec),
            _kind("PeerAuthentication", SECURITY, _SECURITY_VERSIONS, PeerAuthenticationSpec),
            _kind("RequestAuthentication", SECURITY, _SECURITY_VERSIONS, RequestAuthenticationSpec),
            _kind("AuthorizationPolicy", SECURITY, _SECURITY_VERSIONS, AuthorizationPolicySpec),
            _kind("Telemetry", TELEMETRY, ("v1", "v1alpha1"), TelemetrySpec),
            _kind("MeshConfig", OURS, ("v1alpha1",), MeshConfigSpec),
            _kind("ServicePolicy", OURS, ("v1alpha1",), ServicePolicySpec),
            _kind("WorkloadPolicy", OURS, ("v1alpha1",), WorkloadPolicySpec),
            _kind(
                "AuthorizationPolicy",
                OURS,
                ("v1alpha1",),
                MeshAuthorizationPolicySpec,
                "AuthorizationPolicy (meshware.dev)",
            ),
        )
    )
)
"""Every kind that is carried, by group and name."""

NOT_CARRIED: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        (NETWORKING, "Gateway"): "there is no gateway in an app's process",
        (NETWORKING, "EnvoyFilter"): "there is no Envoy in an app's process",
        (NETWORKING, "ProxyConfig"): "there is no proxy to configure",
        (EXTENSIONS, "WasmPlugin"): "there is no proxy to extend",
        (EXTENSIONS, "TrafficExtension"): "there is no proxy to extend",
    }
)
"""The kinds that Istio has and the mesh does not carry, and why."""

_GROUPS = frozenset({NETWORKING, SECURITY, TELEMETRY, EXTENSIONS, OURS})
_OWNERS: dict[str, list[str]] = {}
for _group, _name in (*KINDS, *NOT_CARRIED):
    _OWNERS.setdefault(_name, []).append(_group)

# The Gateway API has a Gateway of its own; everything else by one of our names is a slip.
_NAMESAKES = frozenset({("gateway.networking.k8s.io", "Gateway")})


@dataclass(frozen=True, slots=True)
class Unknown:
    """A kind that is not carried: foreign and skipped, or a mistake."""

    is_error: bool
    field: str
    message: str


def classify(api_version: str, kind: str) -> Kind | Unknown:
    """Return the kind that a resource has, or why it is skipped or refused."""
    group, _, version = api_version.rpartition("/")
    found = KINDS.get((group, kind))
    if found is not None:
        if version in found.versions:
            return found
        return Unknown(
            True,
            "apiVersion",
            f"{kind} has no version {version!r}; write {group}/{found.versions[0]}",
        )
    why = NOT_CARRIED.get((group, kind))
    if why is not None:
        return Unknown(False, "kind", f"{kind} is not applicable: {why}; it is skipped")
    if group in _GROUPS:
        owners = _OWNERS.get(kind)
        if owners:
            return Unknown(True, "apiVersion", f"{kind} belongs to {' and '.join(owners)}")
        near = ", ".join(sorted(name for g, name in (*KINDS, *NOT_CARRIED) if g == group))
        return Unknown(True, "kind", f"{group} has no kind {kind!r}; it has {near}")
    owners = _OWNERS.get(kind)
    if owners and (group, kind) not in _NAMESAKES:
        right = " or ".join(
            f"{owner}/{KINDS[owner, kind].versions[0]}" if (owner, kind) in KINDS else owner
            for owner in owners
        )
        return Unknown(
            True, "apiVersion", f"{kind} is not a kind of {api_version!r}; write {right}"
        )
    return Unknown(
        False, "kind", f"{kind} of {api_version} is not applicable to the mesh; it is skipped"
    )
