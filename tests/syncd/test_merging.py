"""What workloads have counted is added up, and none of them takes the room of another."""

from __future__ import annotations

from bisect import bisect_left

import pytest

from meshware.syncd.merging import merge, shares_of
from meshware.telemetry.exposition import exposition
from meshware.telemetry.reading import Reading
from meshware.telemetry.report import encode
from meshware.telemetry.series import BUCKETS, Exemplar, Histogram, Store

ENDPOINTS = "meshware_ejected_endpoints"


@pytest.mark.parametrize(
    ("wanted", "most", "had"),
    [
        ({}, 10, {}),
        ({"a": 3, "b": 4}, 10, {"a": 3, "b": 4}),
        ({"a": 100, "b": 4}, 10, {"a": 6, "b": 4}),
        ({"a": 100, "b": 100}, 10, {"a": 5, "b": 5}),
        ({"a": 100, "b": 2, "c": 100}, 10, {"a": 4, "b": 2, "c": 4}),
        ({"a": 9, "b": 9, "c": 9}, 10, {"a": 3, "b": 3, "c": 4}),
        ({"a": 9, "b": 9, "c": 9}, 2, {"a": 0, "b": 1, "c": 1}),
        ({"a": 0, "b": 9}, 1, {"a": 0, "b": 1}),
    ],
    ids=str,
)
def test_everybody_has_the_first_before_anybody_has_the_second(wanted, most, had):
    assert shares_of(wanted, most) == had


def read(*names: str, calls: int = 1, gauges: int = 0, exemplar: Exemplar | None = None):
    """What a worker tells of calls from some workloads."""
    store = Store(1000)
    for name in names:
        series = store.series_of((("reporter", "destination"), ("source_workload", name)))
        for _ in range(calls):
            series.observe(0.002, 5, 70_000, exemplar)
        store.count("meshware_exceptions_total", (("type", name),), calls)
    held = {(ENDPOINTS, (("destination_service", str(n)),)): 1.0 for n in range(gauges)}
    found = Reading(most_rows=1000).decode(encode(store, held))
    assert found is not None
    return found


def callers(merged) -> set[str]:
    """Whose calls are told of."""
    return {dict(series.labels)["source_workload"] for series in merged.store.series.values()}


@pytest.mark.parametrize("is_first", [True, False])
def test_one_that_tells_of_very_much_drives_out_nothing_of_another(is_first):
    """Series, counters and gauges; what was left out is told."""
    flood = [read(*(f"f{worker}-{n}" for n in range(20)), gauges=50) for worker in range(3)]
    parts = {("default", "web"): [read("a", "b", "c", calls=2, gauges=2)]}
    parts = {("bad", "x"): flood, **parts} if is_first else {**parts, ("bad", "x"): flood}
    merged = merge(parts, 10)
    assert callers(merged) == {"a", "b", "c", *(f"f0-{n}" for n in range(7))}
    assert [series.count for series in merged.store.series.values()][:3] == [2, 2, 2]
    assert merged.store.left_out == (60 - 7) * 2, "calls, and counts of exceptions"
    told = {dict(labels)["type"]: value for (_, labels), value in merged.store.counters.items()}
    assert (told["a"], told["b"], told["c"], len(told)) == (2, 2, 2, 10)
    assert len(merged.gauges) <= 10
    assert merged.gauges[(ENDPOINTS, (("destination_service", "0"),))] == 4.0


def test_those_that_share_a_series_add_to_it():
    """Policy may have removed the labels by which workloads are told apart."""
    exemplars = [Exemplar("a" * 32, 2.0, 7.0), Exemplar("b" * 32, 2.0, 9.0)]
    merged = merge(
        {
            ("default", "web"): [read("a", calls=2, exemplar=exemplars[1]), read("a", "b")],
            ("default", "app"): [read("a", calls=3, exemplar=exemplars[0])],
        },
        10,
    )
    [first] = [
        each for each in merged.store.series.values() if ("source_workload", "a") in each.labels
    ]
    assert first.count == 6
    assert first.duration == Histogram([0, 0, 6] + [0] * 17, 12.0, {2: exemplars[1]})
    assert sum(first.received.counts) == first.sent.counts[bisect_left(BUCKETS, 70_000)] == 6
    assert merged.store.left_out == 0


def test_sums_beyond_any_number_are_still_told():
    """Each claim alone is possible; together they must not spoil what is told of all others."""
    store = Store(1)
    series = store.series_of((("reporter", "destination"),))
    series.count, series.duration.total = 2**48, 1.7e308
    store.count("meshware_exceptions_total", (), 2.0**48)
    found = Reading().decode(encode(store, {}))
    assert found is not None
    merged = merge({("default", "web"): [found] * 3}, 10)
    store = merged.store
    text = exposition(store.series.values(), store.counters, merged.gauges, is_open=False)
    assert f'istio_requests_total{{reporter="destination"}} {3 * 2**48}' in text
