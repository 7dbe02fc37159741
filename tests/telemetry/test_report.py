"""The file of what a worker has counted: it is read as it was written, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from meshware.telemetry.reading import MOST_ROWS, Reading, decode, summed
from meshware.telemetry.report import encode
from meshware.telemetry.series import BUCKETS, Exemplar, Series, Store

LABELS = (("reporter", "source"), ("response_code", "200"))


def series_of(read) -> list[Series]:
    """What was read, as a process counts it."""
    return [summed(kind, [row]) for kind, row in zip(read.kinds, read.rows, strict=True)]


def counted() -> Store:
    """A store with a little of everything."""
    store = Store(10)
    series = store.series_of(LABELS)
    assert series is not None
    series.observe(0.004, 0, 12, Exemplar("a" * 32, 4.0, 1.0))
    series.observe(4000.0, 1, 2, None)
    store.count("meshware_attempts_total", (("destination_service", "shop"),), 3)
    store.left_out = 2
    return store


def test_it_is_read_as_it_was_written():
    """Sums, buckets, exemplars, counters, gauges."""
    store = counted()
    gauges = {("meshware_policy_generation", ()): 7.0}
    read = decode(encode(store, gauges))
    assert read is not None
    assert list(read.series) == list(store.series.values())
    assert (read.counters, read.gauges, read.left_out) == (store.counters, gauges, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"meshware": 2},
        {"texts": []},
        {"texts": ["x" * 1000] * 8},
        {"rows": [[[0, 1], [2], -1, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0], [2], 1, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[-1, 1], [2], 1, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [2], 1, [[1] * (len(BUCKETS) + 2), 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [2], 1, [[-1], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [2], 1, [[1], float("nan")], [[], 0], [[], 0], {}]]},
        {"counters": [[0, [], -1.0]]},
        {"counters": [[0, [], float("nan")]]},
        {"left_out": -1},
        {"rows": 1},
        {"texts": ['x 1\nistio_requests_total{forged="1"} 9\nq'] * 8},
        {"counters": [[5, [], 1.0]], "texts": ["x"] * 5 + ["meshware_sync_publishes_total"]},
        {"counters": [[5, [], 1.0]], "texts": ["x"] * 5 + ["meshware_policy_generation"]},
        {"counters": [[5, [], 1.0]], "texts": ["x"] * 5 + ["process_cpu_seconds_total"]},
        {"gauges": [[0, [], float("nan")]]},
        {"gauges": [[0, [], float("inf")]]},
        {"rows": [[[0, 1], [2], 1, [[1], float("inf")], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [2], 2**60, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [2], 1, [[2**60], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1], [0], 1, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[0, 1, 0, 2], [], 1, [[], 0], [[], 0], [[], 0], {}]]},
        {"rows": [[[], [], 1, [[], 0], [[], 0], [[], 0], {}]] * (MOST_ROWS + 1)},
        {"rows": [[[], [], 1, [[], 0], [[], 0], [[], 0], {99: ["a" * 32, 1.0, 1.0]}]]},
        {"rows": [[[], [], 1, [[], 0], [[], 0], [[], 0], {0: ['"} 1', 1.0, 1.0]}]]},
        {"rows": [[[], [], 1, [[], 0], [[], 0], [[], 0], {0: ["a" * 32, float("nan"), 1.0]}]]},
    ],
)
def test_what_cannot_be_true_is_not_believed(change):
    """A report is a claim."""
    said = msgspec.msgpack.decode(encode(counted(), {}))
    assert decode(msgspec.msgpack.encode({**said, **change})) is None
    assert decode(b"") is None
    assert decode(b"\xff" * 100) is None


def test_a_store_keeps_no_more_than_it_may():
    """What is beyond is counted as left out."""
    store, other = Store(2), Store(10)
    for number in range(4):
        series = other.series_of((("response_code", str(number)),))
        assert series is not None
        series.observe(0.001, 0, 0, None)
        other.count("meshware_attempts_total", (("destination_service", str(number)),))
    store.merge(other.series.values(), other.counters)
    assert (len(store.series), len(store.counters), store.left_out) == (2, 2, 4)


@pytest.mark.parametrize(
    "name", ["le", "__name__", "", "1st", 'a="b"} 5\nforged{x', "a-b", "x" * 200]
)
def test_a_label_is_a_name_that_prometheus_has_for_labels(name):
    """Anything else would be read as something else, or spoil the text of all workloads."""
    store = Store(1)
    store.series_of(((name, "1"),))
    assert decode(encode(store, {})) is None


def test_files_of_one_worker_are_read_one_after_the_other():
    """Labels are put together once; a table of other texts begins anew."""
    asked = []

    def correct(labels):
        asked.append(labels)
        return labels

    reading, store = Reading(correct), Store(10)
    for code in ("200", "404", "200"):
        series = store.series_of((("response_code", code),))
        assert series is not None
        series.observe(0.001, 0, 0, None)
        read = reading.decode(encode(store, {}))
        assert read is not None
        assert series_of(read) == list(store.series.values())
    assert len(asked) == 2
    other = Store(1)
    other.series_of((("reporter", "source"),))
    read = reading.decode(encode(other, {}))
    assert read is not None
    assert series_of(read) == list(other.series.values())


def test_text_that_is_no_unicode_costs_no_report():
    """An app may have made a name of half a character."""
    store = Store(1)
    store.series_of((("route", "/\ud800"),))
    read = decode(encode(store, {}))
    assert read is not None
    assert read.series[0].labels == (("route", "/?"),)
