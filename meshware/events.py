"""What happened, once it is over: one event for each call, made by the core, fed to telemetry.

An event is told on the thread of its call, synchronously, and refers to what the call was decided
on. Whoever keeps it longer than that takes what it needs out of it: a head holds on to a request.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from meshware.call import Call, Flag, HeaderLookup, MessageEdit, Peer, RequestHead

if TYPE_CHECKING:
    from meshware.inbound.head import InboundHead
    from meshware.inbound.passage import Passage
    from meshware.trace import TraceContext

__all__ = ["Event", "EventSink", "InboundEvent", "OutboundEvent", "Try", "ignore"]


@dataclass(slots=True, eq=False)
class InboundEvent:
    """One call that reached the gate. Whatever costs something is worked out when it is asked for.

    Attributes:
        passage: how the call went through the gate.
        status: of the response; 0: the caller went away before there was one.
        flag: why it ended as it did; None: as usual.
        duration_s: from the gate to the end of the response.
        trace_id: of a refused call that was traced after all; others have theirs in their call.
    """

    passage: Passage
    status: int
    flag: Flag | None
    duration_s: float
    trace_id: str | None = None

    @property
    def head(self) -> InboundHead:
        """The request, as its server handed it over."""
        return self.passage.head

    @property
    def call(self) -> Call | None:
        """What the app has found in `current_call()`; None: it was not called."""
        call: Call | None = getattr(self.passage, "call", None)
        return call

    @property
    def method(self) -> str:
        """As received; of a WebSocket handshake "GET"."""
        return self.passage.head.method

    @property
    def host(self) -> str:
        """The Host header as received; "" for none."""
        hosts = self.passage.head.headers("host")
        return hosts[0] if hosts else ""

    @property
    def path(self) -> str:
        """The path as received, encoded, without its query."""
        return self.passage.path_received

    @property
    def flags(self) -> str:
        """Envoy's response flags; "-" for none."""
        return "-" if self.flag is None else self.flag.value

    @property
    def is_refused(self) -> bool:
        """Whether the mesh answered in the app's place, and not with what was asked."""
        return self.passage.is_refused

    @property
    def is_ordinary(self) -> bool:
        """Whether the app has answered, without a failure and with nothing said of it by policy.

        What looks for trouble alone need not be told of it.
        """
        passage = self.passage
        return (
            self.flag is None
            and 0 < self.status < 500
            and passage.exception is None
            and not passage.is_refused
            and not passage.marks.audited
            and passage.marks.shadow is None
        )

    @property
    def policy(self) -> str | None:
        """ "ns/name" of the policy that decided a refusal.

        What an app answers is not the doing of the policy that let the call pass.
        """
        return self.passage.policy if self.is_refused else None

    @property
    def rule(self) -> int | None:
        """The rule of that policy."""
        return self.passage.rule if self.is_refused else None

    @property
    def place(self) -> str | None:
        """ "file:line" of that rule."""
        return self.passage.place

    @property
    def principal(self) -> str | None:
        """Who was refused, without scheme, where that is proved."""
        return self.passage.principal

    @property
    def peer(self) -> Peer | None:
        """Who called, where that is proved."""
        return self.passage.peer

    @property
    def request_principal(self) -> str | None:
        """ "iss/sub" of the token that was verified."""
        return self.passage.request_principal

    @property
    def candidates(self) -> tuple[str, ...]:
        """The paths that a refusal was decided on."""
        return self.passage.candidates if self.is_refused else ()

    @property
    def source_ip(self) -> str | None:
        """The transport's peer."""
        return self.passage.head.source_ip

    @property
    def audited(self) -> tuple[str, ...]:
        """ "ns/name" of AUDIT policies that matched, some at the most."""
        return self.passage.marks.audited

    @property
    def shadow(self) -> Literal["allow", "deny"] | None:
        """What would be decided were the policies on trial enforced; None: none is."""
        return self.passage.marks.shadow

    @property
    def shadow_policy(self) -> str | None:
        """ "ns/name" of the policy on trial that says so."""
        return self.passage.marks.shadow_policy

    @property
    def shadow_rule(self) -> int | None:
        """The rule of that policy."""
        return self.passage.marks.shadow_rule

    @property
    def reason(self) -> str:
        """Envoy's response code details: "via_upstream", "rbac_access_denied_..."."""
        return self.passage.reason

    @property
    def detail(self) -> str | None:
        """What the reason of a refusal leaves out; never any of a token."""
        return self.passage.detail

    @property
    def generation(self) -> int:
        """Of the policy that decided; 0: there was none."""
        return self.passage.generation

    @property
    def request_id(self) -> str:
        """The x-request-id, made where the caller sent none."""
        return self.passage.request_id

    @property
    def route(self) -> str | None:
        """The framework's route template, where it has routed the call."""
        return self.passage.head.route_of()

    @property
    def decided_s(self) -> float:
        """How long the mesh took to decide, without waits for authorizers."""
        return self.passage.decided_s

    @property
    def received_bytes(self) -> int:
        """Of the request's body."""
        return self.passage.received_bytes

    @property
    def sent_bytes(self) -> int:
        """Of the response's body."""
        return self.passage.sent_bytes

    @property
    def response(self) -> HeaderLookup | None:
        """The response's headers; None: there was no response."""
        return self.passage.response_headers

    @property
    def exception(self) -> str | None:
        """The type of the exception that the app raised; None: it raised none."""
        return self.passage.exception


