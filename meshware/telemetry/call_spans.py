"""The spans of one sampled outbound call: the call's own, and one for each attempt.

`traced` stands around an exchange and changes nothing that it does. Each attempt gets its span
before it is sent, so that the upstream's spans are its children; a copy for a mirror goes out in
the same trace and unsampled, with a parent that nobody keeps. Source: Envoy, "Tracing".
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from meshware.call import (
    Action,
    Answer,
    Deliver,
    ExchangeInfo,
    Failure,
    Mirror,
    Outcome,
    Reply,
    Send,
)
from meshware.events import OutboundEvent, Try
from meshware.trace import TRACE_HEADERS, Propagation, TraceContext, child_of, written

if TYPE_CHECKING:
    from random import Random

    from meshware.telemetry.spans import Span

__all__ = ["CallSpans", "traced"]

A = TypeVar("A")
R = TypeVar("R")

Flow = Generator[Action, Outcome, None]


class CallSpans:
    """The spans of one call.

    Args:
        span: the call's own.
        start: starts the span of an attempt, given its number.
        over: is told how the call went; the spans of its attempts, each with its record, go along.
        formats: how its context is written.
        propagates: whether attempts bear it at all.
        monotonic: seconds.
        rng: makes the context of copies.
        beneath: makes a span current while its attempt is on its way.
        answers: is told what the caller gets, where the span is another instrumentation's, which
            may end it there, before the body has ended.
        on_failure: is told of what the call is spared.
    """

    def __init__(
        self,
        span: Span,
        start: Callable[[int], Span],
        over: Callable[[CallSpans, OutboundEvent], None],
        *,
        formats: tuple[Propagation, ...],
        propagates: bool,
        monotonic: Callable[[], float],
        rng: Random,
        beneath: Callable[[Span], Callable[[], None]],
        answers: Callable[[ExchangeInfo], None],
        on_failure: Callable[[], None],
    ) -> None:
        self.span = span
        self.attempts: list[tuple[Span, Try, float | None]] = []
        self.deadline_s: float | None = None
        self._start = start
        self._over = over
        self._formats = formats
        self._propagates = propagates
        self._monotonic = monotonic
        self._started_at = monotonic()
        self._began_at = 0.0
        self._rng = rng
        self._beneath = beneath
        self.answers = answers
        self._on_failure = on_failure

    def sends(self, action: Send) -> Callable[[], None]:
        """Note that an attempt begins; what is returned ends its being current.

        An attempt that goes again over a fresh connection is still the same.
        """
        if not self.attempts or self.attempts[-1][1].number != action.attempt:
            if not self.attempts:
                self.deadline_s = action.timeout_s
            endpoint = "" if action.address is None else f"{action.address}:{action.port}"
            self._began_at = self._monotonic()
            tried = Try(action.attempt, endpoint, self._began_at - self._started_at)
            self.attempts.append((self._start(action.attempt), tried, action.timeout_s))
        span = self.attempts[-1][0]
        # Hosts that the mesh does not know are called as without it: strangers learn no ids.
        if self._propagates and action.address is not None:
            bear(action, span.context, self._formats)
        return self._beneath(span)

    def got(self, outcome: Outcome) -> None:
        """Note how the attempt went."""
        tried = self.attempts[-1][1]
        tried.duration_s = self._monotonic() - self._began_at
        if isinstance(outcome, Answer):
            tried.status, tried.failure = outcome.status, None
        elif isinstance(outcome, Failure):
            tried.failure, tried.detail = outcome.kind.value, outcome.detail

    def cut_off(self, _: None) -> None:
        """Note that nobody waits for the attempt any more."""
        tried = self.attempts[-1][1]
        tried.duration_s = self._monotonic() - self._began_at
        tried.failure = "cancelled"

    def copies(self, action: Mirror) -> None:
        """Have a copy bear a context of its own, unsampled."""
        if self._propagates:
            child = child_of(self.span.context, False, self._rng)
            action.exchange = _bearing(action.exchange, child, self._formats)

    def spared(self, note: Callable[[A], R], what: A) -> R | None:
        """Note something; the call is spared what fails in that."""
        try:
            return note(what)
        except Exception:
            self._on_failure()
            return None

    def ended(self, event: OutboundEvent) -> None:
        """End all spans, by how the call went."""
        self._over(self, event)


def traced(inner: Flow, spans: CallSpans) -> Flow:
    """Return an exchange with the spans of its attempts made on the way."""
    outcome: Outcome = None
    try:
        while True:
            try:
                action = inner.send(outcome)
            except StopIteration:
                return
            if not isinstance(action, Send):
                if isinstance(action, Mirror):
                    spans.spared(spans.copies, action)
                elif isinstance(action, Deliver | Reply) and spans.span.is_adopted:
                    spans.spared(spans.answers, action.info)
                outcome = yield action
                continue
            leave = spans.spared(spans.sends, action)
            is_back = False
            try:
                outcome = yield action
                is_back = True
            finally:
                if leave is not None:
                    leave()
                if not is_back:
                    spans.spared(spans.cut_off, None)
            spans.spared(spans.got, outcome)
    finally:
        inner.close()


def bear(action: Send, context: TraceContext, formats: tuple[Propagation, ...]) -> None:
    """Put a context in place of what an attempt bears, save what policy takes out."""
    dropped = frozenset() if action.edit is None else action.edit.drop
    kept = tuple(pair for pair in action.headers if pair[0] not in TRACE_HEADERS)
    action.headers = kept + tuple(
        pair for pair in written(context, formats) if pair[0] not in dropped
    )


def _bearing(copy: Flow, context: TraceContext, formats: tuple[Propagation, ...]) -> Flow:
    outcome: Outcome = None
    try:
        while True:
            try:
                action = copy.send(outcome)
            except StopIteration:
                return
            if isinstance(action, Send):
                action = replace(action)
                bear(action, context, formats)
            outcome = yield action
    finally:
        copy.close()
