"""Where nodes are drawn."""

from __future__ import annotations

import random

from meshware.dashboard.layout import lay_out


def test_callers_are_left_of_whom_they_call():
    places = lay_out("abc", [("a", "b"), ("b", "c"), ("a", "c")])
    assert [places[name].layer for name in "abc"] == [0, 1, 2]
    assert places["a"].x < places["b"].x < places["c"].x


def test_those_who_call_each_other_share_a_layer():
    places = lay_out("abc", [("a", "b"), ("b", "c"), ("c", "b")])
    assert places["b"].layer == places["c"].layer == 1
    assert places["b"].y != places["c"].y


def test_a_node_keeps_its_place_as_long_as_it_lives():
    before = lay_out("abc", [("a", "b"), ("a", "c")])
    after = lay_out("abde", [("d", "a"), ("a", "b"), ("a", "e")], before)
    assert {name: after[name] for name in "ab"} == {name: before[name] for name in "ab"}
    assert set(after) == set("abde")


def test_no_two_nodes_are_in_one_place():
    chance = random.Random(1)
    names = [f"s{number}" for number in range(200)]
    edges = [tuple(chance.sample(names, 2)) for _ in range(2000)]
    places = lay_out(names[:150], [e for e in edges if set(e) <= set(names[:150])])
    places = lay_out(names, edges, places)
    assert len({(place.x, place.y) for place in places.values()}) == 200
