"""A proof is good for one call: in every thread, at every time, and when memory is full."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from meshware.identity.replays import ReplayCache

NOW = 1_800_000_000.0


def test_the_second_use_is_seen():
    """For as long as anybody would take the proof."""
    cache = ReplayCache()
    assert not cache.seen("a", "key", NOW + 40, NOW)
    for later in (0, 1, 39.9, 40):
        assert cache.seen("a", "key", NOW + 40, NOW + later)


def test_ids_are_a_keys_own():
    """Another caller may have drawn the same one, or have chosen it to shut the first out."""
    cache = ReplayCache()
    assert not cache.seen("a", "key", NOW + 40, NOW)
    assert not cache.seen("a", "other", NOW + 40, NOW)
    assert not cache.seen("b", "key", NOW + 40, NOW)


def test_an_id_that_is_used_again_with_another_end_is_seen():
    """A key's owner who repeats ids gets no second call out of one either."""
    cache = ReplayCache()
    assert not cache.seen("a", "key", NOW + 40, NOW)
    assert cache.seen("a", "key", NOW + 60, NOW)


def test_what_has_ended_is_forgotten():
    """So that memory is bounded by the calls of a minute."""
    cache = ReplayCache()
    for second in range(1000):
        for number in range(10):
            assert not cache.seen(f"{second}.{number}", "key", NOW + second + 40, NOW + second)
        assert len(cache) <= 10 * (40 + 16 + 1)
    assert not cache.seen("last", "key", NOW + 5000, NOW + 4990)
    assert len(cache) == 1
    assert cache._by_key == {"key": 1}


@pytest.mark.parametrize("keys", [2, 7])
def test_when_full_a_new_proof_is_refused_and_no_old_one_forgotten(keys):
    """Fails closed: forgetting would let a caller of many calls replay any of them."""
    cache = ReplayCache(most=100)
    taken = [
        number
        for number in range(150)
        if not cache.seen(str(number), f"key{number % keys}", NOW + 40, NOW)
    ]
    assert len(taken) == len(cache) == 100
    assert all(cache.seen(str(number), f"key{number % keys}", NOW + 40, NOW) for number in taken)
    assert not cache.seen("later", "key0", NOW + 140, NOW + 100)


def test_a_caller_who_floods_shuts_out_itself():
    """No key may hold more than half of it."""
    cache = ReplayCache(most=100)
    taken = sum(not cache.seen(str(number), "flood", NOW + 40, NOW) for number in range(1000))
    assert taken == 50
    assert not cache.seen("a", "other", NOW + 40, NOW)


def test_a_clock_that_goes_back_opens_no_door():
    """What is forgotten stays refused, since nobody knows any more what it was."""
    cache = ReplayCache()
    assert not cache.seen("a", "key", NOW + 40, NOW)
    assert not cache.seen("b", "key", NOW + 1040, NOW + 1000)
    assert cache.seen("a", "key", NOW + 40, NOW)
    assert not cache.seen("c", "key", NOW + 1041, NOW)


def test_of_many_threads_one_may_use_a_proof():
    """32 threads, the same 500 proofs: each is used once."""
    cache = ReplayCache()
    barrier = threading.Barrier(32)

    def use(_: int) -> int:
        barrier.wait()
        return sum(not cache.seen(str(number), "key", NOW + 40, NOW) for number in range(500))

    with ThreadPoolExecutor(32) as pool:
        used = list(pool.map(use, range(32)))
    assert sum(used) == 500 == len(cache)


def test_a_child_process_gets_a_lock_of_its_own():
    """And keeps what the parent has seen."""
    cache = ReplayCache()
    cache.seen("a", "key", NOW + 40, NOW)
    cache._lock.acquire()  # another thread of the parent, in the middle of it
    cache.renew()
    assert cache.seen("a", "key", NOW + 40, NOW)
