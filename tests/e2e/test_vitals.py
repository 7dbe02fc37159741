"""`meshware status` and the dashboard's API say of real workers what is true."""

from __future__ import annotations

import importlib.metadata
import json
import os
import signal
import sys
import threading
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from inbound_servers import ROOT, SUPPORT
from run_servers import Running, free_port
from vital_world import world

from meshware.runtime.vitals import Vitals
from meshware.syncd.reports import ReportReader


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A daemon, two workers of an app that were called, and whoever called them."""
    with world(tmp_path_factory.mktemp("vitals")) as made:
        for pid in children(made.server.popen.pid):
            # Servers do not share calls out evenly: the others are held while this one is called.
            others = children(made.server.popen.pid) - {pid}
            for other in others:
                os.kill(other, signal.SIGSTOP)
            try:
                assert made.server.get("/status/200").status == 200
            finally:
                for other in others:
                    os.kill(other, signal.SIGCONT)
        assert made.caller.call("/status/200") == 200

        def are_told() -> bool:
            made.server.get("/status/200")  # a worker that was held may have missed its own
            return [is_told(each) for each in made.workers()] == [True, True]

        until(made, are_told)
        yield made


def is_told(worker) -> bool:
    """Whether a worker has been called, and told of itself since."""
    return worker["server"] is not None and worker["lag_s"] is not None


BUSY = {"threads wait", "event loop lags"}  # which a machine that does much else makes true


def resident_bytes(pid: int) -> int:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


def children(pid: int) -> set[int]:
    """The processes that one has started."""
    return {int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


def until(mesh, condition) -> None:
    """Wait until something holds of what `meshware status` tells."""
    mesh.daemon.wait_for(condition)


def test_each_worker_tells_what_the_machine_tells_of_it(mesh):
    """Process, versions, memory, certificate: compared with /proc and with the file."""
    leaf = x509.load_pem_x509_certificates(
        (mesh.daemon.run_dir / "identity/default/app/svid.pem").read_bytes()
    )[0]
    workers = mesh.workers()
    assert {worker["pid"] for worker in workers} == children(mesh.server.popen.pid)
    for worker in workers:
        assert worker["generation"] == mesh.daemon.generation()
        assert worker["state"] == "current"
        assert set(worker["troubles"]) <= BUSY
        assert worker["version"] == importlib.metadata.version("meshware")
        assert worker["python"] == ".".join(map(str, sys.version_info[:3]))
        assert worker["server"] == "gunicorn/" + importlib.metadata.version("gunicorn")
        assert worker["memory_bytes"] == pytest.approx(resident_bytes(worker["pid"]), rel=0.15)
        assert worker["lag_of"] == "thread"
        assert worker["policy_age_s"] == pytest.approx(
            time.time() - datetime.fromisoformat(worker["applied_at"]).timestamp(), abs=30
        )
        certificate = worker["certificate"]
        assert certificate["id"] == "spiffe://cluster.local/ns/default/sa/app"
        assert certificate["source"] == "embedded"
        ends = leaf.not_valid_after_utc
        assert datetime.fromisoformat(certificate["until"]) == ends
        left_s = (ends - datetime.now(UTC)).total_seconds()
        assert certificate["left_s"] == pytest.approx(left_s, abs=30)


def test_calls_under_way_are_counted_until_they_are_over(mesh):
    go = mesh.server.place / "go"
    try:
        mesh.caller.begin("/wait")
        until(mesh, lambda: sum(each["in_flight"] for each in mesh.workers()) == 1)
    finally:
        go.write_text("")
    assert mesh.caller.popen.stdout.readline() == "200\n"
    until(mesh, lambda: sum(each["in_flight"] for each in mesh.workers()) == 0)
    go.unlink()


def test_the_dashboards_api_tells_the_same(mesh):
    with urllib.request.urlopen(f"{mesh.url}/api/workers", timeout=10) as answer:
        told = json.load(answer)
    ours = {worker["id"]: worker for worker in mesh.status()["workers"]}
    assert told["generation"] == mesh.daemon.generation()
    assert {worker["id"] for worker in told["workers"]} == set(ours)
    for worker in told["workers"]:
        for key in ("pid", "state", "version", "server", "applied_at", "generation"):
            assert worker[key] == ours[worker["id"]][key]
        assert worker["certificate"]["until"] == ours[worker["id"]]["certificate"]["until"]


def test_people_read_the_same_and_who_is_behind_stands_out(mesh):
    """A worker that does not run cannot follow: its line is marked, and says how far it is."""
    words = ("status", "--run-dir", str(mesh.daemon.run_dir))
    frozen = mesh.workers()[0]["pid"]

    def rows() -> dict[int, str]:
        lines = mesh.meshware(*words).stdout.splitlines()
        return {int(line[1:].split()[2]): line for line in lines if line[1:2] == " " and
                line[1:].split()[2:3] and line[1:].split()[2].isdigit()}  # fmt: skip

    assert all("current" in line for line in rows().values())
    assert " min" in rows()[frozen]
    assert " MiB" in rows()[frozen]
    os.kill(frozen, signal.SIGSTOP)
    try:
        policy = mesh.daemon.root / "mesh/p.yaml"
        policy.write_text(policy.read_text().replace("app: web", "app: web2"))
        until(mesh, lambda: mesh.daemon.generation() == 2)
        until(mesh, lambda: sum("1 behind" in line for line in rows().values()) == 1)
        assert rows()[frozen].startswith("!")
        assert "  1 behind" in rows()[frozen]
        assert mesh.meshware(*words).returncode == 0  # it may be about to follow
    finally:
        os.kill(frozen, signal.SIGCONT)
    until(mesh, lambda: {each["state"] for each in mesh.workers()} == {"current"})
    assert not any("behind" in line for line in rows().values())


def test_reports_of_real_workers_keep_within_the_bounds_of_their_types(mesh):
    """What the daemon refuses of liars, honest workers never write."""
    survey = ReportReader(mesh.daemon.run_dir / "reports").read()
    assert survey.unreadable == 0
    assert len(survey.live) == 3
    assert all(isinstance(report.vitals, Vitals) for report in survey.live)


LOOPS = {"asyncio": "asyncio.unix_events", "uvloop": "uvloop"}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_is_blocked_is_seen_while_it_is(mesh, tmp_path, loop):
    """By real uvicorn: its worker says so itself, from another thread."""
    port = free_port()
    command = ["uvicorn", "--loop", loop, "--port", str(port), "vital_app:application_asgi"]
    environment = {
        "MESH_CONFIG": str(mesh.daemon.policy_file),
        "MESH_WORKLOAD": "default/web",
        "PYTHONPATH": f"{SUPPORT}:{ROOT}",
    }
    server = Running(command, tmp_path, port, environment)

    def told() -> dict:
        return next((w for w in mesh.workers("web") if w["pid"] == server.popen.pid), {})

    try:
        server.wait_for(server.is_answering, "answer")
        assert server.get("/").body == LOOPS[loop]
        until(mesh, lambda: told().get("lag_of") == "loop")
        assert told()["server"] == "uvicorn"
        blocked = threading.Thread(target=server.get, args=("/block",))
        blocked.start()
        until(mesh, lambda: "event loop lags" in told().get("troubles", ()))
        assert told()["lag_s"] > 0.1
        assert told()["in_flight"] == 1
    finally:
        (tmp_path / "go").write_text("")
        server.end()
    blocked.join()
