"""Edges out of the daemon's answer: read, filtered, sorted; what is no answer is refused."""

from __future__ import annotations

import json

import pytest
from dashboard_made import shop

from meshware.errors import SyncError
from meshware.terminal.edges import SORTS, chosen, namespaces_of, read_edges


def answered(**changes):
    """The answer of a daemon of the shop."""
    return json.dumps({**shop().graph, **changes}).encode()


def pairs(rows):
    """Who calls whom."""
    return [(row.source, row.destination) for row in rows]


def test_an_edge_is_read_whole():
    edges = read_edges(answered())
    assert (edges.generation, edges.window_s) == (7, 60)
    [row] = [row for row in edges.edges if row.destination == "checkout/payments"]
    assert (row.source, row.source_namespace) == ("checkout/cart", "checkout")
    assert (row.rate, row.error_share, row.p95_ms, row.health) == (6.1, 0.27, 1240, "bad")
    assert row.mtls is True
    assert row.source_principal == "spiffe://cluster.local/ns/shop/sa/cart"
    assert row.attempts_per_call == pytest.approx(1.54)


def test_where_nobody_counts_attempts_there_are_none_and_not_nought():
    edge = {**shop().graph["edges"][0], "attempts_rate": 0}
    [row] = read_edges(answered(edges=[edge])).edges
    assert row.attempts_rate is row.attempts_per_call is None


def test_an_edge_without_calls_has_no_attempts_on_one():
    edge = {**shop().graph["edges"][0], "rate": 0, "attempts_rate": 3}
    [row] = read_edges(answered(edges=[edge])).edges
    assert (row.attempts_rate, row.attempts_per_call) == (3, None)


def test_versions_are_shown_when_they_are_asked_for():
    edges = read_edges(answered()).edges
    part = ("shop/reviews", "shop/reviews@v2")
    assert part not in pairs(chosen(edges))
    assert part in pairs(chosen(edges, has_versions=True))


def test_a_namespace_has_the_calls_from_it_and_to_it():
    edges = read_edges(answered()).edges
    assert pairs(chosen(edges, namespace="checkout", sort="source")) == [
        ("checkout/cart", "checkout/payments"),
        ("checkout/payments", "outside/api.bank.example"),
        ("jobs/nightly-report", "checkout/cart"),
        ("shop/productpage", "checkout/cart"),
    ]
    assert chosen(edges, namespace="nowhere") == []
    assert namespaces_of(edges) == ["checkout", "jobs", "shop"]


@pytest.mark.parametrize("sort", SORTS)
def test_each_column_sorts_both_ways_and_what_is_unknown_comes_last(sort):
    edges = read_edges(answered()).edges
    rows = chosen(edges, sort=sort)
    assert rows == sorted(rows, key=SORTS[sort])
    assert len(rows) == len(chosen(edges, sort=sort, is_reversed=True))
    backwards = [SORTS[sort](row) for row in chosen(edges, sort=sort, is_reversed=True)]
    assert backwards == sorted(backwards, reverse=True)


def test_the_most_called_come_first_and_equal_ones_by_name():
    rows = chosen(read_edges(answered()).edges)
    assert pairs(rows)[:3] == [
        ("shop/ingress", "shop/productpage"),
        ("shop/productpage", "shop/details"),
        ("shop/productpage", "shop/reviews"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"<html>", id="a page"),
        pytest.param(b"\xff\xfe", id="no UTF-8"),
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b"[]", id="another form"),
        pytest.param(b'{"edges": []}', id="half of it"),
        pytest.param(answered(edges=[{"source": 1}]), id="another type"),
        pytest.param(answered(window_s="\x1b[2J"), id="an evil word for a number"),
        pytest.param(answered(edges=None), id="no edges"),
    ],
)
def test_what_is_no_graph_is_refused_in_one_legible_line(body):
    with pytest.raises(SyncError, match="no graph of a meshware daemon") as caught:
        read_edges(body)
    assert str(caught.value).isprintable()


def test_names_are_made_legible():
    nodes = [{"id": "a/\x1b[31m", "namespace": "\x07", "kind": "service"}]
    edge = {**shop().graph["edges"][0], "source": "a/\x1b[31m", "source_principal": "\x1b"}
    [row] = read_edges(answered(nodes=nodes, edges=[edge])).edges
    assert (row.source, row.source_namespace) == (r"a/\x1b[31m", r"\x07")
    assert row.source_principal == r"\x1b"
