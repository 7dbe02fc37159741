"""Rings and Maglev tables: fair shares, and few keys that move."""

from __future__ import annotations

from collections import Counter

import pytest

from meshware.policy.clusters import Endpoint
from meshware.policy.hash_rule import HashRule
from meshware.policy.hash_table import build_table, xxh64

RING, MAGLEV = HashRule(), HashRule(is_maglev=True, size=65537)
KEYS = [xxh64(f"user-{number}".encode()) for number in range(4000)]


def endpoints(count: int, *weights: int) -> list[Endpoint]:
    """So many endpoints, of these weights or of one each."""
    return [
        Endpoint(f"10.0.0.{n}", 80, weights[n] if weights else 1, f"10.0.0.{n}:80")
        for n in range(count)
    ]


def shares(rule: HashRule, among: list[Endpoint]) -> dict[str, float]:
    """Which share of the keys each endpoint has."""
    table = build_table(rule, among)
    counted = Counter(table.find(key, ()).key for key in KEYS)
    return {endpoint.key: counted[endpoint.key] / len(KEYS) for endpoint in among}


@pytest.mark.parametrize(
    ("data", "seed", "expected"),
    [
        (b"", 0, 0xEF46DB3751D8E999),
        (b"", 1, 0xD5AFBA1336A3BE4B),
        (b"a", 0, 0xD24EC4F1A98C6E5B),
        (b"abc", 0, 0x44BC2CF5AD770999),
        (
            b"Call me Ishmael. Some years ago--never mind how long precisely-",
            0,
            0x02A2E85470D6FD96,
        ),
    ],
)
def test_the_hash_is_xxhash(data, seed, expected):
    """By its authors' own examples: the same key goes to the same endpoint as behind Envoy."""
    assert xxh64(data, seed) == expected


@pytest.mark.parametrize(("rule", "slack"), [(RING, 0.45), (MAGLEV, 0.2)], ids=["ring", "maglev"])
def test_keys_are_shared_by_weight(rule, slack):
    """Maglev nearly exactly, a ring of a thousand points roughly."""
    for each in shares(rule, endpoints(5)).values():
        assert each == pytest.approx(0.2, rel=slack)
    heavy = shares(rule, endpoints(3, 1, 1, 2))
    assert heavy["10.0.0.2:80"] == pytest.approx(0.5, rel=slack)


@pytest.mark.parametrize("count", range(3, 21))
def test_few_keys_move_on_a_ring_when_one_endpoint_leaves(count):
    """At most two and a half times the share of the one that left."""
    self_moves(RING, count, 2.5)


@pytest.mark.parametrize("count", [3, 5, 10, 20, 40, 70, 100])
def test_few_keys_move_in_maglev_when_one_endpoint_leaves(count):
    """At most twice the share of the one that left."""
    self_moves(MAGLEV, count, 2.0)


def self_moves(rule: HashRule, count: int, most: float) -> None:
    """Count the keys that belong to somebody else without one of the endpoints."""
    all_of_them = endpoints(count)
    for gone in {0, count // 2, count - 1}:
        before = build_table(rule, all_of_them)
        after = build_table(rule, all_of_them[:gone] + all_of_them[gone + 1 :])
        moved = sum(before.find(key, ()) != after.find(key, ()) for key in KEYS)
        assert 0 < moved <= most / count * len(KEYS), gone


@pytest.mark.parametrize("rule", [RING, MAGLEV], ids=["ring", "maglev"])
def test_whoever_is_passed_over_moves_no_other_key(rule):
    """An ejected endpoint's keys go to its neighbours; everybody else's stay."""
    table = build_table(rule, endpoints(4))
    out = {"10.0.0.1:80"}
    for key in KEYS[:500]:
        before, now = table.find(key, ()), table.find(key, out)
        assert now.key not in out
        assert before.key in out or now == before
    assert table.find(KEYS[0], {endpoint.key for endpoint in endpoints(4)}) is None


@pytest.mark.parametrize("rule", [RING, MAGLEV], ids=["ring", "maglev"])
def test_a_table_is_the_same_in_every_process(rule):
    """Nothing of it is drawn, so that all workers keep a caller at one endpoint."""
    one, other = build_table(rule, endpoints(7)), build_table(rule, endpoints(7))
    assert [one.find(key, ()) for key in KEYS] == [other.find(key, ()) for key in KEYS]
