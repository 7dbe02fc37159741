"""`meshware demo`: the shop of examples/ through the mesh, every step as expected."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

COMMAND = [sys.executable, "-m", "meshware", "demo"]


def surroundings() -> dict[str, str]:
    """This process' environment, without what another mesh has set in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}


@pytest.fixture(scope="module")
def outcome() -> subprocess.CompletedProcess[str]:
    """The demo, run once as programs run it."""
    return subprocess.run(
        [*COMMAND, "--format", "json"],
        check=False,
        capture_output=True,
        text=True,
        env=surroundings(),
        timeout=150,
    )


def test_every_step_is_as_expected(outcome):
    """Exit code 0, and nothing but 0, says that what was seen is what policy says."""
    told = json.loads(outcome.stdout) if outcome.stdout else {}
    wrong = [
        f"{step['title']}: {row}"
        for step in told.get("steps", [])
        for row in step["rows"]
        if not row["ok"]
    ]
    assert (outcome.returncode, wrong) == (0, []), outcome.stderr
    assert told["ok"] is True


def test_it_shows_what_the_mesh_is_for(outcome):
    """Identities, canary, users, retries, time-outs, rules, a broken edit: a step for each."""
    titles = [step["title"] for step in json.loads(outcome.stdout)["steps"]]
    assert len(titles) == 9
    assert all(step["rows"] for step in json.loads(outcome.stdout)["steps"])


def test_it_ends_by_naming_the_dashboard(outcome):
    assert re.search(r"dashboard .* was at http://127\.0\.0\.1:\d+/", outcome.stderr)


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGHUP], ids=["terminated", "hung up"])
def test_an_interrupted_demo_leaves_no_process_behind(tmp_path, sign):
    """SIGTERM from whoever started it, a terminal that closes: every server it started ends too."""
    # Whoever runs the tests may have been started with it ignored, as by `nohup`: children inherit.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with (tmp_path / "out").open("wb") as out:
        demo = subprocess.Popen(
            COMMAND,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**surroundings(), "TMPDIR": str(tmp_path)},
        )
        signal.signal(signal.SIGHUP, before)
        try:
            give_up = time.monotonic() + 60
            while len(children_of(demo.pid)) < 8 and time.monotonic() < give_up:
                assert demo.poll() is None, (tmp_path / "out").read_text()
                time.sleep(0.1)
            children = children_of(demo.pid)
            assert len(children) >= 8, "a daemon, a page and six services"
            demo.send_signal(sign)
            assert demo.wait(30) == 130
        finally:
            demo.kill()
            demo.wait()
    give_up = time.monotonic() + 10
    while any(map(is_running, children)) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not [pid for pid in children if is_running(pid)]
    assert list(tmp_path.glob("meshware-demo-*")) == []


def children_of(pid: int) -> list[int]:
    """The direct children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(word) for word in file.read().split()]
    except FileNotFoundError:
        return []


def is_running(pid: int) -> bool:
    """Whether a process is there, and is no zombie."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
