"""Sums are right: through workers that are killed, recycled and restarted, and a daemon that is."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from inbound_servers import QUIET, Server
from metrics_world import ENVIRON, POLICY, scrape, totals
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from sync_world import running

from meshware.telemetry.report import encode
from meshware.telemetry.series import Store

GUNICORN = ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "--workers", "4", "counted_app:application"]


@pytest.fixture
def daemon(tmp_path):
    """A daemon with policy for one workload."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY)
    with running(tmp_path) as daemon:
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        yield daemon


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
        again.wait_for(lambda: again.status_yet() and again.status_yet().pid == again.popen.pid)
        again.wait_for(lambda: (said := again.status_yet()) and said.listen)
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


HOSTILE = {
    "forged counter": {"texts": ['x 1\nistio_requests_total{forged="1"} 9\nq'] * 8},
    "sum without end": {"rows": [[[0, 1], [2], 1, [[1], float("inf")], [[], 0], [[], 0], {}]]},
    "negative": {"rows": [[[0, 1], [2], -5, [[], 0], [[], 0], [[], 0], {}]]},
    "too large": {"left_out": 2**63},
    "another format": {"meshware": 99},
}


def hostile_files(place: Path) -> None:
    """Whatever a workload's user can put where its reports lie."""
    store = Store(4)
    series = store.series_of((("reporter", "destination"), ("response_code", "200")))
    assert series is not None
    series.observe(0.001, 0, 0, None)
    store.count("meshware_exceptions_total", ())
    sound = msgspec.msgpack.decode(encode(store, {}))
    for number, change in enumerate(HOSTILE.values()):
        data = msgspec.msgpack.encode({**sound, **change})
        (place / f"{number:016x}.metrics").write_bytes(data)
    os.mkfifo(place / f"{10:016x}.metrics")
    (place / f"{11:016x}.metrics").symlink_to("/dev/zero")
    (place / f"{12:016x}.metrics").mkdir()
    with (place / f"{13:016x}.metrics").open("wb") as file:
        file.truncate(2**40)
    for number in range(2000, 2500):
        (place / f"{number:016x}.metrics").write_bytes(b"\xc1" * 100)


def test_hostile_files_neither_stop_the_daemon_nor_forge_a_sum(tmp_path, daemon):
    """Others are counted as before, from the same scrape on."""
    server = Server(GUNICORN, tmp_path, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
    try:
        server.wait_until_up()
        call(server, "/status/200")
        exact(daemon, Counter({"200": 1}))
        hostile_files(daemon.run_dir / "reports/default/app")
        text = scrape(daemon)
        assert "forged" not in text
        for _ in range(20):
            call(server, "/status/200")
        exact(daemon, Counter({"200": 21}))
        assert daemon.popen.poll() is None
        open_text = scrape(daemon, "application/openmetrics-text; version=1.0.0")
        assert list(openmetrics.text_string_to_metric_families(open_text))
    finally:
        server.end()
    exact(daemon, Counter({"200": 21}))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount")
def test_a_full_disk_where_reports_lie_costs_no_call(tmp_path, daemon):
    """Answers are as ever; what was counted is told once there is room again."""
    reports = daemon.run_dir / "reports"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", reports], check=False, timeout=20
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    server = Server(GUNICORN, tmp_path, {"MESH_CONFIG": str(daemon.policy_file), **ENVIRON})
    try:
        server.wait_until_up()
        call(server, "/status/200")
        exact(daemon, Counter({"200": 1}))
        filler = reports / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 512)
        for _ in range(40):
            assert call(server, "/status/404") == b"twelve bytes"
        assert totals(scrape(daemon))["200"] == 1, "sums do not fall"
        filler.unlink()
        exact(daemon, Counter({"200": 1, "404": 40}))
    finally:
        server.end()
        subprocess.run(["umount", "--lazy", reports], check=True, timeout=20)
