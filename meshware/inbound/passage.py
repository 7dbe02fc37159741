"""One call's way through the gate: how it was let in or refused, told once when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from meshware import grpc
from meshware.call import Call, Flag, HeaderLookup, MessageEdit, Peer
from meshware.events import EventSink, InboundEvent
from meshware.inbound.head import InboundHead
from meshware.inbound.shadow import NO_MARKS, Marks
from meshware.inbound.wellformed import split_target
from meshware.policy.paths import decoded, encoded

if TYPE_CHECKING:
    from meshware.authz import Request
    from meshware.inbound.asking import Check, Outcome
    from meshware.policy.authorizers import Authorizer

__all__ = ["Admission", "Answered", "Ask", "Denial", "Passage", "Reply", "Teller"]

_MOST_TOLD_IN_GRPC = 1024  # bytes: a page of HTML is no message, and headers have their limits


@dataclass(frozen=True, slots=True)
class Teller:
    """Whom to tell about calls that are over."""

    monotonic: Callable[[], float]
    sink: EventSink
    on_error: Callable[[Exception], None]  # for exceptions that callers must not suffer from


class Passage(msgspec.Struct, eq=False):  # made for each call, by position: that is fast
    """What an admission and a denial have in common."""

    teller: Teller
    head: InboundHead
    started_at: float  # Clock.monotonic() seconds
    generation: int  # of the policy that decided; 0: there was none
    request_id: str
    reason: str  # Envoy's response code details
    policy: str | None = None  # "namespace/name" of the policy that decided; None: none did
    rule: int | None = None
    candidates: tuple[str, ...] = ()  # the paths that it may mean, normalised; all were decided
    marks: Marks = NO_MARKS  # by policies that decide nothing
    request_principal: str | None = None  # "iss/sub" of the token that was verified
    counted: tuple[deque[None], ...] = ()  # of calls under way, with this
    is_last: bool = False  # the caller should make another connection for its next call
    # What the driver has seen go by, for telemetry.
    received_bytes: int = 0  # of the request's body
    sent_bytes: int = 0  # of the response's body
    answered_at: float | None = None  # monotonic seconds, when the response began
    ended_at: float | None = None  # likewise, when it ended; None: when it is told
    response_headers: HeaderLookup | None = None
    exception: str | None = None  # the type of what the app raised
    decided_s: float = 0.0  # how long that took, without waits for authorizers
    is_finished: bool = False
    is_stopped: bool = False  # let in, and refused before what then would have run
    flag: Flag | None = None  # why the mesh answered, where that has a flag
    place: str | None = None  # "file:line" of the rule that decided, where a refusal has one
    principal: str | None = None  # of whom was refused, as far as that is proved
    detail: str | None = None  # of a refusal, what its reason leaves out; for the log

    def __repr__(self) -> str:
        # Neither headers nor what tokens come to.
        return f"<{type(self).__name__} {self.request_id}: {self.reason}>"

    @property
    def peer(self) -> Peer | None:
        """Who calls, where that is proved."""
        return None

    @property
    def is_refused(self) -> bool:
        """Whether the mesh answers in the app's place, and not with what was asked."""
        return self.is_stopped

    @property
    def path_received(self) -> str:
        """The path as received, encoded, without its query."""
        target = self.head.target
        return encoded(self.head.paths[0]) if target is None else split_target(target)

    def answers(self, headers: HeaderLookup) -> None:
        """Note that the response begins.

        Args:
            headers: of the response.
        """
        self.response_headers = headers
        self.answered_at = self.teller.monotonic()

    def ends(self) -> None:
        """Note that the response has ended: the call is under way no more. `finish` comes later."""
        self.ended_at = self.teller.monotonic()
        self._leave()

    def _leave(self) -> None:
        for calls in self.counted:
            if calls:  # there are none in a child that this call has forked
                calls.pop()
        self.counted = ()

    def finish(self, status: int, flag: Flag | None = None) -> None:
        """Tell that the response has ended. A second time is ignored.

        Args:
            status: of the response; 0 when the caller went away before there was one.
            flag: why it ended early: DC, the caller went away; UC, the app failed in the middle.
        """
        if self.is_finished:
            return
        self.is_finished = True
        if self.counted:
            self._leave()
        teller = self.teller
        self.head.route_of.settle()
        ended_at = teller.monotonic() if self.ended_at is None else self.ended_at
        duration_s = ended_at - self.started_at
        event = InboundEvent(self, status, flag or self.flag, duration_s)
        try:
            teller.sink(event)
        except Exception as error:
            # Telemetry fails open: the caller has its answer already.
            teller.on_error(error)


class Admission(Passage, kw_only=True, eq=False):
    """The app may be called."""

    call: Call  # what the app finds in `current_call()`
    remove: tuple[str, ...]  # headers that the app must not see, in lower case
    # Headers that it must see, with their values: claims of users may be among them.
    add: tuple[tuple[str, str], ...]
    path: str | None  # encoded; replaces the one received, where MeshConfig normalises
    response: MessageEdit | None = None  # of the response's headers
    binds_handlers: bool = False  # what then runs must be what rules were told would

    @property
    def peer(self) -> Peer | None:
        """Who calls, where that is proved."""
        return self.call.peer

    def stop(self, reason: str) -> None:
        """Note that what would run is not what was decided on: the call is refused after all."""
        self.reason, self.is_stopped = reason, True
        self.policy = self.rule = None
        peer = self.peer
        self.principal = None if peer is None else peer.id.removeprefix("spiffe://")

    @property
    def app_path(self) -> str | None:
        """The path that the app sees instead, decoded; None: it is left alone."""
        return None if self.path is None else decoded(self.path)


class Reply(NamedTuple):
    """An answer in the app's place, as it goes out; its length is the driver's to add."""

    status: int
    headers: tuple[tuple[str, str], ...]
    content: bytes


class Denial(Passage, kw_only=True, eq=False):
    """The call is refused and the app not called; this is the answer, in the words of HTTP."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...]
    relayed: bytes | None = None  # in place of `body`: not ours
    caller: Peer | None = None  # where that is proved

    @property
    def peer(self) -> Peer | None:
        """Who calls, where that is proved."""
        return self.caller

    @property
    def is_refused(self) -> bool:
        """Whether the mesh answers in the app's place, and not with what was asked."""
        return True

    @property
    def reply(self) -> Reply:
        """The answer in the words of the caller's own protocol."""
        content = self.body.encode() if self.relayed is None else self.relayed
        if isinstance(self, Answered) or not grpc.is_grpc(self.head.headers):
            return Reply(self.status, self.headers, content)
        others = tuple(pair for pair in self.headers if pair[0] != "content-type")
        told = grpc.in_grpc(self.status, content[:_MOST_TOLD_IN_GRPC])
        return Reply(200, (*told, *others), b"")


class Answered(Denial, kw_only=True, eq=False):
    """The call is not refused, and the app need not be called all the same; this is the answer."""

    @property
    def is_refused(self) -> bool:
        """Whether the mesh answers in the app's place, and not with what was asked."""
        return False


class Ask(Passage, kw_only=True, eq=False):
    """An authorizer is to be asked before anything else is decided.

    The driver asks it and calls `answered`, or `finish` when the caller goes away meanwhile.
    """

    authorizer: Authorizer
    request: Check | Request  # what it is asked, as its kind has it; without the body
    answered: Callable[[Outcome], Admission | Denial | Ask]
    """Go on with what came of it."""
