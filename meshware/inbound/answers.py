"""What a decision comes to: the app called with what it may see, or an answer in its place."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from meshware.call import NO_CLAIMS, Call, Flag, MessageEdit
from meshware.inbound.authz import Verdict
from meshware.inbound.header_names import header_names
from meshware.inbound.passage import Admission, Answered, Ask, Denial, Teller
from meshware.inbound.peer import Refused
from meshware.inbound.question import Question
from meshware.trace import BeginTrace

if TYPE_CHECKING:
    from meshware.authz import Request
    from meshware.inbound.asking import Check, Outcome, Refusal, Step

__all__ = ["Answers"]

D = TypeVar("D", bound=Denial)

OVERFLOWED = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
"""Envoy's body for a call that is over a limit."""

_TEXT = (("content-type", "text/plain"),)
_NO_POLICY = Verdict(False)

# A refusal says little to the caller; its reason is for the log.
_BODIES = {400: "Bad Request", 401: "Unauthorized", 403: "RBAC: access denied", 503: "no policy"}


class Answers:
    """Makes admissions and denials of what was decided.

    Args:
        teller: whom to tell about calls that are over.
        new_request_id: makes an `x-request-id` for a call that brings none.
        let_in: has an entry for each call under way.
        limited: has one for each of them that counts for a limit.
        begin_trace: goes on with the trace of a call, or begins one.
    """

    def __init__(
        self,
        teller: Teller,
        new_request_id: Callable[[], str],
        let_in: deque[None],
        limited: deque[None],
        begin_trace: BeginTrace,
    ) -> None:
        self._teller = teller
        self._new_request_id = new_request_id
        self._let_in = let_in
        self._unlimited = (let_in,)
        self._limited = (let_in, limited)
        self._begin_trace = begin_trace

    def admit(
        self, asked: Question, verdict: Verdict, response: MessageEdit | None = None
    ) -> Admission:
        """Let a call in.

        Args:
            asked: the call.
            verdict: of the rules.
            response: what changes in the headers of its response.
        """
        head, request_id, snapshot = asked.head, asked.request_id, asked.snapshot
        remove, add = asked.changed()
        if request_id is None:
            request_id = self._new_request_id()
            add = (*add, ("x-request-id", request_id))
            remove = (*remove, "x-request-id")
        trace = self._begin_trace(head.headers, snapshot, asked.started_at)
        if trace.shown:
            # Whatever else a caller wrote in other formats says something else.
            remove += header_names(head.names).traces
            add += trace.shown
        believed, caller = asked.user.believed, asked.caller
        principal = None if believed is None else believed.user.principal
        own = None if snapshot is None else snapshot.inbound
        self._let_in.append(None)
        call = Call(
            request_id,
            trace.trace_id,
            trace.traceparent,
            trace.tracestate,
            caller.peer,
            principal,
            NO_CLAIMS if believed is None else believed.claims,
            None,
            head.route_of,
            trace.headers,
            trace.span,
        )
        return Admission(
            self._teller,
            head,
            asked.started_at,
            0 if snapshot is None else snapshot.generation,
            request_id,
            "via_upstream",
            verdict.policy,
            verdict.rule,
            asked.meaning.candidates,
            asked.marks,
            principal,
            self._limited if asked.is_counted else self._unlimited,
            caller.is_ending,
            call=call,
            remove=remove,
            add=add,
            path=asked.meaning.rewritten,
            response=response,
            binds_handlers=own is not None and own.rules.binds_handlers,
        )

    def answer(
        self, asked: Question, headers: tuple[tuple[str, str], ...], verdict: Verdict
    ) -> Answered:
        """Answer a preflight in the app's place."""
        return self._in_its_place(
            Answered, asked, verdict, reason="cors_preflight", status=200, body="", headers=headers
        )

    def overflow(self, asked: Question) -> Denial:
        """Refuse a call that is one too many."""
        denial = self.deny(asked, 503, "upstream_reset_before_response_started{overflow}")
        denial.body = OVERFLOWED
        denial.headers = (*_TEXT, ("x-envoy-overloaded", "true"))
        denial.flag = Flag.UPSTREAM_OVERFLOW
        return denial

    def ask(
        self,
        asked: Question,
        step: Step,
        request: Check | Request,
        answered: Callable[[Outcome], Admission | Denial | Ask],
    ) -> Ask:
        """Have an authorizer asked."""
        return Ask(
            teller=self._teller,
            head=asked.head,
            started_at=asked.started_at,
            generation=asked.generation,
            request_id=asked.request_id or self._new_request_id(),
            reason="asking_an_authorizer",
            policy=step.verdict.policy,
            rule=step.verdict.rule,
            candidates=asked.meaning.candidates,
            authorizer=step.authorizer,
            request=request,
            answered=answered,
        )

    def relay(self, asked: Question, refusal: Refusal, verdict: Verdict) -> Denial:
        """Refuse a call as an authorizer does, or for want of its answer."""
        denial = self.deny(asked, 403, refusal.reason or verdict.details, verdict)
        denial.status, denial.headers = refusal.status, refusal.headers
        denial.body, denial.relayed = refusal.body.decode("utf-8", "replace"), refusal.body
        if refusal.is_theirs:
            denial.flag = Flag.EXTERNAL_AUTHORIZER
        return denial

    def refuse(self, asked: Question, refused: Refused) -> Denial:
        """Refuse a call for what it proves of who makes it, or does not."""
        policy, rule = refused.policy, refused.rule
        key = None if policy is None else f"authn/{policy}"
        verdict = Verdict(False, policy, rule, key)
        denial = self.deny(asked, refused.status, refused.reason, verdict)
        denial.body, denial.headers, denial.detail = refused.body, refused.headers, refused.detail
        denial.is_last = refused.is_last
        return denial

    def deny(
        self, asked: Question, status: int, reason: str, verdict: Verdict = _NO_POLICY
    ) -> Denial:
        """Refuse a call, with Envoy's words for the status."""
        headers = (*_TEXT, ("retry-after", "1")) if status == 503 else _TEXT
        denial = self._in_its_place(
            Denial,
            asked,
            verdict,
            reason=reason,
            status=status,
            body=_BODIES[status],
            headers=headers,
        )
        if asked.snapshot is not None:
            denial.place = asked.snapshot.look_ups.place_of(verdict.key, verdict.rule)
        if asked.caller.id is not None:
            denial.principal = asked.caller.id.principal
            denial.caller = asked.caller.peer
        return denial

    def _in_its_place(
        self,
        kind: type[D],
        asked: Question,
        verdict: Verdict,
        *,
        reason: str,
        status: int,
        body: str,
        headers: tuple[tuple[str, str], ...],
    ) -> D:
        """Return an answer in the app's place."""
        return kind(
            teller=self._teller,
            head=asked.head,
            started_at=asked.started_at,
            generation=asked.generation,
            request_id=asked.request_id or self._new_request_id(),
            reason=reason,
            policy=verdict.policy,
            rule=verdict.rule,
            candidates=asked.meaning.candidates,
            marks=asked.marks,
            request_principal=asked.request_principal,
            status=status,
            body=body,
            headers=headers,
        )
