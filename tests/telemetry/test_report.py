"""The file of what a worker has counted: it is read as it was written, or not at all."""

from __future__ import annotations

import msgspec
import pytest

from meshware.telemetry.report import decode, encode
from meshware.telemetry.series import BUCKETS, Exemplar, Store

LABELS = (("reporter", "source"), ("response_code", "200"))


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
