"""What end-to-end tests of the daemon and its commands share: readers, editors, and killers."""

from __future__ import annotations

import atexit
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sync_world
from sync_world import PATIENCE_S, RunningDaemon, made_places

from meshware.clock import SystemClock
from meshware.policy.file import parse_header
from meshware.runtime.policy_file import open_policy_file, trusted_owners
from meshware.syncd.publish import Publisher

_MARK = re.compile(rb"mark-(\d+)")


def temporaries(root: Path) -> list[str]:
    """The temporary files that lie in run and state directory now."""
    return sorted(path.name for place in ("run", "state") for path in (root / place).rglob("*.tmp"))


# --- versions that can be told apart --------------------------------------------------------------


def marked_policy(version: int, resources: int = 20) -> str:
    """Policy of which every resource says the same version."""
    return "---\n".join(
        f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop-{number}}}
spec:
  hosts: [shop-{number}.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 10.0.0.1, labels: {{version: mark-{version}}}}}]
"""
        for number in range(resources)
    )


def marked_records(version: int) -> dict[str, bytes]:
    """Records of which every one says the same version, for whoever publishes without YAML."""
    filling = "x" * 200
    return {
        f"svc/{number}": b'{"says":"mark-%d","filling":"%s"}' % (version, filling.encode())
        for number in range(200)
    }


class Editor(threading.Thread):
    """Replaces a file of policy again and again, each time by a later version."""

    def __init__(self, path: Path, text: Callable[[int], str], every_s: float = 0.02) -> None:
        super().__init__(daemon=True)
        self.version = 0
        self._path = path
        self._text = text
        self._every_s = every_s
        self._is_over = threading.Event()

    def run(self) -> None:
        """Edit until told to end."""
        while not self._is_over.wait(self._every_s):
            self.edit()

    def edit(self) -> None:
        """Make one edit, as an editor saves a file: beside it, and moved into place."""
        self.version += 1
        beside = self._path.with_name(f".{self._path.name}.swp")
        beside.write_text(self._text(self.version), encoding="utf-8")
        beside.replace(self._path)

    def __enter__(self) -> Editor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()


class PolicyWatcher(threading.Thread):
    """Reads a policy file over and over, as workers do, and notes all that no reader may see.

    Attributes:
        wrong: each thing that was wrong.
        reads: how often the file was read whole.
        generations: what each generation said: its mark, and the digest of its index.
    """

    def __init__(self, path: Path, least_marks: int) -> None:
        super().__init__(daemon=True)
        self.wrong: list[str] = []
        self.reads = 0
        self.generations: dict[int, tuple[bytes, str]] = {}
        self._path = path
        self._least_marks = least_marks
        self._is_over = threading.Event()

    def run(self) -> None:
        """Read until told to end; the file may be absent until it is seen first."""
        while not self._is_over.wait(0.002) and len(self.wrong) < 10:
            try:
                self._read()
            except FileNotFoundError:
                if self.generations:
                    self.wrong.append("the file is absent")
            except Exception as error:
                self.wrong.append(repr(error))

    def _read(self) -> None:
        records = open_policy_file(self._path, trusted_owners(None))
        keys = list(records.keys())
        marks = Counter(mark for key in keys for mark in _MARK.findall(records.get(key) or b""))
        generation = records.header.generation
        if len(marks) != 1 or marks.total() < self._least_marks:
            self.wrong.append(f"generation {generation} has marks {dict(marks)}")
            return
        says = (next(iter(marks)), records.header.index_sha256)
        newest = max(self.generations, default=0)
        if generation < newest:
            self.wrong.append(f"generation {generation} came after {newest}")
        if self.generations.setdefault(generation, says) != says:
            self.wrong.append(f"generation {generation} says two things")
        self.reads += 1

    def __enter__(self) -> PolicyWatcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self.join(PATIENCE_S)
        assert not self.is_alive()


# --- publishers that are killed -------------------------------------------------------------------


def kill_publishers(root: Path, kills: int, seed: int) -> Iterator[dict[str, Any]]:
    """Fork publishers that publish without a pause, and kill each at a random point of that.

    For a process of its own, without threads. Yields what was found after each kill, and by the
    publisher that came after it.
    """
    draw = random.Random(seed)
    places = made_places(root)
    publish_s = _length_of_a_publish(Publisher(places, SystemClock()))
    parent = os.getpid()
    for number in range(kills):
        ready, say_ready = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                _publish_until_orphaned(root, places, say_ready, parent)
            finally:
                os._exit(1)
        os.close(say_ready)
        with os.fdopen(ready, "rb") as pipe:
            after_start = json.loads(pipe.readline())
            time.sleep(draw.uniform(0, 2 * publish_s))
            os.kill(child, signal.SIGKILL)
            _, ended = os.waitpid(child, 0)
        yield {
            "kill": number,
            "was_killed": os.WIFSIGNALED(ended) and os.WTERMSIG(ended) == signal.SIGKILL,
            "left_over_after_start": after_start,
            "left_over_after_kill": temporaries(root),
            "is_between_copy_and_file": _generation(places.last_file)
            > _generation(places.policy_file),
        }


def _publish_until_orphaned(root: Path, places: Any, say_ready: int, parent: int) -> None:
    publisher = Publisher(places, SystemClock())
    version = 1000 * (publisher.current.generation if publisher.current else 0)
    _publish(publisher, version)
    os.write(say_ready, json.dumps(temporaries(root)).encode() + b"\n")
    while os.getppid() == parent:
        version += 1
        _publish(publisher, version)


def _publish(publisher: Publisher, version: int) -> None:
    records = marked_records(version)
    assert publisher.publish(records, trust_domain="cluster.local", source="tests")


def _length_of_a_publish(publisher: Publisher, times: int = 20) -> float:
    began = time.monotonic()
    for version in range(times):
        _publish(publisher, version)
    return (time.monotonic() - began) / times


def _generation(path: Path) -> int:
    return parse_header(path.read_bytes().partition(b"\n")[0]).generation


_KILLER = """
import json, sys
from pathlib import Path
from daemons import kill_publishers

