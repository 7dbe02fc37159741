"""The inbound decision, whole: what happens to a call before the app sees it, in order.

Theory of operation
-------------------
A driver makes an `InboundHead` and asks `admit` once, before it calls the app. The order of the
steps *is* the security property:

1. There is policy, and it knows this workload; else 503.
2. The request can mean one thing only; else 400.
3. Its path is normalised into every path that it may mean; 400 when it cannot be.
4. The caller is who it proves to be, and proves it where it has to; else 403.
5. Each end user's token that it bears is good; else 401, or 403 where it is for others.
6. DENY rules, then ALLOW rules; else 403. AUDIT rules and those on trial mark the call before.
   What is declared to be probed is open to the probes of the workload's own and the daemon's
   identity, and nothing else is to the daemon's.
7. Browsers that ask what pages of another origin may do are answered.
8. There is room for one more call; else 503.
9. The app is called, with what untrusted callers must not say removed from the headers, and with
   the call in context.

The answer is an `Admission` (call the app) or a `Denial` (answer so, without having read the
body). Either way the driver says `finish` when the response has ended.

`admit` never waits and never raises: an exception while deciding refuses the call. Whatever fails
in telling about a call is told to `on_error` and changes nothing for the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

from meshware.events import EventSink
from meshware.inbound.answers import Answers, Changes
from meshware.inbound.authn import EndUsers
from meshware.inbound.authz import Verdict, decide
from meshware.inbound.cors import is_preflight, preflight, response_edit
from meshware.inbound.head import InboundHead
from meshware.inbound.meaning import meaning_of
from meshware.inbound.passage import Admission, Denial, Teller
from meshware.inbound.peer import Identifies, Refused
from meshware.inbound.question import Question, as_routed
from meshware.inbound.remote import remote_ip
from meshware.inbound.shadow import MALFORMED, NO_MARKS, marks_of
from meshware.inbound.trace import read_request_id
from meshware.inbound.wellformed import complaint
from meshware.policy.inbound_facts import Facts
from meshware.policy.paths import decoded
from meshware.policy.snapshot import InboundView, Snapshot

__all__ = ["Gate"]


def _nobody_fetches(_uri: str) -> None:
    """Leave an unknown key at that: it is not known until policy has it."""


_PROBE = Verdict(True)
_NO_PROBE = Verdict(False)


class Gate:
    """Decides inbound calls by the policy in force. Safe to use from any thread.

    Args:
        snapshot_of: returns the policy in force; None: there never was one.
        monotonic: time in seconds, for durations.
        new_request_id: makes an `x-request-id` for a call that brings none.
        peers: identifies callers.
        now: returns aware UTC, for tokens.
        on_unknown_key: is told the address of a key set that lacks a key which a token names.
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
        now: Callable[[], datetime],
        sink: EventSink,
        on_error: Callable[[Exception], None],
        on_unknown_key: Callable[[str], None] = _nobody_fetches,
    ) -> None:
        self._snapshot_of = snapshot_of
        self._monotonic = monotonic
        self._peers = peers
        self._users = EndUsers(now, on_unknown_key)
        self._on_error = on_error
        # An entry for each counted call: a call may end in garbage collection, which takes no lock.
        self._under_way: deque[None] = deque()
        teller = Teller(monotonic, sink, on_error)
        self._answers = Answers(teller, new_request_id, self._under_way)

    def admit(self, head: InboundHead) -> Admission | Denial:
        """Decide one call."""
        asked = Question(head, self._monotonic())
        try:
            asked.request_id = read_request_id(head.headers)
            asked.snapshot = self._snapshot_of()
            return self._decide(asked, asked.snapshot)
        except Exception as error:
            return self._failed(asked, error)

    def _failed(self, asked: Question, error: Exception) -> Denial:
        # Whatever cannot be decided is refused: a handler reached by mistake cannot be undone.
        self._on_error(error)
        reason = f"exception_while_deciding{{{type(error).__name__}}}"
        return self._answers.deny(asked, 403, reason)

    # --- the order ----------------------------------------------------------------------------

    def _decide(self, asked: Question, snapshot: Snapshot | None) -> Admission | Denial:
        if snapshot is None:
            return self._answers.deny(asked, 503, "no_policy")
        own = snapshot.inbound
        if own is None:
            return self._answers.deny(asked, 503, "unknown_workload")

        head = asked.head
        wrong = complaint(head, own.reads_headers)
        if wrong is not None:
            return self._answers.deny(asked, 400, f"bad_request{{{wrong}}}")
        meaning = meaning_of(head, snapshot.mesh.normalization)
        if isinstance(meaning, str):
            return self._answers.deny(asked, 400, f"bad_request{{{meaning}}}")
        asked.meaning = meaning

        caller = self._peers.identify(head, snapshot)
        if isinstance(caller, Refused):
            return self._answers.refuse(asked, caller)
        asked.caller = caller

        if own.users is not None:
            user = self._users.identify(head, own.users, meaning.candidates[0])
            if isinstance(user, Refused):
                return self._answers.refuse(asked, user)
            asked.user = user

        facts = _facts(asked)
        if own.rules.marks:
            self._mark(asked, own, facts)
        verdict = _probed(asked, snapshot, own) or decide(
            own.rules, facts, meaning.candidates, meaning.partial
        )
        if not verdict.is_allowed:
            return self._answers.deny(asked, 403, verdict.details, verdict)
        return self._let_in(asked, own, facts, verdict)

    def _mark(self, asked: Question, own: InboundView, facts: Facts) -> None:
        """Mark a call with what policies say that decide nothing."""
        meaning, rules = asked.meaning, own.rules
        try:
            if rules.marks_read != rules.reads_headers and complaint(asked.head, rules.marks_read):
                asked.marks = MALFORMED if rules.shadow is not None else NO_MARKS
                return
            asked.marks = marks_of(rules, facts, meaning.candidates, meaning.partial)
        except Exception as error:
            # What is never enforced must refuse nobody, by its failures either.
            self._on_error(error)

    def _let_in(
        self, asked: Question, own: InboundView, facts: Facts, verdict: Verdict
    ) -> Admission | Denial:
        """Answer a browser, count the call, and let it in."""
        head, user = asked.head, asked.user
        changes = Changes(user.remove, user.add)
        if own.cors is not None and head.headers("origin"):
            rule = own.cors.pick(as_routed(asked, facts.authority), head.port)
            if rule is not None and is_preflight(head.method, head.headers):
                answer = preflight(rule, head.headers)
                if answer is not None:
                    return self._answers.answer(asked, answer, verdict)
            if rule is not None:
                changes = changes._replace(response=response_edit(rule, head.headers))
        if own.most_requests is not None:
            # Counted first, so that two at once cannot both be the last.
            self._under_way.append(None)
            if len(self._under_way) > own.most_requests:
                self._under_way.pop()
                return self._answers.overflow(asked)
            asked.is_counted = True
        return self._answers.admit(asked, verdict, changes)


