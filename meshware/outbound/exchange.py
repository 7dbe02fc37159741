"""One outbound call, from its route to the end of its body: the whole order in one place.

Theory of operation
-------------------
`exchange` is a generator. It yields *actions* and is sent *outcomes* (both in `meshware.call`):

==========  ====================================  ==========================================
action      the driver                            is sent
==========  ====================================  ==========================================
`Send`      makes one attempt                     `Answer` at its headers, or `Failure`
`Sleep`     waits                                 None
`Wait`      waits to be woken, or for some time   None
`Mirror`    sends a copy in the background        None, at once
`Deliver`   gives the last answer to the caller   `Ended` when the body has ended
`Reply`     answers in place of the upstream      nothing: the driver closes the generator
`Raise`     raises the library's own exception    nothing: the driver closes the generator
==========  ====================================  ==========================================

It ends with exactly one of `Deliver`, `Reply` and `Raise`, unless it is closed before: a driver
that is cancelled, or whose caller drops the body, closes the generator. However it ends, the
lease goes back and one event is emitted.

The order: service -> VirtualService rule -> faults -> deadline -> destination and subset ->
endpoint -> send -> classify -> again? -> deliver -> outcome recorded when the body ends. What may
not happen:

1. Something is sent after the total time-out, or while an earlier attempt still runs.
2. A request that is not safe to repeat is sent twice, unless no byte of the first was sent. That
   holds for a connection that went stale in the pool too, which is no failure of the endpoint: the
   same attempt goes over a fresh connection, once, whatever policy says about retries.
3. The weighted choice is drawn again: a retry stays in the cluster first chosen.
4. A call mixes two versions of policy: the snapshot is read once, by whoever starts the exchange.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from meshware.call import (
    Action,
    Answer,
    ClientIdentity,
    Deliver,
    Ended,
    ExchangeInfo,
    Failure,
    FailureKind,
    Flag,
    MessageEdit,
    Mirror,
    Outcome,
    Raise,
    Reply,
    RequestHead,
    Send,
    Sleep,
    flags_text,
)
from meshware.events import EventSink, OutboundEvent, Try
from meshware.outbound.edits import edited, response_edit
from meshware.outbound.fault import ABORTED, happens
from meshware.outbound.ledger import OVERFLOW, Lease, Ledger, Taken
from meshware.outbound.message import message_for, sent, shadow_of
from meshware.outbound.outlier import status_of
from meshware.outbound.proof import Prove, pool_of, proved
from meshware.outbound.queue import LATE, Place, turn
from meshware.outbound.redirect import location
from meshware.outbound.replies import BODY_FLAG, OVERFLOWED, failure_reply, for_protocol, is_grpc
from meshware.outbound.retry import UNCONNECTED, backoff_s, may_repeat, wants_retry
from meshware.outbound.shadow import shadow
from meshware.outbound.stickiness import hash_of
from meshware.policy.clusters import placed
from meshware.policy.pool_rule import PoolRule
from meshware.policy.route_actions import Redirect

if TYPE_CHECKING:
    from meshware.policy.routes import Route, Target
    from meshware.policy.snapshot import Snapshot

__all__ = ["Exchange", "exchange"]

Exchange = Generator[Action, Outcome, None]

PASS_THROUGH = "PassthroughCluster"  # Istio's name for what the mesh does not know
BLACK_HOLE = "BlackHoleCluster"  # and for what it therefore refuses
_NO_RULE = PoolRule(name=PASS_THROUGH)  # connections are the library's own affair


def exchange(
    head: RequestHead,
    snapshot: Snapshot | None,
    ledger: Ledger,
    *,
    monotonic: Callable[[], float],
    rng: Random,
    sink: EventSink,
    identity: ClientIdentity | None = None,
    prove: Prove | None = None,
) -> Exchange:
    """Return the exchange for one call. See the module's theory of operation.

    Args:
        head: the request as the caller wrote it.
        snapshot: the policy in force when the call starts; None: there never was one.
        ledger: calls in flight and turns, shared by all calls of the process.
        monotonic: seconds, for deadlines and durations.
        rng: the source of chance.
        sink: takes the one event that tells how the call went.
        identity: proves who we are; None: nothing does, and calls that need it fail.
        prove: makes the headers of token identity; None: this process has no identity.
    """
    started = monotonic()
    event = OutboundEvent(
        method=head.method,
        service=head.authority,
        cluster="",
        status=0,
        flags="-",
        attempts=0,
        endpoint=None,
        route=None,
        generation=snapshot.generation if snapshot is not None else 0,
        complete=False,
        duration_s=0.0,
        head=head,
    )
    flags: list[Flag] = []
    lease: Lease | None = None
    held_retry: Lease | None = None
    is_over = False

    def reply(
        status: int,
        body: str | bytes,
        extra: tuple[tuple[str, str], ...] = (),
        grpc_status: int | None = None,
    ) -> Reply:
        nonlocal is_over
        is_over = True
        event.status, content, headers = for_protocol(head, status, body, grpc_status)
        event.received_bytes = 0 if head.method == "HEAD" else len(content)
        event.complete = True
        event.replied = headers + extra
        return Reply(event.status, content, info(), event.replied)

    def info() -> ExchangeInfo:
        event.flags = flags_text(flags)
        return ExchangeInfo(event.flags, event.attempts, event.endpoint, event.route)

    try:
        if snapshot is None:  # fail closed: nothing is known, not even what may be called
            yield reply(503, "no policy has been loaded", (("retry-after", "1"),))
            return

        # Service and rule.
        table = snapshot.routes(head.host, head.port)
        if table is None:
            if snapshot.outbound_mode == "REGISTRY_ONLY":
                event.cluster, event.route = BLACK_HOLE, "block_all"
                yield reply(502, "")
                return
            event.cluster, event.route = PASS_THROUGH, "allow_any"
            event.attempts = 1
            sent_at = monotonic()
            event.decided_s = sent_at - started
            tried_now = Try(1, "", event.decided_s)
            event.tries.append(tried_now)
            outcome = yield Send(None, head.port, _NO_RULE, 1, None, None, ())
            tried_now.duration_s = monotonic() - sent_at
            if not isinstance(outcome, Answer):
                is_over = True
                if isinstance(outcome, Failure):
                    tried_now.failure, tried_now.detail = outcome.kind.value, outcome.detail
                    flags.append(BODY_FLAG[outcome.kind])
                yield Raise(timed_out=False)
                return
            event.status, event.response = outcome.status, outcome.headers
            tried_now.status = outcome.status
            ended = yield Deliver(info(), None)
            is_over = True
            if isinstance(ended, Ended):
                event.complete, event.received_bytes = ended.failure is None, ended.received_bytes
            return
        event.service = table.service
        if table.is_broken:
            flags.append(Flag.NO_CLUSTER)
            yield reply(503, "")
            return
        route = table.pick(head)
        if route is None:
            flags.append(Flag.NO_ROUTE)
            yield reply(404, "")
            return
        event.route = route.name
        rule = table.rule_for(head)
        end_at = None if rule.deadline_s is None else started + rule.deadline_s
        caller_at = None if head.wait_s is None else started + head.wait_s
        routed, waited_s = started, 0.0

        # Faults on purpose; policy's clock starts behind them, the caller's did before.
        fault = route.fault
        if fault is not None:
            if fault.delay is not None and happens(fault.delay.per_million, rng):
                flags.append(Flag.DELAY_INJECTED)
                delay_s = fault.delay.seconds
                limit, left_s = _limit(end_at, caller_at, monotonic())
                if left_s is not None and left_s <= delay_s:
                    yield Sleep(max(0.0, left_s))
                    if limit == "caller":
                        yield Raise(timed_out=True)
                        return
                    flags.append(Flag.UPSTREAM_TIMEOUT)
                    yield reply(504, "upstream request timeout")
                    return
                yield Sleep(delay_s)
                routed = monotonic()
            if fault.abort is not None and happens(fault.abort.per_million, rng):
                flags.append(Flag.FAULT_INJECTED)
                abort = fault.abort
                yield reply(abort.status, ABORTED, grpc_status=abort.grpc_status)
                return

        # Answers that need no destination.
        if route.answer is not None:
            if isinstance(route.answer, Redirect):
                where = location(route.answer, head)
                action = reply(route.answer.code, "", (("location", where),))
            else:
                action = reply(route.answer.status, route.answer.body)
            if route.response is not None:
                action.headers = event.replied = edited(action.headers, route.response, head)
            yield action
            return

        # Deadlines: policy's for the whole call, the caller's own for the wait for headers.
        deadline_at = None if route.timeout_s is None else routed + route.timeout_s
        if end_at is not None and (deadline_at is None or end_at < deadline_at):
            deadline_at = end_at

        # Destination and subset; drawn once, kept through all retries.
        goal = _draw(route, rng)
        cluster = snapshot.cluster(goal.key) if goal is not None else None
        if goal is None or cluster is None:
            flags.append(Flag.NO_CLUSTER)
            yield reply(503, "")
            return
        cluster = placed(cluster, goal.key, table.service, head.host)
        event.cluster = cluster.name
        state = ledger.cluster(cluster.name)
        retry = route.retry
        message = message_for(goal, head, rng)
        event.sent, event.edit, event.target = message.headers, message.edit, message.target
        hashed: int | None = None
        cookie: str | None = None
        skip_tried = retry.skip_tried is not False
        if cluster.hash is not None:
            hashed, cookie = hash_of(cluster.hash, head, snapshot.own_address, rng)
            # Envoy, Istio: a retry stays at the endpoint too, unless policy says otherwise.
            skip_tried = retry.skip_tried is True
        tried: list[str] = []
        may_send = True

        # Copies, on their way before the first attempt so that they wait for nothing; behind it
        # where their body has to be kept first.
        mirrors: list[Mirror] = []
        for mirrored in route.mirrors:
            other = snapshot.cluster(mirrored.key)
            if happens(mirrored.per_million, rng) and other is not None:
                copy = shadow(
                    replace(event, cluster=other.name, is_mirror=True, tries=[]),
                    shadow_of(message),
                    placed(other, mirrored.key, table.service, head.host),
                    ledger.cluster(other.name),
                    head=head,
                    timeout_s=route.timeout_s,
                    monotonic=monotonic,
                    rng=rng,
                    sink=sink,
                    identity=identity,
                    prove=prove,
                )
                mirrors.append(Mirror(copy))
        while mirrors and head.replayable:
            yield mirrors.pop(0)

        while True:
            # How long this attempt may take, and whose limit that is.
            limit, timeout_s = _limit(deadline_at, caller_at, monotonic())
            taken: Taken = LATE
            if may_send and (timeout_s is None or timeout_s > 0):
                per_try_s = retry.per_try_timeout_s
                if per_try_s is not None and (timeout_s is None or per_try_s < timeout_s):
                    limit, timeout_s = "try", per_try_s
                until = None if timeout_s is None else monotonic() + timeout_s
                passed_over = tried if skip_tried else ()
                # Envoy, `previous_priorities`: they are left out after every second attempt.
                away_from = tried[: len(tried) // 2 * 2] if retry.spreads else ()
                first = state.take(
                    cluster, passed_over, rng, monotonic(), hashed, away_from=away_from
                )
                if isinstance(first, Place):  # every connection is busy

                    def take(
                        place: Place,
                        passed_over: Sequence[str] = passed_over,
                        away_from: Collection[str] = away_from,
                    ) -> Taken | Place:
                        return state.take(
                            cluster,
                            passed_over,
                            rng,
                            monotonic(),
                            hashed,
                            place=place,
                            away_from=away_from,
                        )

                    queued_at = monotonic()
                    taken = yield from turn(first, take, state.leave, until, monotonic)
                    waited_s += monotonic() - queued_at
                    timeout_s = None if until is None else until - monotonic()
                else:
                    taken = first
            answer: Answer | Failure
            if taken == LATE:
                answer = Failure(FailureKind.TIMEOUT, sent=False)
            elif taken == OVERFLOW:
                flags.append(Flag.UPSTREAM_OVERFLOW)
                yield reply(503, OVERFLOWED, (("x-envoy-overloaded", "true"),))
                return
            elif taken is None:
                flags.append(Flag.NO_HEALTHY_UPSTREAM)
                yield reply(503, "no healthy upstream")
                return
            else:
                endpoint, lease = taken
                tried.append(endpoint.key)
                event.attempts += 1
                event.endpoint = endpoint.key
                sent_at = monotonic()
                if event.attempts == 1:
                    event.decided_s = sent_at - routed - waited_s
                tried_now = Try(event.attempts, endpoint.key, sent_at - started)
                event.tries.append(tried_now)
                pool = pool_of(cluster, endpoint.key)
                send = Send(
                    endpoint.address,
                    endpoint.port,
                    pool,
                    event.attempts,
                    timeout_s,
                    cluster.connect_timeout_s,
                    (*message.headers, ("x-envoy-attempt-count", str(event.attempts))),
                    message.edit,
                    message.target,
                    cluster.name,
                    message.server_name(pool.tls),
                    replay_bytes=rule.replay_bytes,
                    identity=identity,
                )
                audience = cluster.audiences.get(endpoint.key)
                outcome = yield proved(send, audience, head, prove)
                if (
                    isinstance(outcome, Failure)
                    and outcome.is_stale
                    and may_repeat(head, rule.is_safe, outcome)
                ):
                    left_s = None if timeout_s is None else timeout_s - (monotonic() - sent_at)
                    if left_s is None or left_s > 0:
                        send = replace(send, timeout_s=left_s, is_fresh=True)
                        outcome = yield proved(send, audience, head, prove)
                if not isinstance(outcome, Answer | Failure):
                    raise TypeError(f"a Send is followed by an Answer or a Failure, not {outcome}")
                answer = outcome
                tried_now.duration_s = monotonic() - sent_at
                while mirrors and head.is_kept:
                    yield mirrors.pop(0)
                if isinstance(answer, Answer):
                    tried_now.status = answer.status
                    if cluster.outlier is not None:
                        status = status_of(answer, to_grpc=is_grpc(head))
                        state.answered(cluster, endpoint.key, status, monotonic())
                else:
                    tried_now.failure, tried_now.detail = answer.kind.value, answer.detail
                    tried_now.is_over_try = limit == "try" and answer.kind is FailureKind.TIMEOUT
                if isinstance(answer, Failure) and (
                    answer.kind is not FailureKind.TIMEOUT or limit in ("try", "total")
                ):
                    # A time-out of the caller's own says nothing about the endpoint.
                    at = monotonic()
                    state.failed(
                        cluster, endpoint.key, at, is_connected=answer.kind not in UNCONNECTED
                    )

            # Classify: has the call's time run out, and does policy want another try?
            timed_out = isinstance(answer, Failure) and answer.kind is FailureKind.TIMEOUT
            if timed_out and limit in ("caller", "none"):
                yield Raise(timed_out=True)  # to the mesh the caller is gone, as to a sidecar
                return
            is_last = timed_out and limit == "total"
            again = False
            if held_retry is not None:
                held_retry.release()
                held_retry = None
            if (
                not is_last
                and wants_retry(retry, answer)
                and may_repeat(head, rule.is_safe, answer)
            ):
                if event.attempts <= retry.retries:
                    held_retry = state.retry(cluster, rule.budget)
                    if held_retry is None:  # the last answer is the caller's
                        flags.append(Flag.UPSTREAM_OVERFLOW)
                    again = held_retry is not None
                elif retry.retries:
                    flags.append(Flag.RETRY_LIMIT)

            if again:
                if lease is not None:
                    lease.release()
                delay_s = backoff_s(retry, event.attempts, rng)
                _, left_s = _limit(deadline_at, caller_at, monotonic())
                if left_s is not None and left_s <= delay_s:
                    delay_s, may_send = max(0.0, left_s), False
                yield Sleep(delay_s)
                continue

            if isinstance(answer, Failure):
                code, body, flag = failure_reply(answer, event.attempts)
                flags.append(flag)
                yield reply(code, body)
                return

            # Deliver; the lease is held until the body has ended.
            event.status, event.response = answer.status, answer.headers
            body_s = None if deadline_at is None else max(0.0, deadline_at - monotonic())
            changed = None
            if goal.response is not None:
                changed = response_edit(goal.response, sent(message, head))
            if cookie is not None:
                changed = changed or MessageEdit(frozenset(), ())
                changed.append += (("set-cookie", cookie),)
            if changed is not None:
                event.response = changed.over(answer.headers)
            ended = yield Deliver(info(), body_s, changed)
            is_over = True
            if isinstance(ended, Ended):
                event.complete, event.received_bytes = ended.failure is None, ended.received_bytes
                if ended.failure is not None:
                    flags.append(BODY_FLAG[ended.failure])
                    state.failed(cluster, endpoint.key, monotonic())
            return
    finally:
        if lease is not None:
            lease.release()
        if held_retry is not None:
            held_retry.release()
        if not is_over:
            flags.append(Flag.DOWNSTREAM_CLOSED)
        event.flags = flags_text(flags)
        event.duration_s = monotonic() - started
        sink(event)


def _limit(
    deadline_at: float | None, caller_at: float | None, now: float
) -> tuple[str, float | None]:
    """Return the nearer of policy's and the caller's deadline, and the seconds left to it."""
    if caller_at is not None and (deadline_at is None or caller_at < deadline_at):
        return "caller", caller_at - now
    if deadline_at is not None:
        return "total", deadline_at - now
    return "none", None


def _draw(route: Route, rng: Random) -> Target | None:
    """Draw one of a route's weighted destinations. Source: Envoy, `weighted_clusters`."""
    targets = route.targets
    if len(targets) == 1:
        return targets[0]
    if not targets:
        return None
    drawn = rng.random() * targets[-1].upto
    for target in targets:
        if drawn < target.upto:
            return target
    return targets[-1]
