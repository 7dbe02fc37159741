"""Sidecar: what a client knows of the mesh. Source: networking.istio.io/v1."""

from __future__ import annotations

from typing import Literal

from meshware.policy.document.common import Document, Port
from meshware.policy.document.destination_rule import ConnectionPoolSettings
from meshware.policy.document.service_entry import LabelSelector
from meshware.policy.document.virtual_service import Destination

__all__ = [
    "IstioEgressListener",
    "IstioIngressListener",
    "OutboundTrafficPolicy",
    "ServerTLSSettings",
    "SidecarPort",
    "SidecarSpec",
    "TLSCertificate",
]

CaptureMode = Literal["DEFAULT", "IPTABLES", "NONE"]
TLSVersion = Literal["TLS_AUTO", "TLSV1_0", "TLSV1_1", "TLSV1_2", "TLSV1_3"]


class SidecarPort(Document, frozen=True):
    """A port that a sidecar listens on."""

    number: Port | None = None
    name: str | None = None
    protocol: str | None = None
    target_port: Port | None = None


class IstioEgressListener(Document, frozen=True):
    """Which hosts a client may know, as `namespace/host`."""

    hosts: tuple[str, ...]
    port: SidecarPort | None = None
    bind: str | None = None
    capture_mode: CaptureMode | None = None


class TLSCertificate(Document, frozen=True):
    """One pair of key and certificate."""

    server_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None


class ServerTLSSettings(Document, frozen=True):
    """TLS of a listener."""

    https_redirect: bool | None = None
    mode: (
        Literal[
            "PASSTHROUGH", "SIMPLE", "MUTUAL", "AUTO_PASSTHROUGH", "ISTIO_MUTUAL", "OPTIONAL_MUTUAL"
        ]
        | None
    ) = None
    server_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None
    ca_crl: str | None = None
    ca_cert_credential_name: str | None = None
    credential_name: str | None = None
    credential_names: tuple[str, ...] | None = None
    subject_alt_names: tuple[str, ...] | None = None
    verify_certificate_spki: tuple[str, ...] | None = None
    verify_certificate_hash: tuple[str, ...] | None = None
    min_protocol_version: TLSVersion | None = None
    max_protocol_version: TLSVersion | None = None
    cipher_suites: tuple[str, ...] | None = None
    tls_certificates: tuple[TLSCertificate, ...] | None = None


class IstioIngressListener(Document, frozen=True):
    """A listener for inbound calls."""

    port: SidecarPort
    bind: str | None = None
    capture_mode: CaptureMode | None = None
    default_endpoint: str | None = None
    tls: ServerTLSSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None


class OutboundTrafficPolicy(Document, frozen=True):
    """What happens to hosts that the mesh does not know."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] | None = None
    egress_proxy: Destination | None = None


class SidecarSpec(Document, frozen=True):
    """What some clients know of the mesh."""

    workload_selector: LabelSelector | None = None
    ingress: tuple[IstioIngressListener, ...] | None = None
    egress: tuple[IstioEgressListener, ...] | None = None
    inbound_connection_pool: ConnectionPoolSettings | None = None
    outbound_traffic_policy: OutboundTrafficPolicy | None = None
