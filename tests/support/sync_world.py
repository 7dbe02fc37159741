"""What tests of the daemon share: small policy, places, and processes to be watched."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from meshware.policy.file import Header, parse_header
from meshware.policy.problems import Problem
from meshware.syncd.places import Places, make_run_dir, make_state_dir, settle_places
from meshware.syncd.status import Status, read_status

PATIENCE_S = 60.0  # of a busy machine; what has a bound of its own measures it


def service(name: str, address: str = "10.0.0.1") -> str:
    """A service with one endpoint."""
    return f"""\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}.example.com]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: {address}}}]
"""


BROKEN = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: broken}
spec:
  hosts: [shop.example.com]
  htpp: []
"""


def made_places(root: Path) -> Places:
    """A source with one service, and run and state directory, all made."""
    source = root / "mesh"
    source.mkdir()
    (source / "shop.yaml").write_text(service("shop"), encoding="utf-8")
    places = settle_places([source], root / "run", root / "state")
    make_run_dir(places)
    make_state_dir(places)
    return places


def header_of(path: Path) -> Header:
    """The header of a policy file."""
    return parse_header(path.read_bytes().partition(b"\n")[0])


@dataclass
class Recorded:
    """An announcer that keeps what it is told."""

    events: list[tuple[str, int | None]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def published(self, generation, resources, problems):
        self.events.append(("published", generation))

    def unchanged(self, generation, resources, problems):
        self.events.append(("unchanged", generation))

    def refused(self, reason, problems, serving):
        self.events.append(("refused", serving))
        self.problems = list(problems)

    def kept(self, generation, why, *, is_republished):
        self.events.append(("republished" if is_republished else "kept", generation))

    def refreshed(self, generation, what):
        self.events.append(("refreshed", generation))

    def rekeyed(self, generation):
        self.events.append(("rekeyed", generation))

    def note(self, sentence):
        self.notes.append(sentence)


# --- processes ------------------------------------------------------------------------------------

_WORKER = """
import sys
from pathlib import Path
from meshware.policy.view import Client
from meshware.runtime.reporter import Reporter

run_dir, namespace, workload, generation = sys.argv[1:]
reporter = Reporter(Path(run_dir), Client(namespace=namespace, name=workload or None))
if generation != "none":
    reporter.applied(int(generation))
for line in sys.stdin:  # one command a line, answered when it is done
    command, _, rest = line.strip().partition(" ")
    if command == "refuse":
        reporter.refused(rest)
    elif command == "miss":
        reporter.key_unknown(rest)
    elif command == "flood":
        for _ in range(1000):
            reporter.key_unknown(rest)
    elif command == "apply":
        reporter.applied(int(rest))
    elif command == "leave":
        reporter.stop()
    if command != "leave":
        reporter.flush_once()
    print("done", flush=True)
"""


class Worker:
    """A process that keeps a report as every worker does, and does what it is told."""

    def __init__(self, run_dir: Path, workload: str = "web", generation: int | None = None) -> None:
        told = "none" if generation is None else str(generation)
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(run_dir), "default", workload, told],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.tell("report")

    def tell(self, command: str) -> None:
        """Have it do something, and wait until that is done."""
        assert self.popen.stdin is not None and self.popen.stdout is not None
        self.popen.stdin.write(f"{command}\n")
        self.popen.stdin.flush()
        assert self.popen.stdout.readline() == "done\n"

    def kill(self) -> None:
        """End it as the kernel does when memory runs out."""
        self.popen.kill()
        self.popen.wait(PATIENCE_S)
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()


@contextmanager
def workers() -> Iterator[Callable[..., Worker]]:
    """A maker of workers, all of which are ended."""
    made: list[Worker] = []

    def make(run_dir: Path, **arguments) -> Worker:
        made.append(Worker(run_dir, **arguments))
        return made[-1]

    try:
        yield make
    finally:
        for worker in made:
            if worker.popen.poll() is None:
                worker.kill()


class RunningDaemon:
    """`meshware sync` in a process of its own."""

    def __init__(
        self,
        root: Path,
        *arguments: str,
        sources: tuple[str, ...] = ("mesh",),
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.root = root
        self.run_dir = root / "run"
        self.policy_file = self.run_dir / "policy.mesh"
        self._out = (root / "out.log").open("ab")
        self._err = (root / "err.log").open("ab")
        options = [word for source in sources for word in ("--source", str(root / source))]
        self.popen = subprocess.Popen(
            [
                sys.executable, "-m", "meshware", "sync", *options,
                "--run-dir", str(self.run_dir), "--state-dir", str(root / "state"),
                "--listen", "127.0.0.1:0", *arguments,
            ],
            stdin=subprocess.DEVNULL, stdout=self._out, stderr=self._err,
            env={**os.environ, **(environ or {})},
        )  # fmt: skip

    def out(self) -> str:
        """What it said."""
        return (self.root / "out.log").read_text(encoding="utf-8")

    def err(self) -> str:
        """What it complained about."""
        return (self.root / "err.log").read_text(encoding="utf-8")

    def status(self) -> Status:
        """What its status file says."""
        status = self.status_yet()
        assert status is not None
        return status

    def status_yet(self) -> Status | None:
        """The same; None: it has written none so far."""
        return read_status(self.run_dir / "status.json")

    def generation(self) -> int:
        """The generation of the policy file; 0 for none."""
        try:
            return header_of(self.policy_file).generation
        except FileNotFoundError:
            return 0

    def records(self) -> bytes:
        """The whole policy file."""
        return self.policy_file.read_bytes()

    def wait_for(self, condition: Callable[[], object], most_s: float = PATIENCE_S) -> float:
        """Wait until something holds, and return how many seconds that took."""
        began = time.monotonic()
        while not condition():
            assert self.popen.poll() is None, f"the daemon ended:\n{self.out()}{self.err()}"
            waited = time.monotonic() - began
            assert waited < most_s, f"not within {most_s} s:\n{self.out()}{self.err()}"
            time.sleep(0.01)
        return time.monotonic() - began

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal, and return its exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        try:
            return self.popen.wait(PATIENCE_S)
        finally:
            self._out.close()
            self._err.close()


@contextmanager
def running(root: Path, *arguments: str, **options) -> Iterator[RunningDaemon]:
    """A running daemon, which is ended."""
    daemon = RunningDaemon(root, *arguments, **options)
    try:
        yield daemon
    finally:
        if daemon.popen.poll() is None:
            daemon.popen.kill()
        daemon.popen.wait(PATIENCE_S)
        daemon.end()
