"""MeshConfig: mesh-wide settings, named as in Istio's MeshConfig, and some of ours.

Source: Istio mesh.v1alpha1.MeshConfig; written as meshware.dev/v1alpha1 in the root namespace.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from meshware.policy.document.common import Document, Duration, JsonObject, Percentage
from meshware.policy.document.destination_rule import LocalityLbSetting
from meshware.policy.document.virtual_service import HTTPRetry
from meshware.trace import Propagation

__all__ = [
    "AuthzProviderHttp",
    "CertificateData",
    "DefaultConfig",
    "DefaultProviders",
    "EnvoyFileAccessLog",
    "ExtensionProvider",
    "GatewayTopology",
    "Identity",
    "InProcessAuthorizer",
    "IncludeRequestBody",
    "Jwks",
    "LogFormat",
    "MeshConfigSpec",
    "MeshOutboundTrafficPolicy",
    "NodeIdentity",
    "NotCarried",
    "OpenTelemetryHeader",
    "OpenTelemetryHttp",
    "OpenTelemetryProvider",
    "PathNormalization",
    "PrometheusProvider",
    "ProxyHeaders",
    "ProxyTracing",
]


class MeshOutboundTrafficPolicy(Document, frozen=True):
    """What happens to hosts that the mesh does not know."""

    mode: Literal["REGISTRY_ONLY", "ALLOW_ANY"] | None = None


class PathNormalization(Document, frozen=True):
    """How paths are normalised before anything decides on them."""

    normalization: (
        Literal["DEFAULT", "NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"] | None
    ) = None


class GatewayTopology(Document, frozen=True):
    """How many proxies stand in front."""

    num_trusted_proxies: int | None = None


class ProxyHeaders(Document, frozen=True):
    """Headers that a proxy sends on."""

    forwarded_client_cert: Literal["SANITIZE", "SANITIZE_SET", "APPEND_FORWARD"] | None = None


class ProxyTracing(Document, frozen=True):
    """How calls are traced where Telemetry does not say."""

    sampling: Percentage | None = None


class DefaultConfig(Document, frozen=True):
    """Settings of every process."""

    gateway_topology: GatewayTopology | None = None
    proxy_headers: ProxyHeaders | None = None
    tracing: ProxyTracing | None = None


class CertificateData(Document, frozen=True):
    """The roots of other trust domains."""

    pem: str | None = None
    trust_domains: tuple[str, ...] | None = None


MOST_BODY_BYTES = 16 * 1024 * 1024
"""Of what an authorizer is shown: it is kept in memory for each request."""


class IncludeRequestBody(Document, frozen=True):
    """How much of a request's body an authorizer is shown."""

    max_request_bytes: Annotated[int, msgspec.Meta(ge=1, le=MOST_BODY_BYTES)] | None = None
    allow_partial_message: bool | None = None
    pack_as_bytes: bool | None = None


class AuthzProviderHttp(Document, frozen=True):
    """An external authorizer that speaks HTTP."""

    service: str
    port: int
    timeout: Duration | None = None
    path_prefix: str | None = None
    fail_open: bool | None = None
    status_on_error: str | None = None
    include_request_headers_in_check: tuple[str, ...] | None = None
    include_additional_headers_in_check: dict[str, str] | None = None
    include_request_body_in_check: IncludeRequestBody | None = None
    headers_to_upstream_on_allow: tuple[str, ...] | None = None
    headers_to_downstream_on_deny: tuple[str, ...] | None = None
    headers_to_downstream_on_allow: tuple[str, ...] | None = None


class InProcessAuthorizer(Document, frozen=True):
    """A function of the app, registered by `meshware.authorizer`. Ours."""

    timeout: Duration | None = None
    fail_open: bool | None = None
    status_on_error: str | None = None
    include_request_body_in_check: IncludeRequestBody | None = None


class PrometheusProvider(Document, frozen=True):
    """Metrics for whoever scrapes them; Istio's has no fields either."""


class LogFormat(Document, frozen=True):
    """How an access log is written: a line of text, or an object of JSON."""

    text: str | None = None
    labels: JsonObject | None = None


class EnvoyFileAccessLog(Document, frozen=True):
    """An access log in a file."""

    path: str | None = None
    log_format: LogFormat | None = None
    omit_empty_values: bool | None = None


