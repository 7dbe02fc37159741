"""Waiting for a connection: in order, bounded, and never for one that nobody will give back."""

from __future__ import annotations

import gc
import json
import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbound_world import ONLY_SERVICE, World, answered

from meshware.call import Deliver, Ended, Raise, Reply, Send, Wait
from meshware.outbound.queue import Queue


def world(most: int, pending: int | None = None, route: str = "", endpoints: int = 1) -> World:
    """A service with so many connections."""
    pool: dict = {"tcp": {"maxConnections": most}}
    if pending is not None:
        pool["http"] = {"http1MaxPendingRequests": pending}
    rule = f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec:
  host: orders
  trafficPolicy: {json.dumps({"connectionPool": pool})}
  subsets: [{{name: v1, labels: {{version: v1}}}}]
"""
    destination = "{host: orders, subset: v1}" if endpoints == 1 else "{host: orders}"
    made = World()
    made.mesh.apply(
        [
            ONLY_SERVICE,
            rule,
            f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http: [{{route: [{{destination: {destination}}}], {route}}}]
""",
        ]
    )
    return made


def begin(made: World, **call):
    """Start a call, and return it with its first action."""
    flow = made.exchange(**call)
    return flow, next(flow)


def end(flow) -> None:
    """End a call that is under way."""
    assert isinstance(flow.send(answered(200)), Deliver)
    with pytest.raises(StopIteration):
        flow.send(Ended())


def test_one_too_many_waits_until_a_connection_is_free():
    """In the order in which they came."""
    made = world(1)
    first, sent = begin(made)
    assert isinstance(sent, Send)
    waiting = [begin(made) for _ in range(3)]
    assert all(isinstance(action, Wait) for _, action in waiting)
    assert [action.waiter.is_woken for _, action in waiting] == [False] * 3
    end(first)
    for index, (flow, action) in enumerate(waiting):
        woken = [a.waiter.is_woken for _, a in waiting]
        assert woken == [n <= index for n in range(3)]
        assert action.timeout_s is None
        assert isinstance(flow.send(None), Send)
        end(flow)
    assert made.nothing_in_flight()


def test_waiting_for_a_connection_is_not_the_meshs_own_time():
    """Policy's limit is."""
    made = world(1)
    first, _ = begin(made)
    second, _ = begin(made)
    made.clock.advance(2.0)
    end(first)
    assert isinstance(second.send(None), Send)
    end(second)
    assert [event.decided_s for event in made.events] == [0.0, 0.0]
    assert made.events[-1].duration_s == 2.0


def test_nobody_who_comes_later_gets_ahead_of_one_who_was_called():
    """The place is kept until its owner is here."""
    made = world(1)
    first, _ = begin(made)
    second, wait = begin(made)
    end(first)
    assert wait.waiter.is_woken
    _, action = begin(made)
    assert isinstance(action, Wait)
    assert isinstance(second.send(None), Send)


def test_more_may_not_wait_than_policy_says():
    """Envoy's overflow."""
    made = world(1, pending=1)
    first, _ = begin(made)
    second, _ = begin(made)
    _, reply = begin(made)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags, reply.info.attempts) == (503, "UO", 0)
    end(first)
    _, action = begin(made)
    assert isinstance(action, Wait)  # the one who was called waits no more
    assert isinstance(second.send(None), Send)


def test_an_endpoint_without_a_connection_may_always_have_one():
    """Envoy: or a request could wait for what never comes."""
    made = world(1, endpoints=2)
    begun = [begin(made) for _ in range(8)]
    assert sum(isinstance(action, Send) for _, action in begun) == 2


@pytest.mark.parametrize(
    ("route", "wait_s", "expected"),
    [
        ("timeout: 2s", None, "504 UT"),
        ("retries: {attempts: 1, perTryTimeout: 2s}", None, "504 UT"),
        ("timeout: 5s", 2.0, "raised"),
    ],
)
def test_waiting_is_bounded_by_whatever_bounds_the_call(route, wait_s, expected):
    """The time-out counts from the call's start, and who gives up makes room."""
    made = world(1, route=route or "name: r")
    first, _ = begin(made)
    flow, action = begin(made, wait_s=wait_s)
    assert isinstance(action, Wait) and action.timeout_s == 2.0
    third, later = begin(made)
    made.clock.advance(2.0)
    ended = flow.send(None)
    if expected == "raised":
        assert isinstance(ended, Raise) and ended.timed_out
    else:
        assert isinstance(ended, Reply)
        assert f"{ended.status} {ended.info.flags}" == expected
    flow.close()
    first.close()
    assert later.waiter.is_woken
    third.close()
    assert made.nothing_in_flight()
    assert isinstance(begin(made)[1], Send)


