"""What happened, once it is over: one event for each call, made by the core, fed to telemetry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Event", "EventSink", "InboundEvent", "OutboundEvent", "ignore"]


@dataclass(slots=True, kw_only=True)
class InboundEvent:
    """One call that reached the gate."""

    method: str
    host: str
    path: str  # as received, without its query
    status: int  # 0: the caller went away before there was one
    flags: str
    policy: str | None  # "ns/name" of the policy that decided a refusal
    rule: int | None
    place: str | None = None  # "file:line" of that rule
    principal: str | None = None  # of a caller that was refused, where it is proved
    request_principal: str | None = None  # "iss/sub" of the token that was verified
    candidates: tuple[str, ...] = ()  # the paths that a refusal was decided on
    source_ip: str | None = None
    is_refused: bool = False  # the mesh answered in the app's place, and not with what was asked
    reason: str  # Envoy's response code details: "via_upstream", "rbac_access_denied_..."
    generation: int
    request_id: str
    duration_s: float


@dataclass(slots=True, kw_only=True)
class OutboundEvent:
    """One call that an exchange carried, its retries included."""

    method: str
    service: str  # "host:port" of the service, or the URL's host for what the mesh does not know
    cluster: str  # Envoy's name, "outbound|9080|v1|reviews.default.svc.cluster.local"; "" for none
    status: int  # 0: the caller gave up before there was one
    flags: str
    attempts: int
    endpoint: str | None
    route: str | None
    generation: int
    complete: bool  # the body reached its end
    duration_s: float


Event = InboundEvent | OutboundEvent
EventSink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop an event: the sink of a mesh without telemetry."""
