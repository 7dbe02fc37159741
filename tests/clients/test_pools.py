"""Pools of connections: which are kept, which are closed and when."""

from __future__ import annotations

import threading
from collections.abc import Hashable

from meshware.clients.pools import Pools


class Inner:
    def __init__(self, key: Hashable) -> None:
        self.key = key


def keys(inners) -> list[Hashable]:
    return [inner.key for inner in inners]


def test_a_pool_is_made_once_and_kept():
    """However many calls use it, one after another or at once."""
    pools = Pools(Inner)
    first, second = pools.take("a"), pools.take("a")
    assert first is second
    first.give_back()
    assert not second.is_idle
    second.give_back()
    assert second.is_idle
    assert pools.surplus() == []


def test_the_longest_unused_are_too_many():
    """Those in use stay, whatever the limit."""
    pools = Pools(Inner, limit=2)
    used = pools.take("used")
    for key in ("a", "b", "a", "c"):
        pools.take(key).give_back()
    assert keys(pools.surplus()) == ["b", "a"]
    assert pools.take("used") is used


def test_a_user_with_another_version_retires_the_pools_of_its_last():
    """All of that version, each when no call uses it any more."""
    pools = Pools(Inner)
    old = [pools.take((1, host), user="orders", version=1) for host in "ab"]
    other = pools.take((0, "x"), user="stock", version=0)
    old[0].give_back()
    other.give_back()
    pools.take((2, "a"), user="orders", version=2).give_back()
    assert keys(pools.surplus()) == [(1, "a")]
    assert pools.surplus() == []
    old[1].give_back()
    assert keys(pools.surplus()) == [(1, "b")]
    assert keys(pools.take_out_all()) == [(0, "x"), (2, "a")]


def test_a_version_that_another_user_has_stays():
    """Two subsets of one rule share their pool."""
    pools = Pools(Inner)
    for user in ("v1", "v2"):
        pools.take(1, user=user, version=1).give_back()
    pools.take(2, user="v1", version=2).give_back()
    assert pools.surplus() == []
    pools.take(2, user="v2", version=2).give_back()
    assert keys(pools.surplus()) == [1]


def test_a_call_with_the_policy_of_before_brings_its_pool_back_for_itself():
    """The next call of the new policy retires it again; none is left behind."""
    pools = Pools(Inner)
    for version in (1, 2, 1, 2):
        pools.take(version, user="orders", version=version).give_back()
    assert keys(pools.surplus()) == [1, 2, 1]
    assert keys(pools.take_out_all()) == [2]


def test_what_is_retired_and_in_use_is_closed_at_the_end_too():
    """Closing the client closes all of it."""
    pools = Pools(Inner)
    pools.take(1, user="orders", version=1)
    pools.take(2, user="orders", version=2)
    assert keys(pools.take_out_all()) == [2, 1]
    assert pools.take_out_all() == []


def test_changing_versions_in_many_threads_loses_no_pool():
    """Each that was made is taken out once, and only when idle."""
    made: list[Inner] = []
    closed: list[Inner] = []

    def make(key: Hashable) -> Inner:
        made.append(Inner(key))
        return made[-1]

    pools = Pools(make)

    def work(number: int) -> None:
        for turn in range(300):
            version = (turn + number) % 3
            pools.take(version, user=number % 2, version=version).give_back()
            closed.extend(pools.surplus())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closed.extend(pools.take_out_all())
    assert sorted(map(id, closed)) == sorted(map(id, made))
