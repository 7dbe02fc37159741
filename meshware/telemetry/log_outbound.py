"""What an access log may ask about a call that went out, its retries included."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from meshware.call import Call, current_call
from meshware.events import OutboundEvent
from meshware.grpc import is_grpc
from meshware.inbound.head import declared_length
from meshware.telemetry.code_details import OVERFLOW, UNCONNECTED, outbound_details
from meshware.telemetry.log_message import (
    ORIGINAL_PATH,
    SERVICE_TIME,
    Address,
    edited,
    first,
    milliseconds,
    no_headers,
)
from meshware.trace import TraceContext, read_context

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["OutboundEntry"]

_BLACK_HOLE = "BlackHoleCluster"  # Istio's name for what the mesh refuses to pass through


class OutboundEntry:
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
        return edited(no_headers if head is None else head.headers, event.edit, name)

    def response_headers(self, name: str) -> tuple[str, ...]:
        value = self.response_header(name)
        return () if value is None else (value,)

    def response_header(self, name: str) -> str | None:
        event = self.event
        if name == ":status":
            return str(event.status)
        if name == SERVICE_TIME:
            return None if event.response is None else milliseconds(self.answered_s)
        if event.response is not None:
            return first(event.response(name))
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
        return outbound_details(self.event)

    @property
    def received(self) -> int:
        headers = no_headers if self._head is None else self._head.headers
        return declared_length(headers("content-length")) or 0

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
        if not event.tries:
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
            "no_healthy_upstream", OVERFLOW,
        )  # fmt: skip
        return self.event.attempts + is_in_vain

    @property
    def upstream(self) -> Address | None:
        endpoint = self.event.endpoint
        return None if endpoint is None else Address.of(endpoint)

    @property
    def tried(self) -> Sequence[Address]:
        return [Address.of(each.endpoint) for each in self.event.tries if each.endpoint]

    @property
    def cluster(self) -> str | None:
        found = self.event.cluster
        return (
            None if found == _BLACK_HOLE else found or None
        )  # Envoy: that is an answer, no cluster

    @property
    def failure(self) -> str | None:
        last = self.event.tries[-1] if self.event.tries else None
        if last is None or last.failure not in UNCONNECTED:
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
