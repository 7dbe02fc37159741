"""The inbound decision, whole: what happens to a call before the app sees it, in order.

Theory of operation
-------------------
A driver makes an `InboundHead` and asks `admit` once, before it calls the app. The order of the
steps *is* the security property:

1. There is policy, and it knows this workload; else 503.
2. The request can mean one thing only; else 400.
3. Its path is normalised into every path that it may mean; 400 when it cannot be.
4. The caller is who it proves to be, and proves it where it has to; else 403.
5. DENY rules, then ALLOW rules; else 403. What is declared to be probed is open to the probes of
   the workload's own and the daemon's identity, and nothing else is to the daemon's.
6. Browsers that ask what pages of another origin may do are answered.
7. There is room for one more call; else 503.
8. The app is called, with what untrusted callers must not say removed from the headers, and with
   the call in context.

The answer is an `Admission` (call the app) or a `Denial` (answer so, without having read the
body). Either way the driver says `finish` when the response has ended.

`admit` never waits and never raises: an exception while deciding refuses the call. Whatever fails
in telling about a call is told to `on_error` and changes nothing for the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from meshware.call import Call, Flag, MessageEdit, RequestHead
from meshware.events import EventSink
from meshware.inbound.authz import Verdict, decide
from meshware.inbound.cors import is_preflight, preflight, response_edit
from meshware.inbound.forward import forwarded_cert
from meshware.inbound.head import InboundHead
from meshware.inbound.passage import Admission, Answered, Denial, Teller
from meshware.inbound.peer import NOBODY, Caller, Identifies, Refused, takes_tokens
from meshware.inbound.tokens import TOKEN_HEADERS
from meshware.inbound.trace import read_request_id, read_trace
from meshware.inbound.wellformed import complaint, split_target
from meshware.policy.inbound_facts import Facts
from meshware.policy.paths import (
    DEFAULT_NORMALIZATION,
    candidates,
    decoded,
    encoded,
    normalise,
)
from meshware.policy.snapshot import Snapshot

__all__ = ["Gate"]

OURS = ("x-envoy-", "x-meshware-", "x-forwarded-client-cert")
"""Headers with which only the mesh speaks; from anyone else they are removed."""

OVERFLOWED = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
"""Envoy's body for a call that is over a limit."""

_TEXT = (("content-type", "text/plain"),)
_NO_POLICY = Verdict(False)
_PROBE = Verdict(True)
_NO_PROBE = Verdict(False)


