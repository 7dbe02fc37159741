"""Workers' reports, as the daemon and `meshware status` see them: claims, whatever they hold."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import time
import urllib.request
from pathlib import Path

import pytest
from command_forge import NOBODY, PATIENCE_S, Forge, Started, forging
from sync_runs import SYNC, daemon, write
from sync_world import service

from meshware.policy.file import MAX_GENERATION

WORKLOAD = """\
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web}
spec: {address: 10.0.0.9, labels: {app: web}}
"""

# An app's process: it follows policy and reports, and does nothing else.
APP = """
import time
from meshware.runtime.mesh import Mesh

Mesh.from_env().start()
time.sleep(600)
"""

# A liar: it holds the lock that shows that it lives, and its report says what it was given.
LIAR = """
import fcntl, os, sys, time
directory, worker, report = sys.argv[1:]
lock = os.open(f"{directory}/{worker}.lock", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(lock, fcntl.LOCK_EX)
with open(f"{directory}/{worker}.json", "wb") as file:
    file.write(sys.stdin.buffer.read())
print("lies", flush=True)
time.sleep(600)
"""


def policy(number: int) -> str:
    """A service that says a number, and a workload."""
    return service("shop", f"10.0.0.{number}") + WORKLOAD


@pytest.fixture
def place(tmp_path):
    """A directory with a source."""
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", policy(1))
    return tmp_path


@pytest.fixture
def forge(place):
    """A maker of processes."""
    with forging(place) as made:
        yield made


def app(forge: Forge) -> Started:
    """A worker of the workload."""
    environ = {
        "MESH_CONFIG": "run/policy.mesh",
        "MESH_WORKLOAD": "default/web",
        "MESH_ADDRESS": "10.0.0.9",
        "MESH_PORT": "8000",
    }
    return forge.start(program=APP, environ=environ)


def seen(forge: Forge) -> dict:
    """What `meshware status` tells programs."""
    return forge.run("status", "--run-dir", "run", "--format", "json").json()


def wait_for_workers(forge: Forge, *states: str) -> list[dict]:
    """Wait until the workers that are seen are in these states."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        workers = seen(forge)["workers"]
        if sorted(worker["state"] for worker in workers) == sorted(states):
            return workers
        assert time.monotonic() < give_up, workers
        time.sleep(0.1)


def test_each_worker_reports_what_it_applied_until_it_is_killed(place, forge):
    """A random id and a locked file of its own for each; what a dead one left is cleared away."""
    with daemon(forge) as made:
        apps = [app(forge), app(forge)]
        workers = wait_for_workers(forge, "current", "current")
        assert {worker["pid"] for worker in workers} == {one.pid for one in apps}
        assert len({worker["id"] for worker in workers}) == 2
        assert all(re.fullmatch("[0-9a-f]{16}", worker["id"]) for worker in workers)
        assert {(w["generation"], w["address"], w["port"]) for w in workers} == {
            (1, "10.0.0.9", 8000)
        }
        directory = place / "run" / "reports" / "default" / "web"
        assert {path.suffix for path in directory.iterdir()} - {".metrics"} == {".json", ".lock"}

        write(place / "mesh" / "shop.yaml", policy(2))
        made.wait_for(lambda: made.generation() == 2)
        workers = wait_for_workers(forge, "current", "current")
        assert {worker["generation"] for worker in workers} == {2}

        apps[0].end(signal.SIGKILL)
        [left] = wait_for_workers(forge, "current")
        assert left["pid"] == apps[1].pid
        made.wait_for(lambda: len({path.stem for path in directory.iterdir()}) == 1)
        apps[1].end(signal.SIGKILL)


def test_a_refusal_is_reported_with_its_reason(place, forge):
    """Whoever looks at the run directory sees which worker does not follow, and why."""
    assert forge.run(*SYNC, "--once").code == 0
    worker = app(forge)
    wait_for_workers(forge, "current")
    path = place / "run" / "policy.mesh"
    whole = path.read_bytes()
    write(path, whole[:-20].decode())
    [refusing] = wait_for_workers(forge, "refuses")
    [refusal] = refusing["refusals"]
    assert refusing["generation"] == 1
    assert "torn" in refusal["reason"] and refusal["subject"] == "policy"
    ended = forge.run("status", "--run-dir", "run")
    assert ended.code == 1
    assert "refuses policy: the policy file is torn" in ended.out

    write(path, whole.decode())
    write(place / "mesh" / "shop.yaml", policy(2))
    assert forge.run(*SYNC, "--once").code == 0
    [current] = wait_for_workers(forge, "current")
    assert current["refusals"] == []
    worker.end(signal.SIGKILL)


def test_workers_that_have_met_a_later_generation_are_caught_up_with(place, forge):
    """Run and state directory were lost together: the workers' own word is all that is left."""
    write(place / "mesh" / "shop.yaml", policy(1))
    for number in (1, 2, 3):
        write(place / "mesh" / "shop.yaml", policy(number))
        forge.run(*SYNC, "--once")
    worker = app(forge)
    wait_for_workers(forge, "current")
    shutil.rmtree(place / "state")
    shutil.rmtree(place / "run")
    with daemon(forge) as made:
        made.wait_for(lambda: made.generation() > 3)
        [current] = wait_for_workers(forge, "current")
        assert current["generation"] == made.generation()
    worker.end(signal.SIGKILL)


EVIL = "\x1b]0;owned\x07\x9b2J\u202e<b>"


def test_what_a_worker_claims_of_its_health_is_legible_everywhere(place, forge):
    """Each text holds what a terminal would obey; all of it is within bounds, so it is believed."""
    directory = place / "run" / "reports" / "default" / "web"
    directory.mkdir(parents=True)
    vitals = {
        "version": EVIL, "python": EVIL, "server": EVIL, "memory_bytes": 2**53, "lag_s": 1e9,
        "lag_of": "loop", "in_flight": 2**53, "applied_s": 0,
        "certificate": {"id": EVIL, "source": EVIL, "from_s": 0, "until_s": 253402300799},
    }  # fmt: skip
    refusals = [{"reason": EVIL, "subject": EVIL}]
    body = claim("a" * 16, 1, vitals=vitals, address=EVIL, refusals=refusals, started_at=EVIL)
    liar = forge.start(directory, "a" * 16, "-", program=LIAR, stdin=body)
    with daemon(forge, "--listen", "127.0.0.1:0") as made:
        made.wait_for(lambda: liar.out() == "lies\n")
        made.wait_for(lambda: seen(forge)["workers"])
        text = forge.run("status", "--run-dir", "run")
        data = forge.run("status", "--run-dir", "run", "--format", "json")
        url = f"http://{made.status().listen}/api/workers"

        def told() -> list[dict]:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["workers"]

        made.wait_for(told)
        for words in (text.out, data.out, json.dumps(told(), ensure_ascii=False)):
            assert words.replace("\n", "").isprintable()
        [worker] = data.json()["workers"]
        escaped = "\\x1b]0;owned\\x07\\x9b2J\\u202e<b>"
        assert worker["version"] == worker["certificate"]["id"] == escaped
        assert "event loop lags" in worker["troubles"]
        assert told()[0]["server"] == escaped
        assert (text.code, data.code) == (1, 1), "it refuses policy"
    liar.end(signal.SIGKILL)


# --- a hostile directory --------------------------------------------------------------------------


def claim(worker: str, generation: object, **more: object) -> bytes:
    """A report of the right form, for a generation."""
    report = {
        "meshware": 1, "reads": [1], "id": worker, "pid": 1, "namespace": "default",
        "workload": "web", "generation": generation, **more,
    }  # fmt: skip
    return json.dumps(report).encode()


def lies() -> dict[str, bytes]:
    """Reports of workers that live, by id; none of their claims can be true."""
    name = "{:016x}".format
    return {
        name(1): claim(name(1), 2**63),
        name(2): claim(name(2), 2**53),
        name(3): claim(name(3), MAX_GENERATION),
        name(4): claim(name(4), -1),
        name(5): claim(name(5), "9"),
        name(6): claim(name(5), 9),
        name(7): b'{"x":' + b"[" * 60_000,
        name(8): b"\xff\xfe\x00",
        name(9): b" " * 10_000_000 + claim(name(9), 9),
        name(10): claim(name(10), 9, namespace="kube-system"),
        name(11): claim(name(11), 9, workload="../../x"),
        name(12): claim(name(12), 9, pid=-1, port=10**9),
        name(13): b"",
        name(14): claim(name(14), 4 * int(time.time())),
    }


def fill(directory: Path) -> None:
    """Put in what workers never do."""
    name = "{:016x}".format
    for number, suffix in ((32, "json"), (33, "lock"), (34, "json")):
        os.mkfifo(directory / f"{name(number)}.{suffix}")
    (directory / f"{name(35)}.json").symlink_to("/dev/zero")
    (directory / f"{name(36)}.lock").symlink_to("/etc/passwd")
    (directory / f"{name(37)}.json").mkdir()
    (directory / f"{name(38)}.lock").mkdir()
    precious = directory.parents[3] / "precious"
    precious.write_text("data", encoding="utf-8")
    os.link(precious, directory / f"{name(39)}.lock")
    os.link(precious, directory / f"{name(39)}.json")
    for number in (32, 34, 35, 37):
        (directory / f"{name(number)}.lock").write_bytes(b"")
    (directory / os.fsdecode(b"\xff\xfe.lock")).write_bytes(b"")
    (directory / ("x" * 250)).write_bytes(b"")
    if os.geteuid() == 0:
        foreign = directory / f"{name(40)}.json"
        foreign.write_bytes(claim(name(40), 9))
        os.chown(foreign, NOBODY, NOBODY)
    reports = directory.parents[1]
    (reports / "linked").symlink_to("/")
    (reports / "default" / "linked").symlink_to("/proc")
    (reports / "default" / "file").write_bytes(b"")
    os.mkfifo(reports / "default" / "pipe")
    (reports / os.fsdecode(b"\xff")).mkdir()
    for number in range(2000):
        (directory / f"junk-{number}").write_bytes(b"")


@pytest.fixture
def hostile(place, forge):
    """A directory of reports as bad as can be, with workers that live and lie."""
    directory = place / "run" / "reports" / "default" / "web"
    directory.mkdir(parents=True)
    liars = [
        forge.start(directory, worker, "-", program=LIAR, stdin=report)
        for worker, report in lies().items()
    ]
    fill(directory)
    give_up = time.monotonic() + PATIENCE_S
    while any(liar.out() != "lies\n" for liar in liars):
        assert time.monotonic() < give_up, [liar.err() for liar in liars]
        time.sleep(0.02)
    yield directory
    for liar in liars:
        with contextlib.suppress(ProcessLookupError):
            liar.end(signal.SIGKILL)


def test_a_hostile_directory_neither_blocks_nor_moves_the_daemon(place, forge, hostile):
    """It publishes each edit within its usual time, under the very next number, and ends."""
    with daemon(forge) as made:
        assert made.generation() == 1
        for number in (2, 3, 4):
            write(place / "mesh" / "shop.yaml", policy(number))
            took = made.wait_for(lambda number=number: made.says(f'"10.0.0.{number}"'))
            assert took < 3.0, "a second, on a machine that does nothing else"
            assert made.generation() == number
        honest = app(forge)
        made.wait_for(lambda: honest.pid in [worker["pid"] for worker in seen(forge)["workers"]])
        assert made.err() == ""
        honest.end(signal.SIGKILL)
    assert (place / "precious").read_text(encoding="utf-8") == "data"


def test_status_tells_of_a_hostile_directory_what_can_be_read(forge, hostile):
    """It ends soon, with what is not to be believed counted and nothing of it shown."""
    assert forge.run(*SYNC, "--once").code == 0
    began = time.monotonic()
    ended = forge.run("status", "--run-dir", "run")
    assert time.monotonic() - began < 5
    assert ended.code in (0, 1) and ended.err == ""
    assert "cannot be read, or is no report" in ended.out
    told = seen(forge)
    assert told["unreadable"] > 10
    assert all(0 <= worker["generation"] <= MAX_GENERATION for worker in told["workers"])


def test_a_liar_that_could_be_right_moves_the_number_once_and_blocks_nothing(place, forge):
    """The boldest claim that is believed: two a second since 1970. Numbers last for ages."""
    directory = place / "run" / "reports" / "default" / "web"
    directory.mkdir(parents=True)
    bold = 2 * int(time.time()) - 10
    liar = forge.start(directory, "a" * 16, "-", program=LIAR, stdin=claim("a" * 16, bold))
    while liar.out() != "lies\n":
        assert liar.is_running(), liar.err()
        time.sleep(0.01)
    with daemon(forge) as made:
        assert made.generation() == bold + 1
        write(place / "mesh" / "shop.yaml", policy(2))
        made.wait_for(lambda: made.says('"10.0.0.2"'))
        assert made.generation() == bold + 2 < MAX_GENERATION // 1_000_000
    liar.end(signal.SIGKILL)
