"""What workers have counted and what they remember of calls, as the dashboard takes it."""

from __future__ import annotations

import threading

import pytest
from sync_world import Recorded

from meshware.dashboard.data import BOUNDS_MS
from meshware.dashboard.graph import read_graph
from meshware.dashboard.window import figures_of
from meshware.runtime.lookups import Lookups
from meshware.syncd.console import DaemonConsole, samples_of
from meshware.syncd.counts import Counts
from meshware.syncd.directory import DirectorySource
from meshware.syncd.keeper import Keeper
from meshware.syncd.merging import Merged
from meshware.syncd.reports import ReportReader
from meshware.syncd.rings import NodeRings
from meshware.syncd.why import Why
from meshware.telemetry.call_record import CallRecord
from meshware.telemetry.report import encode
from meshware.telemetry.ring_file import WorkerRings
from meshware.telemetry.series import ALL, BUCKETS, COUNT, ENDPOINT_ATTEMPTS, Series, Store

WORKER = "0" * 16


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


class SlowRings(NodeRings):
    """Reads when it is let, and says how often."""

    def __init__(self, reader: ReportReader) -> None:
        super().__init__(reader, lambda: 1e9)
        self.looks = 0
        self.is_there, self.may_go = threading.Event(), threading.Event()

    def look(self):
        self.looks += 1
        self.is_there.set()
        assert self.may_go.wait(30)
        return super().look()


class CountedCounts(Counts):
    """Says how often it was asked."""

    asked = 0

    def merged(self):
        self.asked += 1
        return super().merged()


@pytest.fixture
def keeper(places, clock):
    """A keeper whose clock stands still; its rings are read at once."""
    lookups = Lookups(lambda: lambda _: None, lambda _: None)
    made = Keeper(places, DirectorySource(places.sources), Recorded(), clock, lookups)
    made.rings = SlowRings(ReportReader(places.reports))
    made.rings.may_go.set()
    made.counts = CountedCounts(ReportReader(places.reports), places.counted)
    (places.reports / "shop/web").mkdir(parents=True)
    yield made
    lookups.stop()
    made.close()


@pytest.fixture
def console(keeper, places, clock):
    """What the dashboard asks."""
    return DaemonConsole(keeper, Why(places.policy_file, lambda: keeper.written, clock.now), clock)


def write_calls(places, *numbers: int) -> None:
    """Have a worker remember refused calls."""
    calls = [
        CallRecord(
            number=number, at=1.0, direction="inbound", outcome="refused", method="GET", host="app",
            path=f"/{number}", status=403, reason="no", duration_s=0.001, generation=1,
        )
        for number in numbers
    ]  # fmt: skip
    data = WorkerRings(lambda: calls, lambda: 0, list)()
    (places.reports / f"shop/web/{WORKER}.rings").write_bytes(data)


def paths(told) -> list[str]:
    """Of the calls that are told."""
    return [call["path"] for call in told.calls]


def test_who_looks_while_another_does_waits_for_what_that_one_reads(console, keeper, places):
    """Files are read once, and both are told the same."""
    write_calls(places, 1)
    keeper.rings.may_go.clear()
    found: list[object] = []
    threads = [threading.Thread(target=lambda: found.append(console.look())) for _ in range(2)]
    threads[0].start()
    assert keeper.rings.is_there.wait(30)
    threads[1].start()
    threads[1].join(0.3)  # it has gone as far as it can
    assert paths(console.remembered()) == [], "who only reads does not wait"
    keeper.rings.may_go.set()
    for thread in threads:
        thread.join(30)
    assert keeper.rings.looks == 1
    assert [paths(told) for told in found] == [["/1"], ["/1"]]
    assert found[0] is found[1] is console.remembered()


def test_what_was_told_stays_as_it_is_and_fits_together(console, places, clock):
    """A cursor and the calls up to it are of one reading, whoever reads anew meanwhile."""
    write_calls(places, 1)
    before = console.look()
    write_calls(places, 1, 2)
    assert console.look() is before, "not again within moments"
    clock.advance(1)
    after = console.look()
    assert [(told.seen, len(told.calls)) for told in (before, after)] == [(1, 1), (2, 2)]


def test_why_knows_a_call_that_nobody_has_looked_at_yet(console, places):
    """Within the moments in which a page does not look again."""
    epoch = console.look().epoch
    write_calls(places, 1)
    assert console.look().calls == ()
    found = console.why(f"{epoch}.1")
    assert found is not None
    assert found["call"]["path"] == "/1"
    assert paths(console.remembered()) == ["/1"]
    assert console.why(f"{epoch}.2") is None
    assert console.why("another-life.1") is None


def test_why_knows_what_the_page_shows_though_its_worker_has_gone(console, keeper, places):
    """And reads no file for it."""
    write_calls(places, 1)
    [call] = console.look().calls
    (places.reports / f"shop/web/{WORKER}.rings").unlink()
    found = console.why(call["id"])
    assert found is not None
    assert found["call"] == call
    assert keeper.rings.looks == 1


def test_series_and_endpoints_are_of_one_moment(console, keeper, places):
    """What all workers have counted is put together once for both."""
    store = Store(10)
    store.series_of(PAIR).observe(0.02, 0, 0, None)
    store.count(
        ENDPOINT_ATTEMPTS,
        (("destination_service", "shop.default"), ("endpoint", "10.0.0.1:80"), ("outcome", "ok")),
        3,
    )
    (places.reports / f"shop/web/{WORKER}.metrics").write_bytes(encode(store, {}))
    counted = console.counted()
    assert [sample.requests for sample in counted.samples] == [1]
    assert [(each.address, each.attempts) for each in counted.endpoints] == [("10.0.0.1:80", 3)]
    assert keeper.counts.asked == 1
