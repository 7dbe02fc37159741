"""Envoy's attributes of one call, as expressions of policy look them up.

Names are of the side that tells: `source` is who calls, `destination` who is called. Which there
are, and of which kind, is `meshware.policy.cel_attributes`' matter. What is not known of a call is
absent, and a `KeyError`. Addresses bear their ports where those are known. Source: Envoy,
"Attributes".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from meshware.call import HeaderLookup
from meshware.events import Event, InboundEvent, OutboundEvent
from meshware.grpc import grpc_status
from meshware.inbound.head import declared_length
from meshware.policy.telemetry_plan import LookUp
from meshware.telemetry.code_details import inbound_details, outbound_details

__all__ = ["attributes_of"]


class _Headers:
    """Headers as a map of CEL: joined by commas where there are several of a name."""

    def __init__(self, look_up: HeaderLookup) -> None:
        self._look_up = look_up

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and bool(self._look_up(name.lower()))

    def __getitem__(self, name: str) -> str:
        values = self._look_up(name.lower())
        if not values:
            raise KeyError(name)
        return _text(values)


# Bits of `response.flags`. Source: Envoy, `CoreResponseFlag`.
_FLAGS = {
    name: 1 << bit
    for bit, name in enumerate(
        (
            "LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR", "DI", "FI", "RL", "UAEX", "RLSE",
            "DC", "URX", "SI", "IH", "DPE", "UMSDR", "RFCF", "NFCF", "DT", "UPE", "NC", "OM", "DF",
            "DO",
        )
    )
}  # fmt: skip
_INBOUND_DIRECTION, _OUTBOUND_DIRECTION = 1, 2  # Envoy's `TrafficDirection`


def attributes_of(event: Event, now: Callable[[], datetime] | None = None) -> LookUp:
    """Return what looks up the attributes of a call.

    Args:
        event: the call, which is over.
        now: returns the aware time, for `request.time`; None: there is no such attribute.

    Paths are as in `request.headers['x-user']`: ("request", "headers", "x-user"). A path that ends
    before a map's member gives the map.
    """
    table = _INBOUND if isinstance(event, InboundEvent) else _OUTBOUND

    def look_up(path: tuple[str, ...]) -> object:
        if path == _TIME and now is not None:
            return (now() - timedelta(seconds=event.duration_s)).astimezone(UTC)
        found = table.get(path[:2])
        if found is None:
            raise KeyError(".".join(path))
        value = found(event)
        for name in path[2:]:
            value = value[name]
        if value is None:
            raise KeyError(".".join(path))
        return value

    return look_up


_TIME = ("request", "time")


def _header(name: str) -> Callable[[Any], str | None]:
    def value(event: Any) -> str | None:
        values = _request(event)(name)
        return _text(values) if values else None

    return value


def _text(values: Sequence[str]) -> str:
    """Return a header's bytes, which ASGI and WSGI give as Latin-1, as the UTF-8 that they are."""
    text = ",".join(values)
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:  # no UTF-8, or read already
        return text


def _request(event: Any) -> HeaderLookup:
    if isinstance(event, InboundEvent):
        return event.passage.head.headers
    return _no_headers if event.head is None else event.head.headers


def _no_headers(_: str) -> tuple[str, ...]:
    return ()


def _response_headers(event: Any) -> _Headers:
    return _Headers(event.response or _no_headers)


def _flags(event: Any) -> int:
    return sum(_FLAGS.get(flag, 0) for flag in event.flags.split(","))


def _port(address: str | None) -> int | None:
    """Return the port of "address:port"."""
    digits = "" if address is None else address.rpartition(":")[2]
    return int(digits) if digits.isdecimal() and len(digits) <= 5 else None  # noqa: PLR2004 - 65535


def _with_port(ip: str | None, port: int | None) -> str | None:
    if ip is None or port is None:
        return ip
    return f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def _inbound_address(event: InboundEvent) -> str | None:
    head = event.passage.head
    return _with_port(head.destination_ip, head.port)


def _source_address(event: InboundEvent) -> str | None:
    head = event.passage.head
    return _with_port(head.source_ip, head.source_port)


def _inbound_query(event: InboundEvent) -> str:
    head = event.passage.head
    return head.query if head.query is not None else _query(head.target)


def _details(event: Event) -> str:
    return inbound_details(event) if isinstance(event, InboundEvent) else outbound_details(event)