class OpenTelemetryHeader(Document, frozen=True):
    """A header that exports of spans bear."""

    name: str
    value: str | None = None
    env_name: str | None = None


class OpenTelemetryHttp(Document, frozen=True):
    """How spans are exported over HTTP."""

    path: str | None = None
    timeout: Duration | None = None
    headers: tuple[OpenTelemetryHeader, ...] | None = None


class NotCarried(Document, frozen=True):
    """What Istio has and the mesh does not carry."""


class OpenTelemetryProvider(Document, frozen=True):
    """A receiver of spans that speaks OTLP."""

    service: str
    port: int
    http: OpenTelemetryHttp | None = None
    max_tag_length: int | None = None
    grpc: NotCarried | None = None
    resource_detectors: NotCarried | None = None
    dynatrace_sampler: NotCarried | None = None


class ExtensionProvider(Document, frozen=True):
    """Something outside of the mesh that policies name."""

    name: str
    envoy_ext_authz_http: AuthzProviderHttp | None = None
    in_process: InProcessAuthorizer | None = None
    prometheus: PrometheusProvider | None = None
    envoy_file_access_log: EnvoyFileAccessLog | None = None
    opentelemetry: OpenTelemetryProvider | None = None
    envoy_ext_authz_grpc: NotCarried | None = None
    envoy_http_als: NotCarried | None = None
    envoy_tcp_als: NotCarried | None = None
    envoy_otel_als: NotCarried | None = None
    zipkin: NotCarried | None = None
    lightstep: NotCarried | None = None
    datadog: NotCarried | None = None
    skywalking: NotCarried | None = None
    opencensus: NotCarried | None = None
    stackdriver: NotCarried | None = None
    sds: NotCarried | None = None


class DefaultProviders(Document, frozen=True):
    """Providers that count where Telemetry names none."""

    tracing: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    access_logging: tuple[str, ...] | None = None


class Identity(Document, frozen=True):
    """Where identities come from. Ours."""

    provider: Literal["embedded", "files", "workload-api"] | None = None
    denied_authorities: tuple[str, ...] | None = None  # fingerprints, SHA-256 in hex
    leaf_life: Duration | None = None  # of certificates that the embedded authority issues
    daemon_service_account: str | None = None  # "ns/sa": the daemon's own, for probes


class NodeIdentity(Document, frozen=True):
    """The Unix user that a service account's workloads run as. Ours."""

    service_account: str
    user: str


class Jwks(Document, frozen=True):
    """From where the keys of token issuers may be fetched. Ours."""

    allowed_internal_hosts: tuple[str, ...] | None = None
    allowed_http_hosts: tuple[str, ...] | None = None
    ca_file: str | None = None


class Tracing(Document, frozen=True):
    """How trace context is written in headers. Ours."""

    propagation: tuple[Propagation, ...] | None = None


class MeshConfigSpec(Document, frozen=True):
    """Mesh-wide settings."""

    trust_domain: str | None = None
    trust_domain_aliases: tuple[str, ...] | None = None
    root_namespace: str | None = None
    path_normalization: PathNormalization | None = None
    outbound_traffic_policy: MeshOutboundTrafficPolicy | None = None
    connect_timeout: Duration | None = None
    default_http_retry_policy: HTTPRetry | None = None
    locality_lb_setting: LocalityLbSetting | None = None
    default_service_export_to: tuple[str, ...] | None = None
    default_virtual_service_export_to: tuple[str, ...] | None = None
    default_destination_rule_export_to: tuple[str, ...] | None = None
    default_config: DefaultConfig | None = None
    default_providers: DefaultProviders | None = None
    extension_providers: tuple[ExtensionProvider, ...] | None = None
    ca_certificates: tuple[CertificateData, ...] | None = None
    enable_auto_mtls: bool | None = None
    dns_refresh_rate: Duration | None = None
    access_log_file: str | None = None
    access_log_format: str | None = None
    access_log_encoding: Literal["TEXT", "JSON"] | None = None
    enable_tracing: bool | None = None
    xfcc_trusted_proxies: tuple[str, ...] | None = None
    identity: Identity | None = None
    node_identities: tuple[NodeIdentity, ...] | None = None
    jwks: Jwks | None = None
    tracing: Tracing | None = None