@dataclass(slots=True)
class Try:
    """One attempt of an outbound call."""

    number: int  # from 1
    endpoint: str  # "address:port"; "" where it was passed through
    began_s: float  # since the call began
    duration_s: float = 0.0  # until response headers, or failure
    status: int = 0  # 0: no response headers came
    failure: str | None = None  # a `FailureKind`'s value
    detail: str = ""  # what the library says of the failure
    is_over_try: bool = False  # it took longer than policy gives each attempt


@dataclass(slots=True, kw_only=True)
class OutboundEvent:
    """One call that an exchange carried, its retries included."""

    method: str
    service: str  # "host:port" of the service, or the URL's host for what the mesh does not know
    cluster: str  # Envoy's name, "outbound|9080|v1|reviews.default.svc.cluster.local"; "" for none
    status: int  # 0: there was none, as the caller left, or what is passed through failed
    flags: str
    attempts: int
    endpoint: str | None
    route: str | None
    generation: int
    complete: bool  # the body reached its end
    duration_s: float
    decided_s: float = 0.0  # to the first attempt, without waits; 0: none was made
    head: RequestHead | None = field(default=None, repr=False)  # the request, as its caller wrote
    response: HeaderLookup | None = field(default=None, repr=False)  # headers, as its caller gets
    # Headers of what the mesh has answered itself; None: it has not.
    replied: tuple[tuple[str, str], ...] | None = field(default=None, repr=False)
    received_bytes: int = 0  # of the response's body
    tries: list[Try] = field(default_factory=list)
    # What the mesh has made of the request: headers set, those changed before, and the target in
    # place of the caller's.
    sent: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    edit: MessageEdit | None = field(default=None, repr=False)
    target: str | None = None
    trace: TraceContext | None = None  # of its span, where it is sampled
    is_mirror: bool = False  # a copy, whose answer nobody waits for

    @property
    def is_ordinary(self) -> bool:
        """Whether its caller got an answer, which is no failure, and the mesh did nothing to it."""
        return self.flags == "-" and 0 < self.status < 500

    @property
    def trace_id(self) -> str | None:
        """Of its span, where it is sampled."""
        return None if self.trace is None else self.trace.trace_id


Event = InboundEvent | OutboundEvent
EventSink = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Drop an event: the sink of a mesh without telemetry."""
