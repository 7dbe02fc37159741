"""What an access log may ask about a call that came in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from meshware.events import InboundEvent
from meshware.grpc import is_grpc
from meshware.inbound.passage import Admission
from meshware.inbound.remote import remote_ip
from meshware.telemetry.code_details import inbound_details
from meshware.telemetry.log_message import (
    ORIGINAL_PATH,
    SERVICE_TIME,
    Address,
    first,
    milliseconds,
)
from meshware.trace import TraceContext, read_context

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["InboundEntry"]


class InboundEntry:
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
                return first(self._head.headers("host"))
            case ":scheme":
                return self._head.scheme
            case "x-request-id":
                return self.event.request_id
        if name == ORIGINAL_PATH or name.startswith(":"):
            return None  # what is written there is the caller's word alone
        admission = self._admission
        if admission is not None:
            for added, value in admission.add:
                if added == name:
                    return value
            if name in admission.remove:
                return None
        return first(self._head.headers(name))

    def response_headers(self, name: str) -> tuple[str, ...]:
        value = self.response_header(name)
        return () if value is None else (value,)

    def response_header(self, name: str) -> str | None:
        if name == ":status":
            return str(self.event.status)
        look_up = self.event.response
        found = None if look_up is None else first(look_up(name))
        if found is None and name == SERVICE_TIME and self._admission is not None:
            return milliseconds(self.answered_s)
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
        return inbound_details(self.event)

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
        found = read_context(self._head.headers, formats)
        begun = self.event.trace_id
        if found is None and begun is not None:  # refused, and a trace of its own begun for that
            return TraceContext(begun, "", True)
        return found
