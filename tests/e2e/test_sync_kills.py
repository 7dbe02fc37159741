"""The daemon killed at any point of a write: readers see one whole version or another."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sync_world import PATIENCE_S, made_places, running, service

from meshware.runtime.policy_file import open_policy_file, trusted_owners

KILLS = 200
RECORDS = 400  # of a kilobyte: a write takes a while

# Forks publishers and kills them, from a process without threads.
KILLER = f"""
import json, os, random, signal, sys, time
from pathlib import Path
from meshware.clock import SystemClock
from meshware.syncd.places import settle_places
from meshware.syncd.publish import Publisher

root, count = Path(sys.argv[1]), int(sys.argv[2])
places = settle_places([root / "mesh"], root / "run", root / "state")

def records(version):
    text = json.dumps(f"{{version}} " + "x" * 1000).encode()
    return {{f"svc/{{n:04}}": text for n in range({RECORDS})}}

def publish(publisher, version):
    publisher.publish(records(version), trust_domain="cluster.local", source="mesh")

def leftovers():
    return [n for place in (root / "run", root / "state") for n in os.listdir(place)
            if n.endswith(".tmp")]

publisher = Publisher(places, SystemClock())
began = time.monotonic()
for version in range(5):
    publish(publisher, version)
took_s = (time.monotonic() - began) / 5
draw, torn = random.Random(4711), 0
for number in range(count):
    ready, tell = os.pipe()
    child = os.fork()
    if child == 0:
        publisher = Publisher(places, SystemClock())
        os.write(tell, b".")
        version = 10 + 100_000 * number
        while True:
            version += 1
            publish(publisher, version)
    os.close(tell)
    os.read(ready, 1)
    os.close(ready)
    time.sleep(draw.random() * 1.5 * took_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    torn += bool(leftovers())
Publisher(places, SystemClock())
print(json.dumps({{"took_s": took_s, "torn": torn, "leftovers": leftovers()}}))
"""


class Reader:
    """Reads a policy file over and over, and remembers what no reader may see."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wrong: list[str] = []
        self.reads = 0
        self.generation = 0
        self._stop = threading.Event()

    def look(self) -> None:
        """Read the whole file once, as an app's follower would, and every record of it."""
        try:
            records = open_policy_file(self.path, trusted_owners(None))
            said = {(records.get(key) or b"").partition(b" ")[0] for key in records.keys("svc/")}
        except Exception as error:
            self.wrong.append(f"{type(error).__name__}: {error}")
            return
        if len(said) > 1:
            self.wrong.append(f"a mixture of {said}")
        if records.header.generation < self.generation:
            self.wrong.append(f"{records.header.generation} behind {self.generation}")
        self.generation = records.header.generation
        self.reads += 1

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stop.is_set() and len(self.wrong) < 10:
            self.look()
            time.sleep(0.0005)

    def stop(self) -> None:
        """Look no more."""
        self._stop.set()


@contextmanager
def reading(path: Path) -> Iterator[Reader]:
    """A reader at work beside the test."""
    reader = Reader(path)
    thread = threading.Thread(target=reader.run)
    thread.start()
    try:
        yield reader
    finally:
        reader.stop()
        thread.join(PATIENCE_S)


def test_a_publisher_killed_at_200_points_of_a_write_leaves_a_whole_file(tmp_path):
    """Neither torn nor mixed nor older nor absent; the next start takes away what was begun."""
    places = made_places(tmp_path)
    subprocess.run(
        [sys.executable, "-c", KILLER, tmp_path, "0"], check=True, capture_output=True, timeout=60
    )
    with reading(places.policy_file) as reader:
        done = subprocess.run(
            [sys.executable, "-c", KILLER, tmp_path, str(KILLS)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert reader.wrong == []
    assert reader.reads > 100
    assert told["torn"] > KILLS / 10, "too few were killed in the middle"
    assert told["leftovers"] == []
    assert reader.generation > KILLS / 10


def test_a_daemon_killed_under_edits_goes_on_where_it_was(tmp_path):
    """The whole daemon, at random instants; what it had begun is gone after the next start."""
    places = made_places(tmp_path)
    draw = random.Random(42)
    edits = threading.Event()

    def edit() -> None:
        number = 0
        while not edits.wait(0.02):
            number += 1
            text = service("shop", f"10.0.{number // 250 % 250}.{1 + number % 250}")
            (tmp_path / "mesh" / "shop.yaml").write_text(text, encoding="utf-8")

    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: daemon.generation() > 0)
    editor = threading.Thread(target=edit)
    editor.start()
    try:
        with reading(places.policy_file) as reader:
            for _ in range(6):
                with running(tmp_path) as daemon:
                    before = daemon.generation()
                    daemon.wait_for(lambda: daemon.generation() > before)  # noqa: B023
                    time.sleep(draw.random() * 0.6)
                    daemon.popen.send_signal(signal.SIGKILL)
                    daemon.popen.wait(PATIENCE_S)
    finally:
        edits.set()
        editor.join(PATIENCE_S)
    assert reader.wrong == []
    assert reader.generation >= 6
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: (now := daemon.status()) and now.pid == daemon.popen.pid)
        assert daemon.generation() >= reader.generation
        left = [p.name for p in (*places.run_dir.rglob("*.tmp"), *places.state_dir.rglob("*.tmp"))]
        assert left == []
        assert daemon.end() == 0
