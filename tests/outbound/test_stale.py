"""A pooled connection that the server was just closing: another, for what may be repeated."""

from __future__ import annotations

import pytest
from outbound_world import RESET, answered, finish, route

from meshware.call import Failure, FailureKind, Reply, Send

STALE = Failure(FailureKind.TERMINATED, sent=True, is_stale=True)
NO_RETRIES = route(
    """
    - route: [{destination: {host: orders}}]
      timeout: 10s
      retries: {attempts: 0}
"""
)


def test_a_connection_that_went_stale_is_replaced_within_the_attempt(make_world):
    """The same endpoint, the same number, what is left of the time; policy is not asked."""
    world = make_world(NO_RETRIES)
    flow = world.exchange()
    send = next(flow)
    assert not send.is_fresh
    world.clock.advance(4)
    again = flow.send(STALE)
    assert (again.address, again.attempt, again.headers) == (send.address, 1, send.headers)
    assert (again.is_fresh, again.timeout_s) == (True, 6)
    deliver = flow.send(answered(200))
    assert (deliver.info.attempts, deliver.info.flags) == (1, "-")
    finish(flow)
    assert world.nothing_in_flight()


def test_a_connection_is_replaced_once(make_world):
    """A fresh one that is lost too is a failure, whatever the driver says of it."""
    flow = make_world(NO_RETRIES).exchange()
    next(flow)
    assert flow.send(STALE).is_fresh
    reply = flow.send(STALE)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags, reply.info.attempts) == (503, "UC", 1)


@pytest.mark.parametrize(
    ("method", "replayable", "failure", "again"),
    [
        ("POST", True, STALE, False),
        ("PUT", False, STALE, False),
        ("PUT", True, STALE, True),
        ("POST", False, Failure(FailureKind.RESET, sent=False, is_stale=True), True),
        ("GET", True, RESET, False),
    ],
    ids=["POST", "a body that is gone", "PUT", "nothing was sent", "a fresh connection"],
)
def test_only_what_may_be_repeated_is_sent_over_another(
    make_world, method, replayable, failure, again
):
    """The server may have acted on the request before it closed."""
    flow = make_world(NO_RETRIES).exchange(method, replayable=replayable)
    next(flow)
    assert isinstance(flow.send(failure), Send) is again


def test_nothing_goes_over_a_fresh_connection_after_the_total_timeout(make_world):
    """However the connection was lost."""
    world = make_world(NO_RETRIES)
    flow = world.exchange()
    next(flow)
    world.clock.advance(10)
    assert isinstance(flow.send(STALE), Reply)
