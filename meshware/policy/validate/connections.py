"""Check what is said of the connections to a destination, apart from their number and their TLS.

Source: Istio, `validateConnectionPool`, and the ranges of its CRD; Linux, tcp(7) for keep-alive.
"""

from __future__ import annotations

from meshware.policy.codes import SUSPICIOUS
from meshware.policy.document.destination_rule import (
    ConnectionPoolSettings,
    HTTPSettings,
    TCPKeepalive,
    TCPSettings,
)
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.validate.fields import SHORTEST_S, check_duration

__all__ = ["check_connections"]

_LONGEST_PROBE_S = 32_767  # the kernel refuses more, for `time` and `interval`
_MOST_PROBES = 127
_SERVERS_KEEP_S = 5.0  # uvicorn and hypercorn; gunicorn 2 s, Envoy 1 h


def check_connections(
    resource: Resource, path: str, pool: ConnectionPoolSettings | None, report: Report
) -> None:
    """Report times, probes and counts that cannot be, or that bring about what nobody wants."""
    if pool is None:
        return
    if pool.tcp is not None:
        _check_tcp(resource, f"{path}.tcp", pool.tcp, report)
    if pool.http is not None:
        _check_http(resource, f"{path}.http", pool.http, report)


def _check_tcp(resource: Resource, path: str, tcp: TCPSettings, report: Report) -> None:
    check_duration(
        resource,
        f"{path}.maxConnectionDuration",
        tcp.max_connection_duration,
        report,
        ", or remove it for no limit",
    )
    idle_s = tcp.idle_timeout
    if idle_s is not None and 0 < idle_s < SHORTEST_S:
        report.error(
            resource,
            f"{path}.idleTimeout",
            "idleTimeout is too short; write at least 1ms, or 0s for no limit",
        )
    _check_idle(resource, f"{path}.idleTimeout", idle_s, report)
    if tcp.tcp_keepalive is not None:
        _check_keepalive(resource, f"{path}.tcpKeepalive", tcp.tcp_keepalive, report)


def _check_idle(resource: Resource, path: str, idle_s: float | None, report: Report) -> None:
    if idle_s is None or 0 < idle_s < _SERVERS_KEEP_S:
        return
    report.info(
        resource,
        path,
        "uvicorn and hypercorn close an idle connection after 5s, gunicorn after 2s: a request "
        "that is on its way then fails; keep this shorter than the server's own time, or remove it "
        "for 4s",
        SUSPICIOUS,
    )


def _check_keepalive(resource: Resource, path: str, written: TCPKeepalive, report: Report) -> None:
    for name, seconds in (("time", written.time), ("interval", written.interval)):
        here = f"{path}.{name}"
        check_duration(resource, here, seconds, report)
        if seconds is None or seconds < SHORTEST_S:
            continue
        if seconds > _LONGEST_PROBE_S:
            report.error(
                resource,
                here,
                f"{name} is more than the {_LONGEST_PROBE_S}s that a socket takes; write less",
            )
        elif seconds != int(seconds):
            report.warning(
                resource,
                here,
                f"a socket takes whole seconds, so this counts as {max(1, int(seconds))}s; "
                "write that",
                SUSPICIOUS,
            )
    if written.probes is not None and not 0 <= written.probes <= _MOST_PROBES:
        report.error(
            resource,
            f"{path}.probes",
            f"probes is {written.probes}; write a number from 1 to {_MOST_PROBES}",
        )


def _check_http(resource: Resource, path: str, http: HTTPSettings, report: Report) -> None:
    if http.h2_upgrade_policy == "UPGRADE":
        report.warning(
            resource,
            f"{path}.h2UpgradePolicy",
            "UPGRADE changes nothing: clients speak HTTP/1.1, which servers of HTTP/2 take too; "
            "remove it",
            SUSPICIOUS,
        )
    check_duration(
        resource,
        f"{path}.idleTimeout",
        http.idle_timeout,
        report,
        ", or 0s in tcp.idleTimeout for no limit",
    )
    if http.idle_timeout is None or http.idle_timeout >= SHORTEST_S:
        _check_idle(resource, f"{path}.idleTimeout", http.idle_timeout, report)
    for name, value in (
        ("maxRequestsPerConnection", http.max_requests_per_connection),
        ("maxConcurrentStreams", http.max_concurrent_streams),
    ):
        if value is not None and value < 0:
            report.error(
                resource,
                f"{path}.{name}",
                f"{name} is {value}; write a number above 0, or remove it for no limit",
            )
