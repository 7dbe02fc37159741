"""Faults on purpose: drawn for each call, before anything is sent."""

from __future__ import annotations

import pytest
from outbound_world import World, answered, finish

from meshware.call import Deliver, Raise, Reply, Send, Sleep


def faulty(fault: str, more: str = "") -> str:
    """A VirtualService for `orders` with a fault."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - route: [{{destination: {{host: orders}}}}]
      fault: {fault}
      {more}
"""


DELAY = "{delay: {fixedDelay: 3s, percentage: {value: 100}}}"
ABORT = "{abort: {httpStatus: 418, percentage: {value: 100}}}"
BOTH = "{delay: {fixedDelay: 3s, percentage: {value: 100}}, abort: {httpStatus: 503, percentage: {value: 100}}}"  # noqa: E501


def test_a_delay_comes_before_the_first_attempt():
    """And says so in the flags of whatever comes of the call."""
    world = World(faulty(DELAY))
    flow = world.exchange()
    assert next(flow) == Sleep(3.0)
    assert isinstance(flow.send(None), Send)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver)
    assert deliver.info.flags == "DI"
    assert deliver.info.attempts == 1


def test_a_delay_is_not_the_meshs_own_time():
    """Only what it did itself is."""
    world = World(faulty(DELAY))
    flow = world.exchange()
    next(flow)
    world.clock.advance(3.0)
    flow.send(None)
    flow.send(answered(200))
    finish(flow)
    [event] = world.events
    assert (event.duration_s, event.decided_s) == (3.0, 0.0)


def test_an_abort_reaches_nobody():
    """Neither an endpoint nor a retry: the fault filter stands before the router."""
    world = World(faulty(ABORT, "retries: {attempts: 3, retryOn: 5xx}"))
    reply = next(world.exchange())
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (418, b"fault filter abort")
    assert reply.headers == (("content-type", "text/plain"),)
    assert (reply.info.flags, reply.info.attempts, reply.info.endpoint) == ("FI", 0, None)
    assert reply.info.route == "0"


def test_both_faults_may_meet_one_call():
    """The delay first; the flags name both, in Envoy's order."""
    world = World(faulty(BOTH))
    flow = world.exchange()
    assert next(flow) == Sleep(3.0)
    reply = flow.send(None)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags) == (503, "DI,FI")


def test_the_time_of_the_call_starts_behind_the_delay():
    """The router's timer starts when the fault filter lets go."""
    world = World(faulty(DELAY, "timeout: 2s"))
    flow = world.exchange()
    next(flow)
    world.clock.advance(3.0)
    send = flow.send(None)
    assert isinstance(send, Send)
    assert send.timeout_s == pytest.approx(2.0)


def test_the_callers_own_time_runs_through_the_delay():
    """To a caller who waits two seconds a delay of three is a time-out."""
    world = World(faulty(DELAY))
    flow = world.exchange(wait_s=2.0)
    assert next(flow) == Sleep(2.0)
    world.clock.advance(2.0)
    assert flow.send(None) == Raise(timed_out=True)
    flow.close()
    assert world.events[0].flags == "DI,DC"


@pytest.mark.parametrize(
    ("share", "drawn", "happens"),
    [
        ("{value: 10}", 0.0999, True),
        ("{value: 10}", 0.1001, False),
        ("{value: 0.0001}", 0.0000009, True),
        ("{value: 0.0001}", 0.0000011, False),
        ("{value: 0.00009}", 0.0, False),
        ("{value: 0}", 0.0, False),
        ("{}", 0.0, False),
    ],
)
def test_a_share_counts_in_millionths(share, drawn, happens):
    """Envoy's finest share is a ten-thousandth of a percent; less is never."""
    world = World(faulty(f"{{abort: {{httpStatus: 500, percentage: {share}}}}}"), rng=[drawn] * 20)
    assert isinstance(next(world.exchange()), Reply) is happens


def test_no_percentage_is_never():
    """As Istio has it; `check` says so."""
    world = World(faulty("{delay: {fixedDelay: 3s}, abort: {httpStatus: 500}}"))
    assert isinstance(next(world.exchange()), Send)


@pytest.mark.parametrize(("percent", "first"), [(100, Sleep), (0, Send)])
def test_the_old_percent_counts_where_it_stands_alone(percent, first):
    """Deprecated, and still read by Istio."""
    world = World(faulty(f"{{delay: {{fixedDelay: 1s, percent: {percent}}}}}"))
    assert isinstance(next(world.exchange()), first)


def test_a_grpc_status_is_told_as_grpc():
    """To a gRPC caller in headers; to any other it is a 200, as with Envoy."""
    world = World(faulty("{abort: {grpcStatus: RESOURCE_EXHAUSTED, percentage: {value: 100}}}"))
    reply = next(world.exchange("POST", headers={"content-type": "application/grpc"}))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (200, b"")
    assert dict(reply.headers)["grpc-status"] == "8"
    assert dict(reply.headers)["grpc-message"] == "fault filter abort"
    plain = next(world.exchange())
    assert isinstance(plain, Reply)
    assert (plain.status, plain.body) == (200, b"fault filter abort")


def test_a_fault_holds_no_endpoint():
    """A call that is delayed and given up leaves nothing behind."""
    world = World(faulty(DELAY))
    flow = world.exchange()
    next(flow)
    assert world.nothing_in_flight()
    flow.close()
    assert world.events[0].status == 0
