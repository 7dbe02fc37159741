"""What workers have counted, as the dashboard takes it."""

from __future__ import annotations

import pytest

from meshware.dashboard.data import BOUNDS_MS
from meshware.dashboard.graph import read_graph
from meshware.dashboard.window import figures_of
from meshware.syncd.console import samples_of
from meshware.syncd.counts import Merged
from meshware.telemetry.series import ALL, BUCKETS, COUNT, Series, Store


@pytest.mark.parametrize(("code", "errors"), [("200", 0), ("404", 0), ("503", 1), ("0", 1)])
def test_an_error_is_an_answer_of_5xx_or_none(code, errors):
    store = Store(10)
    series = store.series_of((("reporter", "source"), ("response_code", code)))
    assert isinstance(series, Series)
    series.observe(0.02, 0, 0, None)
    (sample,) = samples_of(Merged(store=store, gauges={}))
    assert (sample.requests, sample.errors, sum(sample.durations)) == (1, errors, 1)
    assert sample.durations[BOUNDS_MS.index(25)] == 1


PAIR = (
    ("destination_service", "shop.default"),
    ("destination_service_name", "shop"),
    ("destination_service_namespace", "default"),
    ("reporter", "source"),
    ("source_workload", "web"),
    ("source_workload_namespace", "default"),
)
ATTEMPTS = (PAIR[0], *PAIR[4:])


def test_attempts_are_those_of_the_edge_whatever_came_of_the_calls():
    store = Store(10)
    for code, version in (("200", "v1"), ("200", "v2"), ("503", "v1")):
        labels = sorted((*PAIR, ("response_code", code), ("destination_version", version)))
        series = store.series_of(tuple(labels))
        assert series is not None
        series.observe(0.02, 0, 0, None)
    store.count("meshware_attempts_total", ATTEMPTS, 5)
    edges = read_graph(samples_of(Merged(store=store, gauges={}))).edges
    edge = edges["default/web->default/shop"]
    assert figures_of(edge.counts, 1).calls == 3
    assert figures_of(edge.counts, 1).attempts_rate == 5
    assert len(edges) == 3, "the edge, and those to two versions, of which nobody counts attempts"


def test_attempts_of_nobody_who_calls_are_left_out():
    """Of a file that an earlier version wrote, which does not say whose they are."""
    store = Store(10)
    store.count("meshware_attempts_total", ATTEMPTS[:1], 5)
    assert samples_of(Merged(store=store, gauges={})) == []


def test_both_count_durations_in_the_same_buckets():
    assert BUCKETS == BOUNDS_MS


def test_calls_are_told_once_when_policy_changes_what_is_kept():
    """One metric gets a label of its own meanwhile: rates stay, and durations are known."""
    store = Store(10)
    store.series_of(PAIR).observe(0.02, 0, 0, None)
    edge = "default/web->default/shop"
    before = read_graph(samples_of(Merged(store=store, gauges={}))).edges[edge].counts
    for _ in range(2):
        store.series_of(PAIR, ALL - {COUNT}).observe(0.02, 0, 0, None)
        tagged = tuple(sorted((*PAIR, ("plan", "gold"))))
        store.series_of(tagged, frozenset({COUNT})).observe(0.02, 0, 0, None)
    samples = samples_of(Merged(store=store, gauges={}))
    assert len({frozenset(sample.labels.items()) for sample in samples}) == len(samples)
    after = figures_of(read_graph(samples).edges[edge].counts, 1)
    assert figures_of(before, 1).calls == 1
    assert after.calls == 3
    assert sum(sum(sample.durations) for sample in samples) == 3