def _facts(asked: Question) -> Facts:
    """Return what rules may ask about a call."""
    head, rewritten = asked.head, asked.meaning.rewritten
    hops = 0 if asked.snapshot is None else asked.snapshot.mesh.trusted_hops
    hosts = head.headers("host")
    return Facts(
        method=head.method,
        authority=hosts[0].strip(" \t") if hosts else "",
        headers=head.headers,
        names=head.names,
        source_ip=head.source_ip,
        destination_ip=head.destination_ip,
        port=head.port,
        peer=asked.caller.id,
        user=asked.user.believed.user if asked.user.believed is not None else None,
        # Over TLS a server may keep it to itself.
        sni="" if head.sni is None and not _is_tls(head) else head.sni,
        remote_ip=remote_ip(head, hops),
        handlers_of=head.handlers_of,
        app_path=None if rewritten is None else decoded(rewritten),
    )


def _is_tls(head: InboundHead) -> bool:
    return head.chain is not None or head.scheme in ("https", "wss")


def _probed(asked: Question, snapshot: Snapshot, own: InboundView) -> Verdict | None:
    """Return what is decided of a probe; None: it is none, and rules decide."""
    caller = asked.caller.id
    if caller is None:
        return None
    is_daemon = caller == snapshot.daemon_id
    if not is_daemon and not (own.probe_paths and caller == snapshot.id):
        return None
    is_read = asked.head.method in ("GET", "HEAD")
    if is_read and own.probe_paths.issuperset(asked.meaning.candidates):
        return _PROBE
    return _NO_PROBE if is_daemon else None
