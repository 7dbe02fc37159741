"""One call's way through the gate: how it was let in or refused, told once when it is over."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from meshware.call import Call, Flag, MessageEdit, flags_text
from meshware.events import EventSink, InboundEvent
from meshware.inbound.head import InboundHead
from meshware.inbound.shadow import NO_MARKS, Marks
from meshware.inbound.wellformed import split_target
from meshware.policy.paths import decoded, encoded

__all__ = ["Admission", "Answered", "Denial", "Passage", "Teller"]


@dataclass(frozen=True, slots=True)
class Teller:
    """Whom to tell about calls that are over."""

    monotonic: Callable[[], float]
    sink: EventSink
    on_error: Callable[[Exception], None]  # for exceptions that callers must not suffer from


@dataclass(slots=True, kw_only=True, eq=False)
class Passage:
    """What an admission and a denial have in common."""

    teller: Teller = field(repr=False)
    head: InboundHead = field(repr=False)
    started_at: float  # Clock.monotonic() seconds
    generation: int  # of the policy that decided; 0: there was none
    request_id: str
    reason: str  # Envoy's response code details
    policy: str | None = None  # "namespace/name" of the policy that decided; None: none did
    rule: int | None = None
    place: str | None = None  # "file:line" of that rule, where a refusal has one
    principal: str | None = None  # of whom was refused, as far as that is proved
    candidates: tuple[str, ...] = ()  # the paths that it may mean, normalised; all were decided
    marks: Marks = NO_MARKS  # by policies that decide nothing
    request_principal: str | None = None  # "iss/sub" of the token that was verified
    flag: Flag | None = None  # why the mesh answered, where that has a flag
    counted: deque[None] | None = field(default=None, repr=False)  # of calls under way, with this
    is_last: bool = False  # the caller should make another connection for its next call
    is_finished: bool = False

    def finish(self, status: int, flag: Flag | None = None) -> None:
        """Tell that the response has ended. A second time is ignored.

        Args:
            status: of the response; 0 when the caller went away before there was one.
            flag: why it ended early: DC, the caller went away; UC, the app failed in the middle.
        """
        if self.is_finished:
            return
        self.is_finished = True
        if self.counted is not None:
            self.counted.pop()
        if flag is None:
            flag = self.flag
        head = self.head
        head.route_of.settle()
        hosts = head.headers("host")
        is_refused = isinstance(self, Denial) and not isinstance(self, Answered)
        event = InboundEvent(
            method=head.method,
            host=hosts[0] if hosts else "",
            path=encoded(head.paths[0]) if head.target is None else split_target(head.target),
            status=status,
            flags=flags_text(() if flag is None else (flag,)),
            # What an app answers is not the doing of the policy that let the call pass.
            policy=self.policy if is_refused else None,
            rule=self.rule if is_refused else None,
            place=self.place,
            principal=self.principal,
            request_principal=self.request_principal,
            candidates=self.candidates if is_refused else (),
            source_ip=head.source_ip,
            is_refused=is_refused,
            audited=self.marks.audited,
            shadow=self.marks.shadow,
            shadow_policy=self.marks.shadow_policy,
            shadow_rule=self.marks.shadow_rule,
            reason=self.reason,
            generation=self.generation,
            request_id=self.request_id,
            duration_s=self.teller.monotonic() - self.started_at,
        )
        try:
            self.teller.sink(event)
        except Exception as error:
            # Telemetry fails open: the caller has its answer already.
            self.teller.on_error(error)


@dataclass(slots=True, kw_only=True, eq=False)
class Admission(Passage):
    """The app may be called."""

    call: Call  # what the app finds in `current_call()`
    remove: tuple[str, ...]  # headers that the app must not see, in lower case
    # Headers that it must see, with their values: claims of users may be among them.
    add: tuple[tuple[str, str], ...] = field(repr=False)
    path: str | None  # encoded; replaces the one received, where MeshConfig normalises
    response: MessageEdit | None = None  # of the response's headers

    @property
    def app_path(self) -> str | None:
        """The path that the app sees instead, decoded; None: it is left alone."""
        return None if self.path is None else decoded(self.path)


@dataclass(slots=True, kw_only=True, eq=False)
class Denial(Passage):
    """The call is refused and the app not called; this is the answer."""

    status: int
    body: str
    headers: tuple[tuple[str, str], ...]


@dataclass(slots=True, kw_only=True, eq=False)
class Answered(Denial):
    """The call is not refused, and the app need not be called all the same; this is the answer."""