def _namespace(event: InboundEvent) -> str | None:
    """Return the caller's namespace, where its identity says so."""
    if event.peer is None:
        return None
    parts = event.peer.id.split("/")
    # spiffe://trust-domain/ns/NAMESPACE/sa/ACCOUNT
    return parts[4] if len(parts) == 7 and parts[3] == "ns" else None


def _outbound_size(event: OutboundEvent) -> int | None:
    return None if event.head is None else declared_length(event.head.headers("content-length"))


def _grpc_status(event: Any) -> int | None:
    return None if event.response is None else grpc_status(event.response)


def _query(target: str | None) -> str:
    return "" if target is None else target.partition("?")[2]


def _version(event: InboundEvent) -> str:
    version = event.passage.head.version
    return f"HTTP/{version}"


def _uri_san(event: InboundEvent) -> str | None:
    return None if event.peer is None else event.peer.id


def _is_mutual(event: InboundEvent) -> bool:
    return event.peer is not None and event.peer.proved_by == "mtls"


def _inbound_path(event: InboundEvent) -> str:
    return event.passage.head.target or event.path


def _outbound_path(event: OutboundEvent) -> str | None:
    return None if event.head is None else event.head.target


_SAME: dict[tuple[str, ...], Callable[[Any], Any]] = {
    ("request", "method"): lambda event: event.method,
    ("request", "headers"): lambda event: _Headers(_request(event)),
    ("request", "referer"): _header("referer"),
    ("request", "useragent"): _header("user-agent"),
    ("request", "id"): _header("x-request-id"),
    ("request", "duration"): lambda event: timedelta(seconds=event.duration_s),
    ("request", "time"): lambda _: None,  # where nobody has a clock
    ("response", "code"): lambda event: event.status,
    ("response", "code_details"): _details,
    ("response", "flags"): _flags,
    ("response", "headers"): _response_headers,
    ("response", "grpc_status"): _grpc_status,
}

_INBOUND: dict[tuple[str, ...], Callable[[Any], Any]] = {
    **_SAME,
    ("request", "path"): _inbound_path,
    ("request", "url_path"): lambda event: event.path,
    ("request", "query"): _inbound_query,
    ("request", "host"): lambda event: event.host or None,
    ("request", "scheme"): lambda event: event.passage.head.scheme,
    ("request", "protocol"): _version,
    ("request", "id"): lambda event: event.request_id,
    ("request", "size"): lambda event: event.received_bytes,
    ("response", "size"): lambda event: event.sent_bytes,
    ("source", "address"): _source_address,
    ("source", "port"): lambda event: event.passage.head.source_port,
    ("source", "principal"): _uri_san,
    ("source", "namespace"): _namespace,
    ("destination", "address"): _inbound_address,
    ("destination", "port"): lambda event: event.passage.head.port,
    ("connection", "mtls"): _is_mutual,
    ("connection", "requested_server_name"): lambda event: event.passage.head.sni,
    ("connection", "uri_san_peer_certificate"): _uri_san,
    ("xds", "route_name"): lambda event: event.route,
    ("xds", "cluster_name"): lambda event: f"inbound|{event.passage.head.port or 0}||",
    ("xds", "listener_direction"): lambda _: _INBOUND_DIRECTION,
}

_OUTBOUND: dict[tuple[str, ...], Callable[[Any], Any]] = {
    **_SAME,
    ("request", "path"): _outbound_path,
    ("request", "url_path"): lambda event: (_outbound_path(event) or "").partition("?")[0],
    ("request", "query"): lambda event: _query(_outbound_path(event)),
    ("request", "host"): lambda event: None if event.head is None else event.head.authority,
    ("request", "scheme"): lambda event: None if event.head is None else event.head.scheme,
    ("response", "size"): lambda event: event.received_bytes,
    ("request", "size"): _outbound_size,
    ("destination", "port"): lambda event: None if event.head is None else event.head.port,
    ("connection", "mtls"): lambda _: False,  # between the app and the mesh there is no connection
    ("upstream", "address"): lambda event: event.endpoint,
    ("upstream", "port"): lambda event: _port(event.endpoint),
    ("upstream", "request_attempt_count"): lambda event: event.attempts,
    ("xds", "cluster_name"): lambda event: event.cluster or None,
    ("xds", "route_name"): lambda event: event.route,
    ("xds", "listener_direction"): lambda _: _OUTBOUND_DIRECTION,
}
