"""A real Prometheus scrapes the daemon, and answers what operators ask."""

from __future__ import annotations

import http.client
import time

import pytest
from inbound_servers import QUIET, Server
from metrics_world import ENVIRON, POLICY
from prometheus_server import Prometheus
from sync_world import running

APP = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "--workers", "2", "counted_app:application"]


def call(server: Server, path: str, **headers: str) -> None:
    """One call over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path, headers={"host": "shop.default", **headers})
        connection.getresponse().read()
    finally:
        connection.close()


TRACE = "0af7651916cd43dd8448eb211c80319c"
MINE = 'destination_workload="app",response_code!="299"'


@pytest.fixture
def scraped(tmp_path, engine):
    """Server, daemon and Prometheus, all of which run."""
    program = engine("prometheus")
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY)
    with running(tmp_path) as daemon:
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        server = Server(APP, tmp_path, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
        prometheus = Prometheus(program, tmp_path / "prometheus", daemon.status().listen)
        try:
            server.wait_until_up()
            prometheus.wait_for('up{job="mesh"}', _up(daemon))
            yield server, prometheus
        finally:
            server.end()
            prometheus.end()


def _up(daemon):
    labels = (("__name__", "up"), ("instance", daemon.status().listen), ("job", "mesh"))
    return {labels: 1.0}


def test_prometheus_answers_what_operators_ask(scraped):
    """Calls by status, share of errors, quantiles, exemplars; nothing of a scrape is refused."""
    server, prometheus = scraped
    for number in range(40):
        code = "503" if number % 4 == 0 else "200"
        call(server, f"/status/{code}", traceparent=f"00-{TRACE}-b7ad6b7169203331-01")
    prometheus.wait_for(
        f"sum by (response_code) (istio_requests_total{{{MINE}}})",
        {(("response_code", "200"),): 30.0, (("response_code", "503"),): 10.0},
    )
    share = prometheus.query(
        f'sum(istio_requests_total{{{MINE},response_code=~"5.."}})'
        f" / sum(istio_requests_total{{{MINE}}})"
    )
    assert share == {(): 0.25}
    [median] = prometheus.query(
        "histogram_quantile(0.5, sum by (le)"
        f" (istio_request_duration_milliseconds_bucket{{{MINE}}}))"
    ).values()
    assert 0 < median < 3_600_000
    count = f"sum(istio_request_duration_milliseconds_count{{{MINE}}})"
    inf = f'sum(istio_request_duration_milliseconds_bucket{{{MINE},le="+Inf"}})'
    assert prometheus.query(count) == prometheus.query(inf) == {(): 40.0}
    assert prometheus.query("sum(meshware_sync_workers_live)") == {(): 2.0}
    assert prometheus.query('min(meshware_policy_generation{workload="app"}) > 0')
    # Prometheus asks for OpenMetrics by itself, so it has the traces.
    examples = prometheus.ask(
        "query_exemplars",
        query="istio_request_duration_milliseconds_bucket",
        start=str(time.time() - 600),
        end=str(time.time() + 600),
    )
    traces = {one["labels"]["trace_id"] for family in examples for one in family["exemplars"]}
    assert traces == {TRACE}
    [target] = prometheus.ask("targets")["activeTargets"]
    assert (target["health"], target["lastError"]) == ("up", "")
    kinds = prometheus.ask("metadata")
    assert kinds["istio_requests"][0]["type"] == "counter"
    assert kinds["istio_request_duration_milliseconds"][0]["type"] == "histogram"
