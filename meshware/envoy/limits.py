"""What a cluster takes, and when its endpoints are taken out.

Source: Istio, `getDefaultCircuitBreakerThresholds`, `applyConnectionPool`,
`applyOutlierDetection`: limits that nobody writes are as good as none, and so unlike Envoy's own.
"""

from __future__ import annotations

from meshware.envoy.values import Json, duration
from meshware.policy.document.destination_rule import (
    ConnectionPoolSettings,
    HTTPSettings,
    OutlierDetection,
    RetryBudget,
    TCPSettings,
)

__all__ = ["circuit_breakers", "keep_alive", "outlier_detection", "protocol_options"]

_NO_LIMIT = 2**32 - 1
_BUDGET_PERCENT, _BUDGET_LEAST = 20.0, 3  # Envoy's RetryBudget


def circuit_breakers(pool: ConnectionPoolSettings | None, budget: RetryBudget | None) -> Json:
    """Return the thresholds of a cluster; a limit of 0 counts as not written, as in Istio."""
    tcp = (pool.tcp if pool else None) or TCPSettings()
    http = (pool.http if pool else None) or HTTPSettings()
    limits: Json = {
        "max_connections": tcp.max_connections or _NO_LIMIT,
        "max_pending_requests": http.http1_max_pending_requests or _NO_LIMIT,
        "max_requests": http.http2_max_requests or _NO_LIMIT,
        "max_retries": http.max_retries or _NO_LIMIT,
    }
    if budget is not None:
        least = budget.min_retry_concurrency
        limits["retry_budget"] = {
            "budget_percent": {
                "value": _BUDGET_PERCENT if budget.percent is None else budget.percent
            },
            "min_retry_concurrency": _BUDGET_LEAST if least is None else least,
        }
    return {"thresholds": [limits]}


def protocol_options(pool: ConnectionPoolSettings | None, protocol: str) -> Json:
    """Return the HttpProtocolOptions of a cluster, without TLS.

    Args:
        pool: the policy's.
        protocol: of the service's port: `HTTP`, `HTTP2`, `GRPC` ...
    """
    tcp = (pool.tcp if pool else None) or TCPSettings()
    http = (pool.http if pool else None) or HTTPSettings()
    common: Json = {}
    idle = http.idle_timeout if http.idle_timeout is not None else tcp.idle_timeout
    if idle is not None:
        common["idle_timeout"] = duration(idle)
    if http.max_requests_per_connection:
        common["max_requests_per_connection"] = http.max_requests_per_connection
    if tcp.max_connection_duration:
        common["max_connection_duration"] = duration(tcp.max_connection_duration)
    options: Json = {"common_http_protocol_options": common} if common else {}
    is_http2 = protocol in ("HTTP2", "GRPC", "GRPC-WEB") or http.h2_upgrade_policy == "UPGRADE"
    http2 = {"max_concurrent_streams": http.max_concurrent_streams or 2**31 - 1}
    if http.use_client_protocol:
        both = {"http_protocol_options": {}, "http2_protocol_options": http2}
        return {**options, "use_downstream_protocol_config": both}
    spoken = {"http2_protocol_options": http2} if is_http2 else {"http_protocol_options": {}}
    return {**options, "explicit_http_config": spoken}


def keep_alive(pool: ConnectionPoolSettings | None) -> Json | None:
    """Return the kernel's keep-alive of a cluster's connections; None: as the system has it."""
    written = pool.tcp.tcp_keepalive if pool and pool.tcp else None
    if written is None:
        return None
    found: Json = {}
    if written.probes:
        found["keepalive_probes"] = written.probes
    if written.time:
        found["keepalive_time"] = int(written.time)
    if written.interval:
        found["keepalive_interval"] = int(written.interval)
    return found


def outlier_detection(written: OutlierDetection | None) -> Json | None:
    """Return when endpoints are ejected; None: never."""
    if written is None:
        return None
    found: Json = {"enforcing_success_rate": 0}
    _count(found, "consecutive_5xx", written.consecutive_5xx_errors)
    gateway = written.consecutive_gateway_errors
    _count(found, "consecutive_gateway_failure", gateway)
    if written.interval:
        found["interval"] = duration(written.interval)
    if written.base_ejection_time:
        found["base_ejection_time"] = duration(written.base_ejection_time)
    if written.max_ejection_percent:
        found["max_ejection_percent"] = written.max_ejection_percent
    if written.split_external_local_origin_errors:
        found["split_external_local_origin_errors"] = True
        found["enforcing_local_origin_success_rate"] = 0
        _count(found, "consecutive_local_origin_failure", written.consecutive_local_origin_failures)
    return found


def _count(found: Json, name: str, limit: int | None) -> None:
    """Write a count down; 0 turns it off, which is a share of 0 that is ejected."""
    if limit is None:
        return
    if limit:
        found[name] = limit
    found[f"enforcing_{name}"] = 100 if limit else 0
