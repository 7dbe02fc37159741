"""How the daemon starts and ends: what it remembers, what it refuses to begin, how it is ended."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import time

import pytest
from daemons import marked_policy, meshware, running, temporaries
from sync_world import BROKEN, header_of, made_places, service


@pytest.fixture
def root(tmp_path):
    """A place with a source of one service, `mesh/shop.yaml`."""
    made_places(tmp_path)
    return tmp_path


def sync(root, *arguments):
    """Run `meshware sync` on the usual places, to its end."""
    places = ["--run-dir", root / "run", "--state-dir", root / "state"]
    return meshware("sync", "--source", root / "mesh", *places, *arguments)


def complaint(done) -> str:
    """The one sentence of a command that could not start."""
    assert done.returncode == 2, done
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


# --- one run, and its exit codes ------------------------------------------------------------------


def test_once_publishes_and_ends_with_0(root):
    """Scripts wait for the exit code: published, and up to date already, are both fine."""
    done = sync(root, "--once")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"published generation 1: 1 resource\n"
    again = sync(root, "--once")
    assert (again.returncode, again.stderr) == (0, b"")
    assert again.stdout == b"generation 1 is up to date with the sources: 1 resource\n"
    assert header_of(root / "run" / "policy.mesh").generation == 1


def test_once_ends_with_1_on_findings_and_leaves_the_file(root):
    """Refused policy fails a script, and what was published stays."""
    assert sync(root, "--once").returncode == 0
    before = (root / "run" / "policy.mesh").read_bytes()
    broken = root / "mesh" / "broken.yaml"
    broken.write_text(BROKEN, encoding="utf-8")
    done = sync(root, "--once")
    assert (done.returncode, done.stdout) == (1, b"")
    assert f"{broken}:6: " in done.stderr.decode()
    assert done.stderr.decode().endswith("refused: 1 error; generation 1 stays in force\n")
    assert (root / "run" / "policy.mesh").read_bytes() == before


# --- what it remembers ----------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["run", "state"])
def test_generations_go_on_where_one_of_its_directories_was_lost(root, lost):
    """Workers refuse a number that goes back, so it is kept in two places."""
    for version in range(1, 3):
        (root / "mesh" / "shop.yaml").write_text(marked_policy(version), encoding="utf-8")
        assert sync(root, "--once").returncode == 0
    shutil.rmtree(root / lost)
    (root / "mesh" / "shop.yaml").write_text(marked_policy(3), encoding="utf-8")
    with running(root) as daemon:
        daemon.wait_for(lambda: daemon.generation() >= 3)
        assert b"mark-3" in daemon.records()
        assert daemon.generation() == 3
        assert daemon.err() == ""


@pytest.mark.parametrize(
    ("source", "is_run_dir_lost"),
    [("broken", False), ("broken", True), ("missing", True)],
    ids=["broken", "broken, and run lost", "missing, and run lost"],
)
def test_it_starts_with_the_last_policy_where_the_source_cannot_be_used(
    root, source, is_run_dir_lost
):
    """After a reboot the last good policy is served, whatever became of its source since."""
    assert sync(root, "--once").returncode == 0
    if is_run_dir_lost:
        shutil.rmtree(root / "run")
    shop = root / "mesh" / "shop.yaml"
    if source == "broken":
        shop.write_text(BROKEN, encoding="utf-8")
    else:
        shutil.rmtree(root / "mesh")
    with running(root) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.refused)
        assert b"shop.example.com" in daemon.records()
        assert daemon.generation() == (2 if is_run_dir_lost else 1)
        daemon.wait_for(lambda: "the sources cannot be used" in daemon.out())
        named = str(shop if source == "broken" else root / "mesh")
        daemon.wait_for(lambda: named in daemon.err())

        (root / "mesh").mkdir(exist_ok=True)
        shop.write_text(service("late"), encoding="utf-8")
        daemon.wait_for(lambda: b"late.example.com" in daemon.records())


# --- what it refuses to begin ---------------------------------------------------------------------


def test_a_second_daemon_on_the_same_run_directory_ends_with_one_sentence(root):
    """Two writers would publish against each other; the first one does not notice."""
    with running(root) as daemon:
        daemon.wait_for(daemon.generation)
        said = complaint(sync(root, "--listen", "off"))
        assert f"another daemon (pid {daemon.popen.pid}) publishes into {root / 'run'}" in said
        assert complaint(sync(root, "--once")) == said
        assert daemon.end() == 0
        assert daemon.err() == ""


def test_a_state_directory_in_the_run_directory_is_refused(root):
    """Workers read the run directory, and must not read keys."""
    state = root / "run" / "state"
    said = complaint(sync(root, "--once", "--state-dir", state))
    assert f"the state directory {state} lies in the run directory" in said
    assert not state.exists()


def test_a_port_that_is_taken_is_one_sentence(root):
    """Nothing is published by a daemon that did not start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = complaint(sync(root, "--listen", address))
    assert f"cannot listen on {address}: address already in use" in said
    assert not (root / "run" / "policy.mesh").exists()


# --- how it ends ----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT], ids=lambda sign: sign.name)
def test_a_signal_ends_it_in_good_order(root, sign):
    """It ends with 0 and without a word, its files stay, and the status says that it ended."""
    with running(root) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.generation == 1)
        published = daemon.records()
        assert daemon.end(sign) == 0
        assert daemon.err() == ""
        assert daemon.records() == published
        ended = daemon.status()
        assert (ended.pid, ended.generation) == (daemon.popen.pid, 1)
        assert ended.ended_at is not None
    done = meshware("status", "--run-dir", root / "run", "--format", "json")
    assert (done.returncode, done.stderr) == (0, b"")
    assert json.loads(done.stdout)["daemon"]["running"] is False


def test_a_signal_at_any_instant_of_the_start_is_silent(root):
    """Service managers may end what they have just begun; the next start is as good as any."""
    with running(root) as daemon:
        start_s = daemon.wait_for(daemon.status_yet)
    for share in (0.2, 0.5, 0.8, 0.95):
        with running(root) as daemon:
            time.sleep(share * start_s)
            assert daemon.end() in {0, -signal.SIGTERM}
        assert daemon.err() == ""
    with running(root) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.pid == daemon.popen.pid)
        assert daemon.generation() == 1
        assert daemon.end() == 0
    assert temporaries(root) == []


def test_a_killed_daemon_is_told_by_status(root):
    """Nobody can write that they were killed; who asks is told all the same."""
    with running(root) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.generation == 1)
        daemon.end(signal.SIGKILL)
    done = meshware("status", "--run-dir", root / "run")
    assert done.returncode == 1
    assert f"does not run: pid {daemon.popen.pid} died, or was killed" in done.stdout.decode()
