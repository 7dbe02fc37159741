"""Sums are right: through workers that are killed, recycled and restarted, and a daemon that is."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import urllib.request
from collections import Counter
from pathlib import Path

import pytest
from inbound_servers import QUIET, Server
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sync_world import running

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, labels: {app: shop, version: v1}}
spec: {address: 127.0.0.1, serviceAccount: app, labels: {app: shop, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: shop}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/closed]}}]}]
"""

GUNICORN = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "--workers", "4", "counted_app:application"]
ENVIRON = {"MESH_WORKLOAD": "default/app"}


@pytest.fixture
def daemon(tmp_path):
    """A daemon with policy for one workload."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY)
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() and daemon.status() and daemon.status().listen)
        yield daemon


def scrape(daemon, accept: str = "") -> str:
    """What `/metrics` says."""
    asked = urllib.request.Request(
        f"http://{daemon.status().listen}/metrics", headers={"accept": accept}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read().decode()


def totals(text: str) -> Counter:
    """Calls by status, of the side that was called."""
    found: Counter = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "istio_requests_total":
                assert sample.labels["reporter"] == "destination"
                found[sample.labels["response_code"]] += int(sample.value)
    del found["299"]
    return found


def exact(daemon, sent: Counter) -> None:
    """Wait until all calls are counted, each once."""
    try:
        daemon.wait_for(lambda: totals(scrape(daemon)) == sent, most_s=20.0)
    except AssertionError as error:
        raise AssertionError(f"{totals(scrape(daemon))} in place of {sent}") from error


def call(server: Server, path: str) -> bytes:
    """One call over a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request("GET", path, headers={"host": "shop.default"})
        return connection.getresponse().read()
    finally:
        connection.close()


class Watch(threading.Thread):
    """Scrapes again and again, and sees to it that no sum falls."""

    def __init__(self, daemon) -> None:
        super().__init__(daemon=True)
        self._daemon = daemon
        self._is_over = threading.Event()
        self.fallen: list[tuple[Counter, Counter]] = []
        self.scrapes = 0

    def run(self) -> None:
        """Scrape until told to end."""
        before: Counter = Counter()
        while not self._is_over.wait(0.02):
            try:
                now = totals(scrape(self._daemon))
            except OSError:
                continue  # the daemon is ended while it is asked
            self.scrapes += 1
            if any(now[status] < count for status, count in before.items()):
                self.fallen.append((before, now))
            before = now

    def end(self) -> None:
        """Stop."""
        self._is_over.set()
        self.join(10)


@pytest.mark.parametrize("options", [[], ["--max-requests", "20"]], ids=["", "recycled"])
def test_no_call_is_lost_and_no_sum_falls(tmp_path, daemon, options):
    """Four workers, two of them killed midway; all others end in good order, some of them often."""
    command = [*GUNICORN[:-1], *options, GUNICORN[-1]]
    server = Server(command, tmp_path, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
    watch = Watch(daemon)
    sent: Counter = Counter()

    def send(count: int) -> None:
        for number in range(count):
            status = ("200", "404", "503", "201")[number % 4]
            call(server, f"/status/{status}")
            sent[status] += 1
        exact(daemon, sent)

    try:
        server.wait_until_up()
        watch.start()
        call(server, "/status/200")  # the first call has a worker follow policy
        sent["200"] += 1
        send(120)
        pids = {int(call(server, "/pid")) for _ in range(30)}
        sent["200"] += 30
        exact(daemon, sent)
        for pid in sorted(pids)[:2]:
            if Path(f"/proc/{pid}").exists():  # it may have been recycled
                os.kill(pid, signal.SIGKILL)
        send(120)
    finally:
        server.end()
    exact(daemon, sent)
    watch.end()
    assert watch.scrapes > 5
    assert watch.fallen == []
    left = list((daemon.run_dir / "reports").rglob("*.metrics"))
    assert left == [], "what ended workers have counted is kept by the daemon"

    # A daemon that is killed and comes again counts nothing twice.
    daemon.end(signal.SIGKILL)
    with running(tmp_path) as again:
        again.wait_for(lambda: again.status() and again.status().pid == again.popen.pid)
        again.wait_for(lambda: again.status().listen)
        assert totals(scrape(again)) == sent


def test_labels_are_istios(tmp_path, daemon):
    """All of them, of a caller that proves nothing; refusals and exceptions are counted too."""
    server = Server(GUNICORN, tmp_path, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
    try:
        server.wait_until_up()
        call(server, "/status/200")
        call(server, "/closed")
        call(server, "/raise")
        daemon.wait_for(lambda: totals(scrape(daemon)).total() >= 3)
        text = scrape(daemon)
        families = {family.name: family for family in text_string_to_metric_families(text)}
        samples = families["istio_requests"].samples
        codes = {s.labels["response_code"] for s in samples}
        assert codes - {"299"} == {"200", "403", "500"}
        [sample] = [s for s in samples if s.labels["response_code"] == "200"]
        assert sample.labels == {
            "reporter": "destination",
            "source_workload": "unknown",
            "source_canonical_service": "unknown",
            "source_canonical_revision": "latest",
            "source_workload_namespace": "unknown",
            "source_principal": "unknown",
            "source_app": "unknown",
            "source_version": "unknown",
            "source_cluster": "unknown",
            "destination_workload": "app",
            "destination_workload_namespace": "default",
            "destination_principal": "spiffe://cluster.local/ns/default/sa/app",
            "destination_app": "shop",
            "destination_version": "v1",
            "destination_service": "shop.default.svc.cluster.local",
            "destination_canonical_service": "shop",
            "destination_canonical_revision": "v1",
            "destination_service_name": "shop",
            "destination_service_namespace": "default",
            "destination_cluster": "unknown",
            "request_protocol": "http",
            "response_code": "200",
            "grpc_response_status": "",
            "response_flags": "-",
            "connection_security_policy": "none",
        }
        buckets = [
            s
            for s in families["istio_response_bytes"].samples
            if s.name.endswith("_bucket") and s.labels["response_code"] == "200"
        ]
        assert [s.value for s in buckets if s.labels["le"] in ("10.0", "25.0", "+Inf")] == [0, 1, 1]
        [raised] = families["meshware_exceptions"].samples
        assert (raised.labels, raised.value) == ({"type": "ValueError"}, 1)
        open_text = scrape(daemon, "application/openmetrics-text; version=1.0.0")
        assert "istio_requests" in {
            f.name for f in openmetrics.text_string_to_metric_families(open_text)
        }
    finally:
        server.end()