root, kills, seed = sys.argv[1:]
for found in kill_publishers(Path(root), int(kills), int(seed)):
    print(json.dumps(found), flush=True)
"""


def killed_publishers(root: Path, kills: int, seed: int) -> list[dict[str, Any]]:
    """What `kill_publishers` finds, run in a process of its own."""
    support = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _KILLER, str(root), str(kills), str(seed)],
        env=clean_environ({"PYTHONPATH": str(support)}),
        capture_output=True,
        text=True,
        timeout=240,  # a few seconds, on a machine that does nothing else
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


# --- commands -------------------------------------------------------------------------------------


def meshware(
    *arguments: str | Path,
    stdin: bytes = b"",
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end."""
    return subprocess.run(
        command_line(arguments),
        input=stdin,
        capture_output=True,
        env=clean_environ(environ),
        cwd=cwd,
        timeout=PATIENCE_S,
        check=False,
    )


def command_line(arguments: Sequence[str | Path]) -> list[str]:
    """How `meshware` is started, where any warning ends it."""
    return [sys.executable, "-W", "error", "-m", "meshware", *map(str, arguments)]


def clean_environ(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without the mesh's, and what is given."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    return {**ours, **compiled_once(), **(environ or {})}


@functools.cache
def compiled_once() -> dict[str, str]:
    """Settings under which a hundred processes compile each module once, and not beside it."""
    place = tempfile.mkdtemp(prefix="meshware-tests-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": place}


@contextmanager
def running(root: Path, *arguments: str, **options: Any) -> Iterator[RunningDaemon]:
    """A running daemon that starts quickly, which is ended."""
    with sync_world.running(root, *arguments, environ=compiled_once(), **options) as daemon:
        yield daemon


@contextmanager
def mode(path: Path, bits: int) -> Iterator[None]:
    """A file or directory with other rights for a while."""
    before = path.stat().st_mode
    path.chmod(bits)
    try:
        yield
    finally:
        path.chmod(before)
