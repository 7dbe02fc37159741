"""Metrics as Prometheus reads them, by its own parsers."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from meshware.telemetry.collector import _calls
from meshware.telemetry.exposition import exposition
from meshware.telemetry.report import Counted
from meshware.telemetry.series import ALL, COUNT, Exemplar, Store

TRACE = "0af7651916cd43dd8448eb211c80319c"


def store() -> Store:
    """Two calls, one of which is an example, of a workload with an awkward name."""
    found = Store(10)
    series = found.series_of((("reporter", "source"), ("source_app", 'a"b\\c\nd')))
    assert series is not None
    series.observe(0.004, 10, 12, Exemplar(TRACE, 4.0, 1700000000.0))
    series.observe(90.0, 0, 2_000_000, None)
    found.count("meshware_attempts_total", (("destination_service", "shop"),), 3)
    return found


GAUGES = {("meshware_policy_generation", (("workload", "app"),)): 7.0}


def written(*, is_open: bool) -> str:
    """All of it."""
    found = store()
    return exposition(found.series.values(), found.counters, GAUGES, is_open=is_open)


def test_prometheus_reads_what_was_counted():
    """Counters, histograms that add up, gauges."""
    families = {family.name: family for family in read_text(written(is_open=False))}
    [count] = families["istio_requests"].samples
    assert (count.value, count.labels["source_app"]) == (2, 'a"b\\c\nd')
    duration = families["istio_request_duration_milliseconds"]
    assert duration.type == "histogram"
    buckets = [s.value for s in duration.samples if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    values = {s.name.rpartition("_")[2]: s.value for s in duration.samples}
    assert (values["count"], values["sum"], buckets[-1]) == (2, 90004.0, 2)
    assert families["meshware_attempts"].samples[0].value == 3
    assert families["meshware_policy_generation"].samples[0].value == 7


def test_openmetrics_has_traces_as_examples():
    """In the bucket of the call."""
    families = {f.name: f for f in read_open(written(is_open=True) + "# EOF\n")}
    duration = families["istio_request_duration_milliseconds"]
    [example] = [s for s in duration.samples if s.exemplar is not None]
    assert example.labels["le"] == "5.0"
    assert example.exemplar.labels == {"trace_id": TRACE}
    assert (example.exemplar.value, float(example.exemplar.timestamp)) == (4.0, 1700000000.0)


def test_nothing_counted_is_nothing_written():
    """No head of a family without samples."""
    assert exposition((), {}, {}, is_open=True) == ""


def changed_while_it_ran() -> Store:
    """Three calls counted as usual; then policy gave one metric a label, and two more came."""
    found = Store(10)
    labels = (("reporter", "source"), ("source_app", "web"))
    usual = found.series_of(labels)
    others = found.series_of(labels, ALL - {COUNT})
    tagged = found.series_of((("plan", "gold"), *labels), frozenset({COUNT}))
    assert usual is not None and others is not None and tagged is not None
    for _ in range(3):
        usual.observe(0.004, 10, 12, Exemplar(TRACE, 4.0, 1700000000.0))
    for _ in range(2):
        others.observe(0.004, 10, 12, None)
        tagged.observe(0.004, 10, 12, None)
    return found


def test_no_series_stands_there_twice_when_policy_changes_what_is_kept():
    """Prometheus keeps the first of two and says nothing, so calls would be lost."""
    text = exposition(changed_while_it_ran().series.values(), {}, {}, is_open=True)
    families = {family.name: family for family in read_open(text + "# EOF\n")}
    seen = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families.values()
        for sample in family.samples
    ]
    assert len(seen) == len(set(seen))
    duration = families["istio_request_duration_milliseconds"].samples
    assert [s.value for s in duration if s.name.endswith("_count")] == [5]
    counts = {s.labels.get("plan"): s.value for s in families["istio_requests"].samples}
    assert counts == {None: 3, "gold": 2}


def test_a_collector_tells_none_twice_either():
    """Where there is no daemon."""
    store = changed_while_it_ran()
    counted = Counted(series=tuple(store.series.values()))
    families = {family.name: family for family in _calls(counted)}
    duration = families["istio_request_duration_milliseconds"].samples
    assert [s.value for s in duration if s.name.endswith("_count")] == [5]
