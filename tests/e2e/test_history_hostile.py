"""Labels that are PromQL themselves, in a real Prometheus: each finds its own calls alone."""

from __future__ import annotations

import itertools
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from prometheus_server import Prometheus

from meshware.dashboard.promql import Selection, Span, queries
from meshware.telemetry.exposition import exposition
from meshware.telemetry.series import COUNT

MINUTE = Span(0, 60, 5)
RISING = {"destination_service": "bait"}
HOSTILE = [
    "", "~.*", "~.+", "~bait", "~", ".*", "bait|", "|unknown", "\\", "bait\\", '\\"', "\n", "`",
    "'", 'x"} or istio_requests_total{destination_service="bait', "#", "{}", "☃",
    '~.*"}[60s])) or sum(rate(istio_requests_total{destination_service="bait',
    '~"}[60s])) or vector(1) #',
]  # fmt: skip


class _Metrics(BaseHTTPRequestHandler):
    """Calls to every hostile service, none of which is new, and to one that is called all along."""

    scrapes = itertools.count(1)

    def do_GET(self) -> None:
        """Answer a scrape."""
        counters = {
            (COUNT, (("destination_service", name), ("reporter", "source"))): 7.0
            for name in HOSTILE
        }
        bait = (COUNT, (("destination_service", "bait"), ("reporter", "source")))
        body = exposition([], {**counters, bait: 50.0 * next(self.scrapes)}, {}, is_open=False)
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Keep no log."""


@pytest.fixture
def prometheus(tmp_path, engine):
    """A Prometheus that has scraped them twice."""
    program = engine("prometheus")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Metrics) as target:
        thread = threading.Thread(target=target.serve_forever, args=(0.1,))
        thread.start()
        host, port = target.server_address
        server = Prometheus(program, tmp_path / "prometheus", f"{host}:{port}")
        try:
            server.wait_until(f"{rate_of(RISING)} > 0", lambda: None)
            yield server
        finally:
            server.end()
            target.shutdown()
            thread.join()


def rate_of(known: dict[str, str]) -> str:
    return queries(Selection(known), MINUTE)["rate"]


def test_a_hostile_name_finds_its_own_calls_and_no_others(prometheus):
    """0 calls a second is its own answer; nothing at all, or the rate of the others, is not."""
    for name in HOSTILE:
        assert prometheus.query(rate_of({"destination_service": name})) == {(): 0.0}, name


def test_what_all_strangers_call_is_one_question(prometheus):
    """Sources alone tell here, so nobody is a stranger; and the question is taken."""
    for expression in queries(Selection(None, {}), MINUTE).values():
        assert prometheus.query(expression) == {}


def test_every_question_is_one_that_prometheus_takes(prometheus):
    for name in HOSTILE:
        claimed = {"destination_service": name, "destination_service_namespace": name}
        for chosen in (Selection(claimed), Selection(None, claimed), Selection(claimed, claimed)):
            for expression in queries(chosen, MINUTE).values():
                prometheus.query(expression)
