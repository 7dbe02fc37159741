"""The inbound decision, whole: what happens to a call before the app sees it, in order.

Theory of operation
-------------------
A driver makes an `InboundHead` and asks `admit` once, before it calls the app. The order of the
steps *is* the security property:

1. There is policy, and it knows this workload; else 503.
2. The request can mean one thing only; else 400.
3. Its path is normalised into every path that it may mean; 400 when it cannot be.
4. The caller is who it proves to be, and proves it where it has to; else 403. What only the mesh
   may say is gone from the headers before anything below looks at them.
5. Where a CUSTOM rule matches, its authorizer is asked; else as that says. What is declared to be
   probed is open to the probes of the workload's own and the daemon's identity, whatever this step
   and the rules would say, and nothing else is to the daemon's.
6. Each end user's token that it bears is good; else 401, or 403 where it is for others. What the
   app gets of it, the rules below see.
7. DENY rules, then ALLOW rules; else 403. AUDIT rules and those on trial mark the call before.
8. Browsers that ask what pages of another origin may do are answered.
9. There is room for one more call; else 503.
10. The app is called, with what untrusted callers must not say removed from the headers, and with
   the call in context.

The answer is an `Admission` (call the app), a `Denial` (answer so, without having read the body),
or an `Ask` (ask an authorizer, and say `answered` what came of it: the answer is of the same three
again). The driver says `finish` when the response has ended, or when the caller goes away before.

`admit` and `answered` never wait and never raise: an exception while deciding refuses the call.
Whatever fails in telling about a call is told to `on_error` and changes nothing for the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from meshware.call import HeaderLookup, MessageEdit
from meshware.events import EventSink
from meshware.identity.spiffe import SpiffeID
from meshware.inbound.answers import Answers
from meshware.inbound.asking import Outcome, Refusal, Step, apply, check_request, ruling, steps
from meshware.inbound.authn import EndUsers
from meshware.inbound.authz import Verdict, decide
from meshware.inbound.cleaning import cleaned, overlaid
from meshware.inbound.cors import is_preflight, preflight, response_edit
from meshware.inbound.head import InboundHead
from meshware.inbound.header_names import header_names
from meshware.inbound.meaning import meaning_of
from meshware.inbound.passage import Admission, Ask, Denial, Teller
from meshware.inbound.peer import Identifies, Refused
from meshware.inbound.question import Question, as_routed
from meshware.inbound.remote import remote_ip
from meshware.inbound.shadow import MALFORMED, NO_MARKS, marks_of
from meshware.inbound.trace import read_request_id
from meshware.inbound.wellformed import complaint, plain_path
from meshware.policy.inbound_facts import Facts
from meshware.policy.inbound_rules import InboundRules
from meshware.policy.paths import decoded
from meshware.policy.snapshot import InboundView, Snapshot
from meshware.trace import BeginTrace, Carried, carried, read_context

__all__ = ["Gate"]


def _nobody_fetches(_uri: str) -> None:
    """Leave an unknown key at that: it is not known until policy has it."""


def _carry(headers: HeaderLookup, _snapshot: object, _started_at: float) -> Carried:
    """Carry the caller's trace on as it is."""
    return carried(read_context(headers))


_PROBE = Verdict(True)
_NO_PROBE = Verdict(False)


