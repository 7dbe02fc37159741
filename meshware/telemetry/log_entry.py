"""What an access log may ask about one call that is over, of either side, worked out when asked.

Envoy logs a request as it is when all filters have had their turn: what the mesh has set or taken
away in its headers is seen so here too. A header `x-envoy-original-path` of a caller's own is not:
the line would show a path that nobody has asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from meshware.call import Call, Flag, HeaderLookup, MessageEdit, current_call
from meshware.events import Event, InboundEvent, OutboundEvent
from meshware.grpc import is_grpc
from meshware.inbound.passage import Admission
from meshware.inbound.remote import remote_ip
from meshware.trace import TraceContext, read_context

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["Address", "Entry", "entry_of"]

ORIGINAL_PATH = "x-envoy-original-path"
_SERVICE_TIME = "x-envoy-upstream-service-time"
_VIA_UPSTREAM = "via_upstream"
_OVERFLOW = "upstream_reset_before_response_started{overflow}"
_BLACK_HOLE = "BlackHoleCluster"  # Istio's name for what the mesh refuses to pass through
_UNCONNECTED = ("connect", "connect-timeout", "tls")


class Address(NamedTuple):
    """An address, with its port where that is known."""

    ip: str
    port: int | None

    @property
    def text(self) -> str:
        """As Envoy writes it; port 0 where none is known."""
        if self.ip.startswith("unix:"):
            return self.ip
        return f"{self.bare}:{self.port or 0}"

    @property
    def bare(self) -> str:
        """Without its port, in the brackets that it has with one."""
        return f"[{self.ip}]" if ":" in self.ip else self.ip

    @classmethod
    def of(cls, key: str) -> Address:
        """Return that of an endpoint: "address:port" or "unix:///path"."""
        if key.startswith("unix:"):
            return cls(key, None)
        host, _, port = key.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        return cls(host, int(port)) if port.isdecimal() and host else cls(key, None)


def _first(values: Sequence[str]) -> str | None:
    return values[0] if values else None


def _no_headers(_: str) -> Sequence[str]:
    return ()


def _edited(headers: HeaderLookup, edit: MessageEdit | None, name: str) -> str | None:
    """Return the first line of a header, as it is when all changes are made."""
    found = None if edit is not None and name in edit.drop else _first(headers(name))
    if found is None and edit is not None:
        for added, value in edit.append:
            if added.lower() == name:
                return value
    return found


class _Inbound:
    """A call that came in."""

    def __init__(self, event: InboundEvent, snapshot: Snapshot | None, now: datetime) -> None:
        self.event = event
        self.ended_at = now
        self._snapshot = snapshot
        self._passage = event.passage
        self._head = event.passage.head
        self._admission = event.passage if isinstance(event.passage, Admission) else None

    @property
    def started_at(self) -> datetime:
        return self.ended_at - timedelta(seconds=self.event.duration_s)

    def header(self, name: str) -> str | None:
        match name:
            case ":path":
                query = self.query
                return self.path if query is None else f"{self.path}?{query}"
            case ":method":
                return self._head.method
            case ":authority" | "host":
                return _first(self._head.headers("host"))
            case ":scheme":
                return self._head.scheme
            case "x-request-id":
                return self.event.request_id
            case "x-envoy-original-path":
                return None  # what is written there is the caller's word alone
        if name.startswith(":"):
            return None
        admission = self._admission
        if admission is not None:
            for added, value in admission.add:
                if added == name:
                    return value
            if name in admission.remove:
                return None
        return _first(self._head.headers(name))

    def response_header(self, name: str) -> str | None:
        if name == ":status":
            return str(self.event.status)
        look_up = self.event.response
        edit = None if self._admission is None else self._admission.response
        found = None if look_up is None else _edited(look_up, edit, name)
        if found is None and name == _SERVICE_TIME and self._admission is not None:
            return _milliseconds(self.answered_s)
        return found

    @property
    def is_grpc(self) -> bool:
        return is_grpc(self._head.headers)

    @property
    def protocol(self) -> str | None:
        version = self._head.version
        # Envoy: HTTP/2 and HTTP/3 have no minor version.
        return f"HTTP/{version.removesuffix('.0') if version[:1] in '23' else version}"

    @property
    def path(self) -> str:
        admission = self._admission
        if admission is not None and admission.path is not None:
            return admission.path
        return self.event.path or "/"

    @property
    def query(self) -> str | None:
        found = self._head.query
        if found is None:
            found = (self._head.target or "").partition("?")[2]
        return found or None

    @property
    def details(self) -> str:
        flag = self.event.flag
        if flag is Flag.DOWNSTREAM_CLOSED:
            return "downstream_remote_disconnect"
        if flag is Flag.UPSTREAM_TERMINATION:
            return "upstream_reset_after_response_started{connection_termination}"
        return self.event.reason

    @property
    def received(self) -> int:
        return self.event.received_bytes

    @property
    def sent(self) -> int:
        return self.event.sent_bytes

    @property
    def request_end_s(self) -> float | None:
        headers = self._head.headers
        declared = headers("content-length")
        is_bare = not self.received and not headers("transfer-encoding")
        return 0.0 if is_bare and (not declared or declared[0] == "0") else None

    @property
    def answered_s(self) -> float | None:
        at = self._passage.answered_at
        return None if at is None else max(0.0, at - self._passage.started_at)

    @property
    def attempt_s(self) -> float | None:
        return None

    @property
    def attempts(self) -> int:
        return 0 if self._admission is None or self.event.is_refused else 1

    @property
    def upstream(self) -> Address | None:
        return self.local if self.attempts else None

    @property
    def tried(self) -> Sequence[Address]:
        found = self.upstream
        return () if found is None else (found,)

    @property
    def cluster(self) -> str | None:
        return None if self._head.port is None else f"inbound|{self._head.port}||"

    @property
    def failure(self) -> str | None:
        return None

    @property
    def remote(self) -> Address | None:
        hops = 0 if self._snapshot is None else self._snapshot.mesh.trusted_hops
        if not hops:
            return self.direct_remote
        ip = remote_ip(self._head, hops)
        return None if ip is None else Address(ip, None)

    @property
    def direct_remote(self) -> Address | None:
        ip = self._head.source_ip
        return None if ip is None else Address(ip, self._head.source_port)

    @property
    def local(self) -> Address | None:
        ip = self._head.destination_ip
        return None if ip is None else Address(ip, self._head.port)

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return self._head.chain or ()

    @property
    def peer_id(self) -> str | None:
        peer = self.event.peer
        return None if peer is None or peer.proved_by != "mtls" else peer.id

    @property
    def own_id(self) -> str | None:
        snapshot = self._snapshot
        if not self._head.chain or snapshot is None or snapshot.id is None:
            return None
        return str(snapshot.id)

    @property
    def server_name(self) -> str | None:
        return self._head.sni or None

    @property
    def route(self) -> str | None:
        return self.event.route

    @property
    def request_id(self) -> str | None:
        return self.event.request_id

    @cached_property
    def trace(self) -> TraceContext | None:
        if self._admission is not None:
            call = self._admission.call
            context = call.traceparent
            if call.trace_id is None or context is None:
                return None
            return TraceContext(call.trace_id, context[36:52], None)
        snapshot = self._snapshot
        formats = ("w3c",) if snapshot is None else snapshot.mesh.propagation
        return read_context(self._head.headers, formats)


class _Outbound:
    """A call that went out, its retries included."""

    def __init__(self, event: OutboundEvent, snapshot: Snapshot | None, now: datetime) -> None:
        self.event = event
        self.ended_at = now
        self._snapshot = snapshot
        self._head = event.head

    @property
    def started_at(self) -> datetime:
        return self.ended_at - timedelta(seconds=self.event.duration_s)

    def header(self, name: str) -> str | None:
        event, head = self.event, self._head
        match name:
            case ":path":
                return self._target
            case ":method":
                return event.method
            case ":scheme":
                return None if head is None else head.scheme
            case ":authority" | "host":
                for set_, value in event.sent:
                    if set_ == "host":
                        return value
                return event.service if head is None else head.authority
        if name.startswith(":"):
            return None
        for set_, value in event.sent:
            if set_ == name:
                return value
        if name == ORIGINAL_PATH:
            return None  # what is written there is the caller's word alone
        return _edited(_no_headers if head is None else head.headers, event.edit, name)

    def response_header(self, name: str) -> str | None:
        event = self.event
        if name == ":status":
            return str(event.status)
        if name == _SERVICE_TIME:
            return None if event.response is None else _milliseconds(self.answered_s)
        if event.response is not None:
            return _edited(event.response, event.response_edit, name)
        for replied, value in event.replied or ():
            if replied.lower() == name:
                return value
        return None

    @property
    def is_grpc(self) -> bool:
        return self._head is not None and is_grpc(self._head.headers)

    @property
    def protocol(self) -> str | None:
        return None  # the app calls a library

    @property
    def _target(self) -> str:
        target = self.event.target
        if target is None:
            target = "/" if self._head is None else self._head.target
        return target

    @property
    def path(self) -> str:
        return self._target.partition("?")[0]

    @property
    def query(self) -> str | None:
        return self._target.partition("?")[2] or None

    @property
    def details(self) -> str:
        event = self.event
        flags = event.flags.split(",")
        if "DC" in flags:
            return "downstream_remote_disconnect"
        if event.response is not None:
            for flag, details in _AFTER.items():
                if flag in flags:
                    return details
            return _VIA_UPSTREAM
        if "FI" in flags:
            return "fault_filter_abort"
        for flag, details in _BEFORE.items():
            if flag in flags and (event.attempts == 0 or flag in ("UH", "UO")):
                return details
        last = event.tries[-1] if event.tries else None
        if last is not None and last.failure is not None:
            if last.failure == "timeout":
                return "upstream_per_try_timeout" if last.is_over_try else "response_timeout"
            reason = _RESETS.get(last.failure, last.failure)
            detail = f"|{last.detail}" if last.failure in _UNCONNECTED and last.detail else ""
            return f"upstream_reset_before_response_started{{{reason}{detail}}}"
        if "UT" in flags:
            return "response_timeout"
        return "direct_response" if event.generation else "no_policy"

    @property
    def received(self) -> int:
        declared = None if self._head is None else _first(self._head.headers("content-length"))
        is_number = declared is not None and declared.isascii() and declared.isdigit()
        return int(declared) if declared is not None and is_number else 0

    @property
    def sent(self) -> int:
        return self.event.received_bytes

    @property
    def request_end_s(self) -> float | None:
        return None if self.received else 0.0

    @property
    def answered_s(self) -> float | None:
        event = self.event
        if event.response is None:
            return None
        if not event.tries:  # passed through
            return None
        last = event.tries[-1]
        return last.began_s + last.duration_s

    @property
    def attempt_s(self) -> float | None:
        return self.event.tries[-1].began_s if self.event.tries else None

    @property
    def attempts(self) -> int:
        # Envoy counts the one that found no endpoint, or no room.
        is_in_vain = self.event.replied is not None and self.details in (
            "no_healthy_upstream", _OVERFLOW,
        )  # fmt: skip
        return self.event.attempts + is_in_vain

    @property
    def upstream(self) -> Address | None:
        endpoint = self.event.endpoint
        return None if endpoint is None else Address.of(endpoint)

    @property
    def tried(self) -> Sequence[Address]:
        return [Address.of(each.endpoint) for each in self.event.tries]

    @property
    def cluster(self) -> str | None:
        found = self.event.cluster
        return (
            None if found == _BLACK_HOLE else found or None
        )  # Envoy: that is an answer, no cluster

    @property
    def failure(self) -> str | None:
        last = self.event.tries[-1] if self.event.tries else None
        if last is None or last.failure not in _UNCONNECTED:
            return None
        return last.detail or None

    @property
    def remote(self) -> Address | None:
        return None  # the app is in this very process

    direct_remote = local = remote

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        return ()

    @property
    def peer_id(self) -> str | None:
        return None

    own_id = server_name = peer_id

    @property
    def route(self) -> str | None:
        return self.event.route

    @property
    def request_id(self) -> str | None:
        found = self.header("x-request-id")
        if found is None:
            call = self._call
            found = None if call is None else call.request_id
        return found

    @property
    def _call(self) -> Call | None:
        call = None if self._head is None else self._head.call
        return call or current_call()

    @cached_property
    def trace(self) -> TraceContext | None:
        if self.event.trace is not None:
            return self.event.trace
        snapshot = self._snapshot
        formats = ("w3c",) if snapshot is None else snapshot.mesh.propagation

        def headers(name: str) -> tuple[str, ...]:
            found = self.header(name)
            return () if found is None else (found,)

        return read_context(headers, formats)


Entry = _Inbound | _Outbound
"""One call, as operators ask about it; None: it is not known, or there is none.

`header` and `response_header` return the first line of a header, as Envoy does, or what `:path` and
such are. Times in `..._s` are since the call began.
"""


def entry_of(event: Event, snapshot: Snapshot | None, now: datetime) -> Entry:
    """Return what a log may ask about a call that has ended now."""
    if isinstance(event, InboundEvent):
        return _Inbound(event, snapshot, now)
    return _Outbound(event, snapshot, now)


_RESETS = {
    "connect": "remote_connection_failure",
    "connect-timeout": "connection_timeout",
    "tls": "remote_connection_failure",
    "reset": "connection_termination",
    "terminated": "connection_termination",
    "protocol": "protocol_error",
}
_AFTER = {
    "UC": "upstream_reset_after_response_started{connection_termination}",
    "UPE": "upstream_reset_after_response_started{protocol_error}",
    "UF": "upstream_reset_after_response_started{connection_termination}",
    "UT": "response_timeout",
}
_BEFORE = {
    "NR": "route_not_found",
    "NC": "cluster_not_found",
    "UH": "no_healthy_upstream",
    "UO": _OVERFLOW,
}


def _milliseconds(seconds: float | None) -> str | None:
    return None if seconds is None else str(round(seconds * 10**9) // 10**6)
