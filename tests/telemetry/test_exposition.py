"""Metrics as Prometheus reads them, by its own parsers."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_open
from prometheus_client.parser import text_string_to_metric_families as read_text

from meshware.telemetry.exposition import exposition
from meshware.telemetry.series import Exemplar, Store

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