class Gate:
    """Decides inbound calls by the policy in force. Safe to use from any thread.

    Args:
        snapshot_of: returns the policy in force; None: there never was one.
        monotonic: time in seconds, for durations.
        new_request_id: makes an `x-request-id` for a call that brings none.
        peers: identifies callers.
        now: returns unix seconds, for tokens.
        on_unknown_key: is told the address of a key set that lacks a key which a token names.
        sink: is told of each call that is over.
        on_error: is told of exceptions that callers must not suffer from.
        begin_trace: goes on with the trace of a call, or begins one.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        *,
        monotonic: Callable[[], float],
        new_request_id: Callable[[], str],
        peers: Identifies,
        now: Callable[[], float],
        sink: EventSink,
        on_error: Callable[[Exception], None],
        on_unknown_key: Callable[[str], None] = _nobody_fetches,
        begin_trace: BeginTrace = _carry,
    ) -> None:
        self._snapshot_of = snapshot_of
        self._monotonic = monotonic
        self._peers = peers
        self._users = EndUsers(now, on_unknown_key)
        self._on_error = on_error
        # An entry for each call under way: one may end in garbage collection, which takes no lock.
        self._let_in_now: deque[None] = deque()
        self._under_way: deque[None] = deque()  # those that count for a limit
        teller = Teller(monotonic, sink, on_error)
        self._answers = Answers(
            teller, new_request_id, self._let_in_now, self._under_way, begin_trace
        )

    @property
    def in_flight(self) -> int:
        """How many calls were let in and are not over."""
        return len(self._let_in_now)

    def renew(self) -> None:
        """Forget, in a child process, the calls that are the parent's."""
        self._let_in_now.clear()
        self._under_way.clear()

    def admit(self, head: InboundHead) -> Admission | Denial | Ask:
        """Decide one call."""
        asked = Question(head, self._monotonic())
        try:
            asked.request_id = read_request_id(head.headers)
            asked.snapshot = self._snapshot_of()
            passage = self._decide(asked, asked.snapshot)
        except Exception as error:
            passage = self._failed(asked, error)
        asked.decided_s = passage.decided_s = self._monotonic() - asked.started_at
        return passage

    def _failed(self, asked: Question, error: Exception) -> Denial:
        # Whatever cannot be decided is refused: a handler reached by mistake cannot be undone.
        self._on_error(error)
        reason = f"exception_while_deciding{{{type(error).__name__}}}"
        return self._answers.deny(asked, 403, reason)

    # --- the order ----------------------------------------------------------------------------

    def _decide(self, asked: Question, snapshot: Snapshot | None) -> Admission | Denial | Ask:
        if snapshot is None:
            return self._answers.deny(asked, 503, "no_policy")
        own = snapshot.inbound
        if own is None:
            return self._answers.deny(asked, 503, "unknown_workload")

        head = asked.head
        names, plain = header_names(head.names), plain_path(head)
        wrong = complaint(head, names, plain, read=own.reads_headers, values_read=own.reads_values)
        if wrong is not None:
            return self._answers.deny(asked, 400, f"bad_request{{{wrong}}}")
        meaning = meaning_of(head, snapshot.mesh.normalization, plain)
        if isinstance(meaning, str):
            return self._answers.deny(asked, 400, f"bad_request{{{meaning}}}")
        asked.meaning = meaning

        caller = self._peers.identify(head, snapshot)
        if isinstance(caller, Refused):
            return self._answers.refuse(asked, caller)
        asked.caller = caller
        if names.ours or own.adds_headers:
            asked.cleaned, asked.said = cleaned(head, names, caller, snapshot)

        probed = None if caller.id is None else _probed(asked, snapshot, own, caller.id)
        if probed is None and own.rules.custom:
            to_ask = steps(own, _facts(asked, snapshot, own.rules), asked)
            if to_ask:
                return self._ask(asked, snapshot, own, to_ask)
        return self._by_rules(asked, snapshot, own, probed)

    def _by_rules(
        self, asked: Question, snapshot: Snapshot, own: InboundView, probed: Verdict | None
    ) -> Admission | Denial:
        """Go on behind the authorizers: whose tokens, and what the rules say."""
        meaning = asked.meaning
        if own.users is not None:
            user = self._users.identify(asked.head, own.users, meaning.candidates[0])
            if isinstance(user, Refused):
                return self._answers.refuse(asked, user)
            asked.user = user
        rules = own.rules
        facts = _facts(asked, snapshot, rules)
        if rules.marks:
            self._mark(asked, own, facts)
        verdict = probed or decide(rules, facts, meaning.candidates, meaning.partial)
        if not verdict.is_allowed:
            denial = self._answers.deny(asked, 403, verdict.details, verdict)
            if verdict.policy is None and rules.allowing:
                denial.detail = f"no ALLOW policy has a rule that takes it: {rules.allowing}"
            return denial
        return self._let_in(asked, own, facts, verdict)

    def _mark(self, asked: Question, own: InboundView, facts: Facts) -> None:
        """Mark a call with what policies say that decide nothing."""
        meaning, rules = asked.meaning, own.rules
        try:
            read = rules.marks_read
            head = asked.head
            if read != rules.reads_headers and complaint(
                head, header_names(head.names), plain_path(head), read=read, values_read=read
            ):
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
        head = asked.head
        edit = None
        if asked.response:
            told = tuple((each.name, each.value) for each in asked.response)
            edit = MessageEdit(frozenset(), told)
        if own.cors is not None and head.headers("origin"):
            headers, _ = _as_the_app(asked)
            rule = own.cors.pick(as_routed(asked, facts.authority, headers), head.port)
            if rule is not None and is_preflight(head.method, head.headers):
                answer = preflight(rule, head.headers)
                if answer is not None:
                    return self._answers.answer(asked, answer, verdict)
            if rule is not None:
                edit = _both(edit, response_edit(rule, head.headers))
        if own.most_requests is not None:
            # Counted first, so that two at once cannot both be the last.
            self._under_way.append(None)
            if len(self._under_way) > own.most_requests:
                self._under_way.pop()
                return self._answers.overflow(asked)
            asked.is_counted = True
        return self._answers.admit(asked, verdict, edit)

    # --- authorizers --------------------------------------------------------------------------

    def _ask(
        self, asked: Question, snapshot: Snapshot, own: InboundView, to_ask: tuple[Step, ...]
    ) -> Admission | Denial | Ask:
        """Have the first of some authorizers asked; none is left: go on."""
        if not to_ask:
            return self._by_rules(asked, snapshot, own, None)

        def answered(outcome: Outcome) -> Admission | Denial | Ask:
            began_at = self._monotonic()
            passage: Admission | Denial | Ask
            try:
                found = ruling(to_ask[0].authorizer, outcome)
                if isinstance(found, Refusal):
                    passage = self._answers.relay(asked, found, to_ask[0].verdict)
                else:
                    apply(asked, found, to_ask[0].authorizer.name)
                    passage = self._ask(asked, snapshot, own, to_ask[1:])
            except Exception as error:
                passage = self._failed(asked, error)
            asked.decided_s += self._monotonic() - began_at
            passage.decided_s = asked.decided_s
            return passage

        step = to_ask[0]
        return self._answers.ask(asked, step, check_request(asked, step), answered)


