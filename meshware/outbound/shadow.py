"""The exchange of a mirrored call: one attempt, whose answer nobody looks at.

It goes through its cluster like any other call: it takes an endpoint, counts for and against it,
obeys the cluster's limits, and ends in one event of its own. It is never tried again.

Source: Istio, `mirror` and `mirrors`; Envoy, `request_mirror_policies`.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from meshware.call import (
    Answer,
    ClientIdentity,
    Deliver,
    Ended,
    ExchangeInfo,
    Failure,
    Flag,
    Raise,
    RequestHead,
    Send,
)
from meshware.call import flags_text as text_of
from meshware.events import EventSink, OutboundEvent
from meshware.outbound.ledger import OVERFLOW, ClusterState, Lease, Taken
from meshware.outbound.message import Message
from meshware.outbound.outlier import status_of
from meshware.outbound.proof import Prove, pool_of, proved
from meshware.outbound.queue import LATE, Place, turn
from meshware.outbound.replies import BODY_FLAG
from meshware.outbound.retry import UNCONNECTED

if TYPE_CHECKING:
    from meshware.outbound.exchange import Exchange
    from meshware.policy.clusters import Cluster

__all__ = ["shadow"]

_REFUSED = {
    None: Flag.NO_HEALTHY_UPSTREAM,
    OVERFLOW: Flag.UPSTREAM_OVERFLOW,
    LATE: Flag.UPSTREAM_TIMEOUT,
}


def shadow(
    event: OutboundEvent,
    message: Message,
    cluster: Cluster,
    state: ClusterState,
    *,
    head: RequestHead,
    timeout_s: float | None,
    monotonic: Callable[[], float],
    rng: Random,
    sink: EventSink,
    identity: ClientIdentity | None = None,
    prove: Prove | None = None,
) -> Exchange:
    """Return the exchange for a copy of a call.

    Args:
        event: about the copy, to be filled in.
        message: what goes out.
        cluster: where to.
        state: the cluster's.
        head: the call that it is a copy of.
        timeout_s: of the route, counted anew; None: no limit.
        monotonic: seconds.
        rng: the source of chance.
        sink: takes the event.
        identity: proves who we are.
        prove: makes the headers of token identity.
    """
    started = monotonic()
    lease: Lease | None = None
    flags: list[Flag] = []
    is_over = False
    try:
        until = None if timeout_s is None else started + timeout_s

        def take(place: Place | None) -> Taken | Place:
            return state.take(cluster, (), rng, monotonic(), place=place)

        taken = take(None)
        if isinstance(taken, Place):
            taken = yield from turn(taken, take, state.leave, until, monotonic)
        if not isinstance(taken, tuple):
            flags.append(_REFUSED[taken])
            event.status, is_over = 503, True
            yield Raise(timed_out=False)
            return
        endpoint, lease = taken
        event.attempts, event.endpoint = 1, endpoint.key
        pool = pool_of(cluster, endpoint.key)
        send = Send(
            endpoint.address,
            endpoint.port,
            pool,
            1,
            None if until is None else until - monotonic(),
            cluster.connect_timeout_s,
            (*message.headers, ("x-envoy-attempt-count", "1")),
            message.edit,
            message.target,
            cluster.name,
            message.server_name(pool.tls),
            identity=identity,
        )
        audience = cluster.audiences.get(endpoint.key)
        outcome = yield proved(send, audience, head, prove)
        if isinstance(outcome, Failure):
            at = monotonic()
            state.failed(cluster, endpoint.key, at, is_connected=outcome.kind not in UNCONNECTED)
            flags.append(BODY_FLAG[outcome.kind])
            event.status, is_over = 503, True
            yield Raise(timed_out=False)
            return
        if not isinstance(outcome, Answer):
            raise TypeError(f"a Send is followed by an Answer or a Failure, not {outcome}")
        event.status, event.response = outcome.status, outcome.headers
        status = status_of(outcome, to_grpc=True)  # what the answer says of itself is enough
        state.answered(cluster, endpoint.key, status, monotonic())
        left_s = None if until is None else max(0.0, until - monotonic())
        info = ExchangeInfo("-", 1, endpoint.key, event.route)
        ended = yield Deliver(info, left_s)
        is_over = True
        if isinstance(ended, Ended):
            event.complete, event.received_bytes = ended.failure is None, ended.received_bytes
            if ended.failure is not None:
                flags.append(BODY_FLAG[ended.failure])
                state.failed(cluster, endpoint.key, monotonic())
    finally:
        if lease is not None:
            lease.release()
        if not is_over:
            flags.append(Flag.DOWNSTREAM_CLOSED)
        event.flags = text_of(flags)
        event.duration_s = monotonic() - started
        sink(event)
