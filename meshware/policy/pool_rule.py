"""Compile what a DestinationRule says of connections: how they are made, and how long they last.

A rule is the name of a pool: what it says holds for every connection in it, and calls with two
different rules share none. So a changed rule needs no care: its calls find a new pool.

Source: Istio ConnectionPoolSettings, ClientTLSSettings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshware.policy.document.destination_rule import (
    ClientTLSSettings,
    ConnectionPoolSettings,
    TCPKeepalive,
    TrafficPolicy,
)

__all__ = ["DEFAULT_IDLE_S", "Keepalive", "PoolRule", "TLSRule", "compile_pool"]

DEFAULT_IDLE_S = 4.0
"""How long an idle connection is kept where policy does not say. Less than the 5 s of uvicorn and
hypercorn: otherwise it is the server that closes it, perhaps while a request is on its way. Differs
from Istio: 1 h."""


@dataclass(frozen=True, slots=True)
class Keepalive:
    """Probes of the kernel on a silent connection. None: the system's own value."""

    probes: int | None
    idle_s: int | None  # of silence before the first
    interval_s: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TLSRule:
    """TLS that the client originates: the caller writes `http://`, the wire carries TLS."""

    ca_file: str | None = None  # whom to trust; None: the system's authorities
    crl_file: str | None = None
    certificate_file: str | None = None  # what to present; None: nothing
    key_file: str | None = None
    sni: str | None = None  # the server's name; None: the Host of each call
    names: tuple[str, ...] = ()  # the certificate must bear one; (): it must bear the server's name
    verifies: bool = True  # False: whoever answers will do
    is_mesh: bool = False  # mutual TLS of the mesh: `names` are expected, and () is nobody

    def server_name(self, authority: str) -> str:
        """Return the name to ask the server for, and to find in its certificate.

        Args:
            authority: the Host that the call goes out with; a port in it does not count.
        """
        if self.sni is not None:
            return self.sni
        if authority.startswith("["):  # IPv6
            return authority[1:].partition("]")[0]
        return authority.partition(":")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolRule:
    """Which connections a call may go over."""

    name: str  # the service and port, whatever the subset
    keepalive: Keepalive | None = None  # None: no probes
    idle_s: float | None = DEFAULT_IDLE_S  # None: kept until the other end closes it
    age_s: float | None = None  # no request begins later; None: no limit
    requests: int | None = None  # so many at most, 1: one connection each; None: no limit
    tls: TLSRule | None = None  # None: as the caller's URL says


def compile_pool(name: str, policy: TrafficPolicy, names: Sequence[str] = ()) -> PoolRule:
    """Return the rule for connections to one destination.

    Args:
        name: of the service and port.
        policy: in force for the destination.
        names: that the service's certificate may bear, as its ServiceEntry says.
    """
    pool = policy.connection_pool or ConnectionPoolSettings()
    tcp, http = pool.tcp, pool.http
    idle_s = http.idle_timeout if http is not None else None
    if idle_s is None and tcp is not None:
        idle_s = tcp.idle_timeout
    if idle_s is None:
        idle_s = DEFAULT_IDLE_S
    return PoolRule(
        name=name,
        keepalive=_keepalive(tcp.tcp_keepalive if tcp is not None else None),
        idle_s=idle_s or None,  # Envoy: 0 turns the limit off
        age_s=tcp.max_connection_duration if tcp is not None else None,
        requests=(http.max_requests_per_connection if http is not None else None) or None,
        tls=_tls(policy.tls, tuple(names)),
    )


def _keepalive(written: TCPKeepalive | None) -> Keepalive | None:
    if written is None:
        return None
    return Keepalive(
        # Istio: a 0 counts as not written.
        probes=written.probes or None,
        idle_s=_whole_seconds(written.time),
        interval_s=_whole_seconds(written.interval),
    )


def _whole_seconds(seconds: float | None) -> int | None:
    """Return seconds as the kernel takes them: whole ones, at least one."""
    return None if seconds is None else max(1, int(seconds))


def _tls(written: ClientTLSSettings | None, names: tuple[str, ...]) -> TLSRule | None:
    if written is None or written.mode not in ("SIMPLE", "MUTUAL"):
        return None
    shows_certificate = written.mode == "MUTUAL"
    return TLSRule(
        ca_file=written.ca_certificates or None,
        crl_file=written.ca_crl or None,
        certificate_file=written.client_certificate if shows_certificate else None,
        key_file=written.private_key if shows_certificate else None,
        sni=written.sni or None,
        names=written.subject_alt_names or names,
        verifies=not written.insecure_skip_verify,
    )