def _both(one: MessageEdit | None, other: MessageEdit | None) -> MessageEdit | None:
    """Return two changes of a response as one; the second counts where they differ."""
    if one is None or other is None:
        return one or other
    kept = tuple(pair for pair in one.append if pair[0] not in other.drop)
    return MessageEdit(one.drop | other.drop, (*kept, *other.append))


def _as_the_app(asked: Question) -> tuple[HeaderLookup, Sequence[str]]:
    """Return headers and their names as the app gets them."""
    head, user = asked.head, asked.user
    remove, add = asked.cleaned + user.remove, asked.said + user.add
    if not remove and not add:
        return head.headers, head.names
    return overlaid(head.headers, head.names, remove, add)


def _facts(asked: Question, snapshot: Snapshot, rules: InboundRules) -> Facts:
    """Return what rules may ask about a call."""
    head, rewritten, user = asked.head, asked.meaning.rewritten, asked.user
    headers, names = head.headers, head.names
    if rules.marks_read:  # the request that they are asked about is the one that the app gets
        headers, names = _as_the_app(asked)
    hops = snapshot.mesh.trusted_hops
    hosts = head.headers("host")
    return Facts(
        head.method,
        hosts[0].strip(" \t") if hosts else "",
        headers,
        head.source_ip,
        head.destination_ip,
        head.port,
        names,
        asked.caller.id,
        None if user.believed is None else user.believed.user,
        # Over TLS a server may keep it to itself.
        "" if head.sni is None and not _is_tls(head) else head.sni,
        remote_ip(head, hops) if hops else head.source_ip,
        head.handlers_of,
        None if rewritten is None else decoded(rewritten),
    )


def _is_tls(head: InboundHead) -> bool:
    return head.chain is not None or head.scheme in ("https", "wss")


def _probed(
    asked: Question, snapshot: Snapshot, own: InboundView, caller: SpiffeID
) -> Verdict | None:
    """Return what is decided of a probe; None: it is none, and rules decide."""
    daemon = snapshot.daemon_id
    is_daemon = daemon is not None and caller == daemon
    if not is_daemon and not (own.probe_paths and caller == snapshot.id):
        return None
    is_read = asked.head.method in ("GET", "HEAD")
    if is_read and own.probe_paths.issuperset(asked.meaning.candidates):
        return _PROBE
    return _NO_PROBE if is_daemon else None
