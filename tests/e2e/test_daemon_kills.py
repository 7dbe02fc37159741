"""A daemon that is killed at any instant: readers never notice, and nothing is left behind."""

from __future__ import annotations

import random
import time

import pytest
from daemons import Editor, PolicyWatcher, killed_publishers, marked_policy, running, temporaries
from sync_world import PATIENCE_S, RunningDaemon, made_places

from meshware.clock import SystemClock
from meshware.syncd.places import settle_places
from meshware.syncd.publish import Publisher

KILLS = 200
DAEMON_KILLS = 8
SEED = 20240711  # so that a failure can be tried again; the machine adds chance of its own
RESOURCES = 20


# --- the publisher, killed within a write ---------------------------------------------------------


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """Two hundred publishers that were killed, and what a reader saw meanwhile."""
    root = tmp_path_factory.mktemp("kills")
    with PolicyWatcher(root / "run" / "policy.mesh", least_marks=200) as watcher:
        found = killed_publishers(root, KILLS, SEED)
    return root, found, watcher


def test_the_kills_hit_publishers_within_a_write(killed):
    """Else nothing would have been shown: every publisher died of its kill, many half-way."""
    _, found, watcher = killed
    assert len(found) == KILLS
    assert all(kill["was_killed"] for kill in found)
    assert sum(bool(kill["left_over_after_kill"]) for kill in found) >= 10
    assert sum(kill["is_between_copy_and_file"] for kill in found) >= 5
    assert watcher.reads > KILLS / 2
    assert len(watcher.generations) > KILLS / 4


def test_no_reader_sees_a_torn_mixed_older_or_absent_file(killed):
    """What a reader opens is one version, whole, and never older than what it opened before."""
    _, _, watcher = killed
    assert watcher.wrong == []


def test_the_next_publisher_leaves_no_temporary_file(killed):
    """A start clears away what the killed one left, and a publish leaves nothing of its own."""
    _, found, _ = killed
    left = [kill for kill in found if kill["left_over_after_start"]]
    assert left == []


def test_a_publisher_goes_on_after_the_last_kill(killed):
    """No kill leaves anything that stands in the way: the next generation is a later one."""
    root, _, watcher = killed
    places = settle_places([root / "mesh"], root / "run", root / "state")
    publisher = Publisher(places, SystemClock())
    assert temporaries(root) == []
    assert publisher.publish({"mesh": b'"new"'}, trust_domain="cluster.local", source="tests")
    assert publisher.current is not None
    assert publisher.current.generation > max(watcher.generations)
    assert temporaries(root) == []


# --- the daemon itself, killed under edits that never stop ----------------------------------------


def kill_at_random(daemon: RunningDaemon, draw: random.Random) -> None:
    """Kill a daemon at any instant of its work."""
    time.sleep(draw.uniform(0, 0.6))  # longer than from one publish to the next
    daemon.popen.kill()
    daemon.popen.wait(PATIENCE_S)


def kill_within_a_write(daemon: RunningDaemon) -> None:
    """Kill a daemon as soon as a temporary file is seen."""
    until = time.monotonic() + PATIENCE_S
    while not temporaries(daemon.root):
        assert daemon.popen.poll() is None, daemon.err()
        assert time.monotonic() < until, "the daemon writes nothing"
    daemon.popen.kill()
    daemon.popen.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
    """Daemons were killed under continuous edits; then edits ended, and one more was started."""
    root = tmp_path_factory.mktemp("daemons")
    places = made_places(root)
    source = root / "mesh" / "shop.yaml"
    source.write_text(marked_policy(0, RESOURCES), encoding="utf-8")
    draw = random.Random(SEED)
    hits = 0
    with PolicyWatcher(places.policy_file, least_marks=RESOURCES) as watcher:
        with Editor(source, lambda version: marked_policy(version, RESOURCES)) as editor:
            for number in range(DAEMON_KILLS):
                with running(root) as daemon:
                    start = daemon.generation()
                    daemon.wait_for(lambda daemon=daemon, start=start: daemon.generation() > start)
                    if number % 2:
                        kill_within_a_write(daemon)
                    else:
                        kill_at_random(daemon, draw)
                hits += bool(temporaries(root))
        with running(root) as daemon:
            newest = b"mark-%d" % editor.version
            daemon.wait_for(lambda: newest in daemon.records())
            daemon.wait_for(lambda: (said := daemon.status_yet()) and said.pid == daemon.popen.pid)
            left = temporaries(root)
            code = daemon.end()
    return daemon, watcher, hits, (left, code)


def test_the_kills_hit_daemons_at_work(survived):
    """Else nothing would have been shown: each daemon published, and some died while writing."""
    _, watcher, hits, _ = survived
    assert hits >= 1
    assert len(watcher.generations) > DAEMON_KILLS
    assert watcher.reads > DAEMON_KILLS


def test_no_worker_sees_that_daemons_are_killed(survived):
    """The file stays whole, in place, and goes forward only, over all daemons."""
    _, watcher, _, _ = survived
    assert watcher.wrong == []


def test_the_last_daemon_publishes_the_last_edit_and_clears_away(survived):
    """A start needs no help after a kill, and removes what the killed daemons left."""
    daemon, _, _, (left, code) = survived
    assert left == []
    assert code == 0
    assert temporaries(daemon.root) == []
    assert daemon.err() == ""
