"""Choosing among endpoints, with chance and load handed in."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from random import Random

import pytest
from clusters import cluster, endpoints

from meshware.outbound.balance import Schedule, pick_least_loaded
from meshware.outbound.ledger import ClusterState, Ledger
from meshware.policy.clusters import Balance


def picks(balance: Balance, *weights: int, calls: int, seed: int = 1) -> Counter[str]:
    """Return how often each endpoint was chosen, nothing in flight."""
    state, rng = ClusterState(), Random(seed)
    counted: Counter[str] = Counter()
    for _ in range(calls):
        taken = state.take(cluster(balance, *weights), (), rng, 0.0)
        assert taken is not None
        counted[taken[0].key] += 1
        taken[1].release()
    return counted


def test_round_robin_takes_turns():
    """Equal weights: each endpoint once in a round, from a random start."""
    assert picks("ROUND_ROBIN", 1, 1, 1, calls=9) == {"a": 3, "b": 3, "c": 3}


@pytest.mark.parametrize("balance", ["ROUND_ROBIN", "LEAST_REQUEST"])
def test_unequal_weights_without_load_are_an_exact_round(balance):
    """Observed with Envoy 1.40: least request over unequal weights and no load is weighted RR."""
    assert picks(balance, 5, 2, 1, calls=80) == {"a": 50, "b": 20, "c": 10}


def test_random_does_not_look_at_weights():
    """Observed with Envoy 1.40: RANDOM ignores endpoint weights."""
    counted = picks("RANDOM", 100, 1, calls=2000)
    assert abs(counted["a"] - 1000) < 4 * (2000 * 0.25) ** 0.5


def test_the_less_loaded_of_two_wins():
    """Power of two choices: an endpoint with much in flight is met only when drawn twice."""
    three = endpoints(1, 1, 1)
    rng = Random(3)
    chosen = Counter(pick_least_loaded(three, {"a": 9}, rng).key for _ in range(9000))
    assert abs(chosen["a"] - 1000) < 4 * (9000 * (1 / 9) * (8 / 9)) ** 0.5


def test_a_schedule_passes_over_what_was_tried_and_keeps_its_turn():
    """A retry takes the next; the one passed over is not punished for it."""
    schedule = Schedule(endpoints(1, 1), Random(0))
    first = schedule.next((), None)
    other = schedule.next({first.key}, None)
    assert other.key != first.key
    assert schedule.next({"a", "b"}, None).key in "ab"


@pytest.mark.parametrize("weights", [(1, 1), (3, 1)], ids=str)
@pytest.mark.parametrize("balance", ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"])
def test_when_all_were_tried_the_last_one_is_not_taken_again(balance, weights):
    """Whoever else takes turns meanwhile: what has failed just now fails most likely again."""
    state, rng, group = ClusterState(), Random(4), cluster(balance, *weights)
    for last, other in ("ab", "ba") * 20:
        taken = state.take(group, (other, last), rng, 0.0)
        assert taken is not None and taken != "overflow"
        assert taken[0].key == other
        state.take(group, (), rng, 0.0)  # somebody else's call


def test_an_empty_cluster_has_no_endpoint():
    """There is nothing to fall back on: never an endpoint outside of the set."""
    assert ClusterState().take(cluster("ROUND_ROBIN"), (), Random(0), 0.0) is None


def test_releasing_twice_counts_once():
    """A driver may be over-careful; the numbers stay right."""
    state = ClusterState()
    taken = state.take(cluster("LEAST_REQUEST", 1, 1), (), Random(0), 0.0)
    assert taken is not None
    assert sum(state.active().values()) == 1
    taken[1].release()
    taken[1].release()
    assert state.active() == {}


def test_a_lease_collected_while_the_ledger_is_held_does_not_deadlock():
    """A generator in a cycle may be collected on the thread that holds the lock."""
    ledger = Ledger()
    state = ledger.cluster("c")
    taken = state.take(cluster("LEAST_REQUEST", 1, 1), (), Random(0), 0.0)
    assert taken is not None
    lease = taken[1]

    def body():
        try:
            yield
        finally:
            lease.release()

    holder: dict[str, object] = {}
    flow = body()
    next(flow)
    holder["me"], holder["flow"] = holder, flow
    del flow
    with state._lock:
        del holder
        gc.collect()
    assert ledger.in_flight() == {}


def test_a_state_is_kept_while_something_is_in_flight():
    """Swaps drop what no policy names, but never a count that is not zero."""
    ledger = Ledger()
    taken = ledger.cluster("gone").take(cluster("LEAST_REQUEST", 1), (), Random(0), 0.0)
    assert taken is not None
    ledger.retain([])
    assert ledger.in_flight() == {"gone": {"a": 1}}
    taken[1].release()
    ledger.retain([])
    assert ledger.in_flight() == {}


def test_many_threads_leave_the_ledger_at_zero():
    """32 threads, 200 calls each: every lease comes back."""
    ledger, group = Ledger(), cluster("LEAST_REQUEST", 1, 2, 3)

    def work(seed: int) -> None:
        rng = Random(seed)
        for _ in range(200):
            taken = ledger.cluster("c").take(group, (), rng, 0.0)
            assert taken is not None
            taken[1].release()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.in_flight() == {}