class Gate:
    """Decides inbound calls by the policy in force. Safe to use from any thread.

    Args:
        snapshot_of: returns the policy in force; None: there never was one.
        monotonic: time in seconds, for durations.
        new_request_id: makes an `x-request-id` for a call that brings none.
        peers: identifies callers.
        sink: is told of each call that is over.
        on_error: is told of exceptions that callers must not suffer from.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        *,
        monotonic: Callable[[], float],
        new_request_id: Callable[[], str],
        peers: Identifies,
        sink: EventSink,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._snapshot_of = snapshot_of
        self._monotonic = monotonic
        self._new_request_id = new_request_id
        self._peers = peers
        self._teller = Teller(monotonic, sink, on_error)
        # An entry for each counted call: a call may end in garbage collection, which takes no lock.
        self._under_way: deque[None] = deque()

    def admit(self, head: InboundHead) -> Admission | Denial:
        """Decide one call."""
        asked = _Question(head, self._monotonic())
        try:
            asked.request_id = read_request_id(head.headers)
            snapshot = asked.snapshot = self._snapshot_of()
            return self._decide(asked, snapshot)
        except Exception as error:
            # Whatever cannot be decided is refused: a handler reached by mistake cannot be undone.
            self._teller.on_error(error)
            return self._deny(asked, 403, f"exception_while_deciding{{{type(error).__name__}}}")

    def _decide(self, asked: _Question, snapshot: Snapshot | None) -> Admission | Denial:
        if snapshot is None:
            return self._deny(asked, 503, "no_policy")
        if snapshot.inbound is None:
            return self._deny(asked, 503, "unknown_workload")
        rules = snapshot.inbound.rules
        head = asked.head

        wrong = complaint(head, rules.reads_headers)
        if wrong is not None:
            return self._deny(asked, 400, f"bad_request{{{wrong}}}")

        normalization = snapshot.mesh.normalization
        target = None if head.target is None else split_target(head.target)
        paths, rewritten = head.paths, None
        if normalization is not None:
            # As behind Istio the app sees the normalised path, so that is one it may mean.
            rewritten = normalise(encoded(paths[0]) if target is None else target, normalization)
            if rewritten is None:
                return self._deny(asked, 400, "bad_request{the path cannot be normalised}")
            paths = (decoded(rewritten), *paths[1:])
        elif "#" in paths[0] and target is not None and "#" in target:
            # Cut in the decision and left in what the app sees, it would mean two things.
            return self._deny(asked, 400, "bad_request{the path holds a fragment}")
        mode = normalization or DEFAULT_NORMALIZATION
        means = candidates(target, paths, mode)
        partly = candidates(None, head.partial_paths, mode) if head.partial_paths else ()
        if means is None or partly is None:
            return self._deny(asked, 400, "bad_request{the path cannot be normalised}")
        if mode != DEFAULT_NORMALIZATION:
            # For DENY alone: an app may take `//` for `/`, whichever mode was chosen.
            strict = candidates(target, (*paths, *head.partial_paths), DEFAULT_NORMALIZATION)
            if strict is None:
                return self._deny(asked, 400, "bad_request{the path cannot be normalised}")
            partly += strict
        asked.candidates = means

        caller = self._peers.identify(head, snapshot)
        if isinstance(caller, Refused):
            denial = self._deny(asked, caller.status, caller.reason)
            denial.body, denial.headers = caller.body, caller.headers
            denial.is_last = caller.is_last
            return denial
        asked.caller = caller

        hosts = head.headers("host")
        facts = Facts(
            method=head.method,
            authority=hosts[0].strip(" \t") if hosts else "",
            headers=head.headers,
            source_ip=head.source_ip,
            destination_ip=head.destination_ip,
            port=head.port,
            peer=caller.id,
            sni=head.sni,
        )
        verdict = self._probed(asked, snapshot) or decide(rules, facts, means, partly)
        if not verdict.is_allowed:
            return self._deny(asked, 403, verdict.details, verdict)
        edit: MessageEdit | None = None
        cors = snapshot.inbound.cors
        if cors is not None and head.headers("origin"):
            rule = cors.pick(_as_routed(asked, facts.authority), head.port)
            if rule is not None and is_preflight(head.method, head.headers):
                answer = preflight(rule, head.headers)
                if answer is not None:
                    return self._answer(asked, answer, verdict)
            if rule is not None:
                edit = response_edit(rule, head.headers)
        if snapshot.inbound.most_requests is not None:
            # Counted first, so that two at once cannot both be the last.
            self._under_way.append(None)
            if len(self._under_way) > snapshot.inbound.most_requests:
                self._under_way.pop()
                return self._overflow(asked)
            asked.is_counted = True
        return self._admit(asked, verdict, rewritten, edit)

    def _probed(self, asked: _Question, snapshot: Snapshot) -> Verdict | None:
        """Return what is decided of a probe; None: it is none, and rules decide."""
        own, caller = snapshot.inbound, asked.caller.id
        if own is None or caller is None:
            return None
        is_daemon = caller == snapshot.daemon_id
        if not is_daemon and not (own.probe_paths and caller == snapshot.id):
            return None
        if asked.head.method in ("GET", "HEAD") and own.probe_paths.issuperset(asked.candidates):
            return _PROBE
        return _NO_PROBE if is_daemon else None

    # --- the two answers ----------------------------------------------------------------------

    def _admit(
        self,
        asked: _Question,
        verdict: Verdict,
        rewritten: str | None,
        edit: MessageEdit | None,
    ) -> Admission:
        head, request_id = asked.head, asked.request_id
        remove: tuple[str, ...] = ()
        for name in head.names:
            # Underscores too, for CGI-style code takes them for dashes.
            if name[0:1] == "x" and name.replace("_", "-").startswith(OURS):
                remove += (name,)
        add: tuple[tuple[str, str], ...] = ()
        snapshot = asked.snapshot
        if snapshot is not None:
            if snapshot.mesh.forward_cert != "SANITIZE":
                add = forwarded_cert(head, asked.caller, snapshot)
            if takes_tokens(snapshot, head.port):
                remove += tuple(name for name in TOKEN_HEADERS if name in head.names)
        if request_id is None:
            request_id = self._new_request_id()
            add = (*add, ("x-request-id", request_id))
            remove = (*remove, "x-request-id")
        trace = read_trace(head.headers)
        return Admission(
            teller=self._teller,
            head=head,
            started_at=asked.started_at,
            generation=asked.generation,
            request_id=request_id,
            reason="via_upstream",
            policy=verdict.policy,
            rule=verdict.rule,
            candidates=asked.candidates,
            call=Call(
                request_id=request_id,
                peer=asked.caller.peer,
                trace_id=trace.trace_id,
                traceparent=trace.traceparent,
                tracestate=trace.tracestate,
                route_of=head.route_of,
            ),
            remove=remove,
            add=add,
            path=rewritten,
            response=edit,
            is_last=asked.caller.is_ending,
            counted=self._under_way if asked.is_counted else None,
        )

    def _answer(
        self, asked: _Question, headers: tuple[tuple[str, str], ...], verdict: Verdict
    ) -> Answered:
        return Answered(
            teller=self._teller,
            head=asked.head,
            started_at=asked.started_at,
            generation=asked.generation,
            request_id=asked.request_id or self._new_request_id(),
            reason="cors_preflight",
            policy=verdict.policy,
            rule=verdict.rule,
            candidates=asked.candidates,
            status=200,
            body="",
            headers=headers,
        )

    def _overflow(self, asked: _Question) -> Denial:
        denial = self._deny(asked, 503, "upstream_reset_before_response_started{overflow}")
        denial.body = OVERFLOWED
        denial.headers = (*_TEXT, ("x-envoy-overloaded", "true"))
        denial.flag = Flag.UPSTREAM_OVERFLOW
        return denial

    def _deny(
        self, asked: _Question, status: int, reason: str, verdict: Verdict = _NO_POLICY
    ) -> Denial:
        return Denial(
            teller=self._teller,
            head=asked.head,
            started_at=asked.started_at,
            generation=asked.generation,
            request_id=asked.request_id or self._new_request_id(),
            reason=reason,
            policy=verdict.policy,
            rule=verdict.rule,
            candidates=asked.candidates,
            status=status,
            body=_BODIES[status],
            headers=(*_TEXT, ("retry-after", "1")) if status == 503 else _TEXT,
        )


def _as_routed(asked: _Question, authority: str) -> RequestHead:
    """Return a request as the routes of its service look at one."""
    head = asked.head
    mark, query = ("", "") if head.target is None else head.target.partition("?")[1:]
    host, colon, port = authority.rpartition(":")
    return RequestHead(
        method=head.method,
        scheme=head.scheme,
        host=host if colon and port.isdigit() else authority,
        port=head.port or 0,
        authority=authority,
        target=f"{asked.candidates[0]}{mark}{query}",
        headers=head.headers,
        replayable=False,
    )


# A refusal says little to the caller; its reason is for the log.
_BODIES = {400: "Bad Request", 401: "Unauthorized", 403: "RBAC: access denied", 503: "no policy"}


@dataclass(slots=True)
class _Question:
    """What is known of a call while it is decided."""

    head: InboundHead
    started_at: float
    snapshot: Snapshot | None = None
    request_id: str | None = None
    candidates: tuple[str, ...] = ()
    caller: Caller = NOBODY
    is_counted: bool = False  # among the calls under way

    @property
    def generation(self) -> int:
        return 0 if self.snapshot is None else self.snapshot.generation
