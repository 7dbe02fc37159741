"""ServiceEntry, WorkloadEntry and WorkloadGroup: what services and workloads there are.

Source: networking.istio.io/v1.
"""

from __future__ import annotations

from typing import Literal

from meshware.policy.document.common import Document, Labels, Port

__all__ = [
    "ExecHealthCheckConfig",
    "GrpcHealthCheckConfig",
    "HTTPHeader",
    "HTTPHealthCheckConfig",
    "LabelSelector",
    "ObjectMeta",
    "ReadinessProbe",
    "ServiceEntrySpec",
    "ServicePort",
    "TCPHealthCheckConfig",
    "WorkloadEntrySpec",
    "WorkloadGroupSpec",
]


class ServicePort(Document, frozen=True):
    """One port of a service."""

    number: Port
    name: str
    protocol: str | None = None
    target_port: Port | None = None


class LabelSelector(Document, frozen=True):
    """Workloads by their labels, as networking kinds write it."""

    labels: Labels | None = None


class WorkloadEntrySpec(Document, frozen=True):
    """One instance of a workload: where it is reached and who it is."""

    address: str | None = None
    ports: dict[str, Port] | None = None
    labels: Labels | None = None
    network: str | None = None
    locality: str | None = None
    weight: int | None = None
    service_account: str | None = None


class ServiceEntrySpec(Document, frozen=True):
    """Hosts that are services of the mesh, and their endpoints."""

    hosts: tuple[str, ...]
    addresses: tuple[str, ...] | None = None
    ports: tuple[ServicePort, ...] | None = None
    location: Literal["MESH_EXTERNAL", "MESH_INTERNAL"] | None = None
    resolution: Literal["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"] | None = None
    endpoints: tuple[WorkloadEntrySpec, ...] | None = None
    workload_selector: LabelSelector | None = None
    export_to: tuple[str, ...] | None = None
    subject_alt_names: tuple[str, ...] | None = None


class ObjectMeta(Document, frozen=True):
    """Labels and annotations that every workload of a group has."""

    labels: Labels | None = None
    annotations: Labels | None = None


class HTTPHeader(Document, frozen=True):
    """A header of a probe's request."""

    name: str | None = None
    value: str | None = None


class HTTPHealthCheckConfig(Document, frozen=True):
    """Probe by an HTTP request."""

    port: Port
    path: str | None = None
    host: str | None = None
    scheme: str | None = None
    http_headers: tuple[HTTPHeader, ...] | None = None


class TCPHealthCheckConfig(Document, frozen=True):
    """Probe by a TCP connection."""

    port: Port
    host: str | None = None


class ExecHealthCheckConfig(Document, frozen=True):
    """Probe by a command."""

    command: tuple[str, ...]


class GrpcHealthCheckConfig(Document, frozen=True):
    """Probe by the gRPC health service."""

    port: Port | None = None
    service: str | None = None


class ReadinessProbe(Document, frozen=True):
    """How the health of a group's workloads is found out."""

    initial_delay_seconds: int | None = None
    timeout_seconds: int | None = None
    period_seconds: int | None = None
    success_threshold: int | None = None
    failure_threshold: int | None = None
    http_get: HTTPHealthCheckConfig | None = None
    tcp_socket: TCPHealthCheckConfig | None = None
    exec: ExecHealthCheckConfig | None = None
    grpc: GrpcHealthCheckConfig | None = None


class WorkloadGroupSpec(Document, frozen=True):
    """What the workloads of a group have in common."""

    template: WorkloadEntrySpec
    metadata: ObjectMeta | None = None
    probe: ReadinessProbe | None = None