def test_the_attempt_has_what_waiting_left_over():
    """Of the total time-out."""
    made = world(1, route="timeout: 3s")
    first, _ = begin(made)
    flow, _ = begin(made)
    made.clock.advance(1.0)
    end(first)
    sent = flow.send(None)
    assert isinstance(sent, Send) and sent.timeout_s == pytest.approx(2.0)


@pytest.mark.parametrize("is_called", [False, True])
def test_one_who_leaves_passes_the_turn_on(is_called):
    """Cancelled before it was called, or between that and coming for its connection."""
    made = world(1)
    first, _ = begin(made)
    second, _ = begin(made)
    third, wait = begin(made)
    if is_called:
        end(first)
        second.close()
    else:
        second.close()
        end(first)
    assert wait.waiter.is_woken
    assert isinstance(third.send(None), Send)
    end(third)
    assert isinstance(begin(made)[1], Send)


def test_a_lease_that_is_collected_wakes_who_waits():
    """A response that nobody closed gives its connection back with the garbage."""
    made = world(1)
    holder = [begin(made)[0]]
    holder.append(holder)  # a cycle: only the collector finds it
    flow, wait = begin(made)
    del holder
    gc.collect()
    assert wait.waiter.is_woken
    assert isinstance(flow.send(None), Send)


@given(st.lists(st.sampled_from(["enter", "call", "leave", "come"]), max_size=60))
@pytest.mark.hypothesis
def test_numbers_are_those_of_who_really_waits(steps):
    """Whatever happens in whatever order, folded or not."""
    queue = Queue()
    waiting: deque = deque()
    called: deque = deque()
    for step in steps:
        if step == "enter":
            waiting.append(queue.enter(is_again=False))
        elif step == "call":
            queue.call()
        elif step == "leave" and (waiting or called):
            place = (called or waiting).popleft()
            queue.leave(place)
        elif step == "come" and called:
            called.popleft()
            queue.fold()
            queue.come()
        while waiting and waiting[0].is_woken:
            called.append(waiting.popleft())
        queue.fold()
        assert (queue.length, queue.reserved) == (len(waiting), len(called))


def test_threads_lose_no_turn():
    """Sixteen of them through two connections; each call is made, none waits for ever."""
    made = world(2)
    made.clock.advance(0)
    done: list[int] = []
    peak, running, lock = [0], [0], threading.Lock()

    def work() -> None:
        for _ in range(200):
            flow = made.exchange()
            action = next(flow)
            while isinstance(action, Wait):
                woken = threading.Event()
                action.waiter.on_wake(woken.set)
                assert woken.wait(20)
                action = flow.send(None)
            assert isinstance(action, Send)
            with lock:
                running[0] += 1
                peak[0] = max(peak[0], running[0])
            with lock:
                running[0] -= 1
            end(flow)
            done.append(1)

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == 16 * 200
    assert peak[0] <= 2
    assert made.nothing_in_flight()


def test_one_who_comes_and_gets_nothing_passes_the_turn_on():
    """Else everybody behind it would wait for a connection that nobody gives back."""
    made = world(1)
    ejecting = {"consecutive5xxErrors": 1, "maxEjectionPercent": 100}
    policy = {"connectionPool": {"tcp": {"maxConnections": 1}}, "outlierDetection": ejecting}
    made.mesh.apply(
        [
            ONLY_SERVICE.replace("    - {address: 10.0.0.2, labels: {version: v2}}\n", ""),
            f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec: {json.dumps({"host": "orders", "trafficPolicy": policy})}
""",
        ]
    )
    first, _ = begin(made)
    waiting = [begin(made) for _ in range(3)]
    deliver = first.send(answered(500))  # which ejects the only endpoint
    assert isinstance(deliver, Deliver)
    first.close()
    for flow, action in waiting:
        assert action.waiter.is_woken
        reply = flow.send(None)
        assert isinstance(reply, Reply)
        assert (reply.status, reply.info.flags) == (503, "UH")
