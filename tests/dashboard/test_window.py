"""What counters come to over time."""

from __future__ import annotations

import pytest

from meshware.dashboard.data import BOUNDS_MS, Sample
from meshware.dashboard.window import Rises, Window, counts_of, figures_of, quantile


def buckets(**counts: int) -> list[float]:
    """Calls by the bucket they fell in, as `upto_10=3`; `beyond=1` for the last."""
    row = [0.0] * (len(BOUNDS_MS) + 1)
    for name, count in counts.items():
        row[-1 if name == "beyond" else BOUNDS_MS.index(float(name[5:]))] = float(count)
    return row


@pytest.mark.parametrize(
    ("share", "found", "expected"),
    [
        (0.5, buckets(), None),
        (0.5, buckets(upto_10=4), 7.5),
        (1.0, buckets(upto_10=4), 10.0),
        (0.5, buckets(upto_1=1, upto_100=1), 1.0),
        (0.75, buckets(upto_1=2, upto_100=2), 75.0),
        (0.99, buckets(beyond=5), BOUNDS_MS[-1]),
    ],
)
def test_a_percentile_is_linear_within_its_bucket(share, found, expected):
    """As PromQL's histogram_quantile; beyond the last bound nothing is known but that bound."""
    assert quantile(share, found) == expected


def sample(requests: float, worker: str = "a") -> Sample:
    return Sample(labels={"worker": worker}, requests=requests)


def test_what_was_there_before_the_first_sample_counts_for_nothing():
    assert [risen.requests for risen in Rises().of([sample(100)])] == [0]


def test_a_series_that_comes_up_later_began_at_nought():
    rises = Rises()
    rises.of([])
    assert [risen.requests for risen in rises.of([sample(3)])] == [3]


def test_a_counter_that_fell_began_anew_without_its_neighbours():
    rises = Rises()
    rises.of([sample(100), sample(1000, "b")])
    assert [risen.requests for risen in rises.of([sample(4), sample(1001, "b")])] == [4, 1]


def test_rates_and_shares_are_of_the_seconds_that_were_looked_at():
    window = Window()
    for _ in range(10):
        window.add({"e": counts_of(4, 1, 6, buckets(upto_10=4))})
    totals, seconds = window.totals(5)
    figures = figures_of(totals["e"], seconds)
    assert (figures.rate, figures.error_share, figures.attempts_rate) == (4, 0.25, 6)
    assert figures.p50_ms == 7.5


def test_an_hour_is_kept_in_steps_of_ten_seconds():
    window = Window()
    for _ in range(4000):
        window.add({"e": counts_of(1, 0, 0, ())})
    step_s, steps = window.series(["e"], 3600)
    assert step_s == 10
    assert len(steps) == 360
    assert {step.rate for step in steps} == {1}
