"""What workers have counted, as the dashboard takes it."""

from __future__ import annotations

import pytest

from meshware.dashboard.data import BOUNDS_MS
from meshware.syncd.console import samples_of
from meshware.syncd.counts import Merged
from meshware.telemetry.series import BUCKETS, Series, Store


@pytest.mark.parametrize(("code", "errors"), [("200", 0), ("404", 0), ("503", 1), ("0", 1)])
def test_an_error_is_an_answer_of_5xx_or_none(code, errors):
    store = Store(10)
    series = store.series_of((("reporter", "source"), ("response_code", code)))
    assert isinstance(series, Series)
    series.observe(0.02, 0, 0, None)
    (sample,) = samples_of(Merged(store=store, gauges={}))
    assert (sample.requests, sample.errors, sum(sample.durations)) == (1, errors, 1)
    assert sample.durations[BOUNDS_MS.index(25)] == 1


def test_both_count_durations_in_the_same_buckets():
    assert BUCKETS == BOUNDS_MS
