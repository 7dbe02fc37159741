"""DestinationRule: what happens to calls once their destination is known.

Source: networking.istio.io/v1.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from meshware.policy.document.common import Document, Duration, Labels, Percentage, WorkloadSelector
from meshware.policy.document.virtual_service import PortSelector

__all__ = [
    "ClientTLSSettings",
    "ConnectionPoolSettings",
    "ConsistentHash",
    "CookieAttribute",
    "DestinationRuleSpec",
    "Distribute",
    "Failover",
    "HTTPCookie",
    "HTTPSettings",
    "LoadBalancerSettings",
    "LocalityLbSetting",
    "Maglev",
    "OutlierDetection",
    "PortTrafficPolicy",
    "ProxyProtocol",
    "RetryBudget",
    "RingHash",
    "Subset",
    "TCPKeepalive",
    "TCPSettings",
    "TrafficPolicy",
    "TunnelSettings",
    "Warmup",
]


class CookieAttribute(Document, frozen=True):
    """One attribute of a generated cookie."""

    name: str
    value: str | None = None


class HTTPCookie(Document, frozen=True):
    """The cookie that keeps a caller at one endpoint."""

    name: str
    path: str | None = None
    ttl: Duration | None = None
    attributes: tuple[CookieAttribute, ...] | None = None


class RingHash(Document, frozen=True):
    """Ketama ring."""

    minimum_ring_size: int | None = None


class Maglev(Document, frozen=True):
    """Maglev table."""

    table_size: int | None = None


class ConsistentHash(Document, frozen=True):
    """Keep a caller at one endpoint by a property of its calls."""

    http_header_name: str | None = None
    http_cookie: HTTPCookie | None = None
    use_source_ip: bool | None = None
    http_query_parameter_name: str | None = None
    ring_hash: RingHash | None = None
    maglev: Maglev | None = None
    minimum_ring_size: int | None = None


class Distribute(Document, frozen=True):
    """Shares of calls from one locality to others."""

    from_: str | None = msgspec.field(name="from", default=None)
    to: dict[str, int] | None = None


class Failover(Document, frozen=True):
    """Where calls of a region go when it fails."""

    from_: str | None = msgspec.field(name="from", default=None)
    to: str | None = None


class LocalityLbSetting(Document, frozen=True):
    """Preferences among localities."""

    distribute: tuple[Distribute, ...] | None = None
    failover: tuple[Failover, ...] | None = None
    failover_priority: tuple[str, ...] | None = None
    enabled: bool | None = None


class Warmup(Document, frozen=True):
    """Ease new endpoints in."""

    duration: Duration
    minimum_percent: float | None = None
    aggression: float | None = None


class LoadBalancerSettings(Document, frozen=True):
    """How an endpoint is chosen."""

    simple: (
        Literal[
            "UNSPECIFIED", "LEAST_CONN", "RANDOM", "PASSTHROUGH", "ROUND_ROBIN", "LEAST_REQUEST"
        ]
        | None
    ) = None
    consistent_hash: ConsistentHash | None = None
    locality_lb_setting: LocalityLbSetting | None = None
    warmup_duration_secs: Duration | None = None
    warmup: Warmup | None = None


class TCPKeepalive(Document, frozen=True):
    """Keep-alive probes of the kernel."""

    probes: int | None = None
    time: Duration | None = None
    interval: Duration | None = None


class TCPSettings(Document, frozen=True):
    """Limits on connections."""

    max_connections: int | None = None
    connect_timeout: Duration | None = None
    tcp_keepalive: TCPKeepalive | None = None
    max_connection_duration: Duration | None = None
    idle_timeout: Duration | None = None


class HTTPSettings(Document, frozen=True):
    """Limits on requests."""

    http1_max_pending_requests: int | None = None
    http2_max_requests: int | None = None
    max_requests_per_connection: int | None = None
    max_retries: int | None = None
    idle_timeout: Duration | None = None
    h2_upgrade_policy: Literal["DEFAULT", "DO_NOT_UPGRADE", "UPGRADE"] | None = None
    use_client_protocol: bool | None = None
    max_concurrent_streams: int | None = None


class ConnectionPoolSettings(Document, frozen=True):
    """Limits per service."""

    tcp: TCPSettings | None = None
    http: HTTPSettings | None = None


class OutlierDetection(Document, frozen=True):
    """When an endpoint is taken out for its behaviour."""

    consecutive_errors: int | None = None
    split_external_local_origin_errors: bool | None = None
    consecutive_local_origin_failures: int | None = None
    consecutive_gateway_errors: int | None = None
    consecutive_5xx_errors: int | None = msgspec.field(name="consecutive5xxErrors", default=None)
    interval: Duration | None = None
    base_ejection_time: Duration | None = None
    max_ejection_percent: int | None = None
    min_health_percent: int | None = None


class ClientTLSSettings(Document, frozen=True):
    """TLS towards the destination."""

    mode: Literal["DISABLE", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] | None = None
    client_certificate: str | None = None
    private_key: str | None = None
    ca_certificates: str | None = None
    credential_name: str | None = None
    subject_alt_names: tuple[str, ...] | None = None
    sni: str | None = None
    insecure_skip_verify: bool | None = None
    ca_crl: str | None = None


class TunnelSettings(Document, frozen=True):
    """Tunnel through another proxy."""

    target_host: str
    target_port: int
    protocol: str | None = None


class ProxyProtocol(Document, frozen=True):
    """Send a PROXY protocol header."""

    version: Literal["V1", "V2"] | None = None


class RetryBudget(Document, frozen=True):
    """The share of calls that may be retries."""

    percent: Percentage | None = None
    min_retry_concurrency: int | None = None


class PortTrafficPolicy(Document, frozen=True):
    """Traffic policy of one port; it replaces the destination's, defaults included."""

    port: PortSelector | None = None
    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None


class TrafficPolicy(Document, frozen=True):
    """What happens to calls once their destination is known."""

    load_balancer: LoadBalancerSettings | None = None
    connection_pool: ConnectionPoolSettings | None = None
    outlier_detection: OutlierDetection | None = None
    tls: ClientTLSSettings | None = None
    port_level_settings: tuple[PortTrafficPolicy, ...] | None = None
    tunnel: TunnelSettings | None = None
    proxy_protocol: ProxyProtocol | None = None
    retry_budget: RetryBudget | None = None


class Subset(Document, frozen=True):
    """Some endpoints of a service, by their labels."""

    name: str
    labels: Labels | None = None
    traffic_policy: TrafficPolicy | None = None


class DestinationRuleSpec(Document, frozen=True):
    """Policies for calls to one host."""

    host: str
    traffic_policy: TrafficPolicy | None = None
    subsets: tuple[Subset, ...] | None = None
    export_to: tuple[str, ...] | None = None
    workload_selector: WorkloadSelector | None = None
