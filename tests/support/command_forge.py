"""Run `meshware` in processes of its own without starting a Python for each of them.

A forge is a Python that has imported the commands. For each command it forks a child, which sets
up what a shell would (streams, directory, environment, user) and calls the command's `main`. So two
hundred daemons can be started and killed within a minute.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
NOBODY = 65534

# Another user may be unable to read the Python that runs all this, so nothing is left for later.
_WARM = """\
import importlib.readers, importlib.resources
import meshware.cli.main, meshware.cli.init, meshware.cli.check, meshware.cli.sync
import meshware.cli.status, meshware.cli.explain, meshware.cli.demo, meshware.demo.run
import meshware.syncd.daemon, meshware.syncd.overview, meshware.policy.load, meshware.policy.records
import meshware.cli.cert, meshware.cli.cert_show, meshware.cli.cert_issue, meshware.cli.cert_rotate
import meshware.ca.found, meshware.ca.given, meshware.ca.identities, meshware.ca.rotate
import meshware.ca.files, meshware.ca.report_places
import meshware.identity.tls, meshware.runtime.svid_files
import http.server, prometheus_client.exposition, watchfiles, yaml, tracemalloc, encodings.idna
"""


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """What it printed, which is one JSON text."""
        return json.loads(self.out)


class Started:
    """A command that was started."""

    def __init__(self, forge: Forge, pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self._forge = forge
        self._out, self._err = out, err
        self._code: int | None = None

    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text(encoding="utf-8", errors="strict")

    def err(self) -> str:
        """What it has complained about so far."""
        return self._err.read_text(encoding="utf-8", errors="strict")

    def is_running(self) -> bool:
        """Whether it still runs."""
        if self._code is None:
            self._code = self._forge.ask({"wait": self.pid, "most_s": 0})
        return self._code is None

    def wait(self, most_s: float = PATIENCE_S) -> Ended:
        """Wait until it has ended."""
        if self._code is None:
            self._code = self._forge.ask({"wait": self.pid, "most_s": most_s})
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            raise AssertionError(f"it does not end:\n{self.out()}{self.err()}")
        return Ended(self._code, self.out(), self.err())

    def end(self, number: int = signal.SIGTERM, most_s: float = PATIENCE_S) -> Ended:
        """End it by a signal, and wait until it has."""
        if self.is_running():
            os.kill(self.pid, number)
        return self.wait(most_s)


class Forge:
    """Starts commands in a place of its own."""

    def __init__(self, place: Path, work: Path) -> None:
        self.place = place
        self._work = work
        work.mkdir(exist_ok=True)
        self._count = 0
        there, self._requests = os.pipe()
        self._answers, back = os.pipe()
        self._popen = subprocess.Popen(
            [sys.executable, __file__, str(there), str(back)],
            stdin=subprocess.DEVNULL,
            pass_fds=(there, back),
        )
        os.close(there)
        os.close(back)

    def ask(self, request: Mapping[str, Any]) -> Any:
        """Have the forge do something."""
        os.write(self._requests, json.dumps(request).encode() + b"\n")
        return _line(self._answers)

    def start(
        self,
        *argv: str | Path,
        stdin: bytes | None = None,
        out: str | None = None,
        environ: Mapping[str, str] | None = None,
        user: int | None = None,
        cwd: Path | None = None,
        program: str | None = None,
    ) -> Started:
        """Start a command; `out` is where standard output goes, `program` runs in its place."""
        self._count += 1
        base = self._work / f"{self._count}"
        for name in ("in", "out", "err"):
            base.with_suffix(f".{name}").write_bytes(stdin or b"" if name == "in" else b"")
        pid = self.ask(
            {
                "argv": [os.fspath(word) for word in argv],
                "stdin": os.fspath(base.with_suffix(".in")) if stdin is not None else os.devnull,
                "stdout": out or os.fspath(base.with_suffix(".out")),
                "stderr": os.fspath(base.with_suffix(".err")),
                "cwd": os.fspath(cwd or self.place),
                "environ": {"XDG_STATE_HOME": f"{self.place}/home", **(environ or {})},
                "user": user,
                "program": program,
            }
        )
        return Started(self, pid, base.with_suffix(".out"), base.with_suffix(".err"))

    def run(self, *argv: str | Path, most_s: float = PATIENCE_S, **how: Any) -> Ended:
        """Start a command, and wait until it has ended."""
        return self.start(*argv, **how).wait(most_s)

    def close(self) -> None:
        """End the forge, and what it started."""
        os.close(self._requests)
        self._popen.wait(PATIENCE_S)
        os.close(self._answers)


@contextlib.contextmanager
def forging(place: Path) -> Iterator[Forge]:
    """A forge, which is ended with all that it started. Its place can be entered by every user."""
    for directory in (place, *place.parents):
        if directory.stat().st_uid == os.geteuid() and not directory.stat().st_mode & 0o001:
            directory.chmod(directory.stat().st_mode | 0o011)
    forge = Forge(place, place.with_name(f"{place.name}.streams"))
    try:
        yield forge
    finally:
        forge.close()


def _line(descriptor: int) -> Any:
    data = b""
    while not data.endswith(b"\n"):
        chunk = os.read(descriptor, 65536)
        if not chunk:
            raise EOFError
        data += chunk
    return json.loads(data)


# --- in the forge ---------------------------------------------------------------------------------


def _serve(requests: int, answers: int) -> bool:
    """Do as asked; returns True in a child that is to run a command."""
    running: set[int] = set()
    while True:
        try:
            request = _line(requests)
        except EOFError:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            return False
        if "wait" in request:
            code = _wait(request["wait"], request["most_s"])
            if code is not None:
                running.discard(request["wait"])
            os.write(answers, json.dumps(code).encode() + b"\n")
            continue
        pid = os.fork()
        if pid == 0:
            os.close(requests)
            os.close(answers)
            _become(request)
            return True
        running.add(pid)
        os.write(answers, b"%d\n" % pid)


def _wait(pid: int, most_s: float) -> int | None:
    give_up = time.monotonic() + most_s
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= give_up:
            return None
        time.sleep(0.002)


def _become(request: Mapping[str, Any]) -> None:
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT
        descriptor = os.open(request[name], flags, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    for name in [name for name in os.environ if name.startswith("MESH_")]:
        del os.environ[name]
    os.environ.update(request["environ"])
    if request["user"] is not None:
        os.setgroups([])
        os.setgid(request["user"])
        os.setuid(request["user"])
    if request["program"]:
        sys.argv = ["program", *request["argv"]]
        exec(compile(request["program"], "program", "exec"), {"__name__": "__main__"})
        sys.exit(0)
    sys.argv = ["meshware", *request["argv"]]


if __name__ == "__main__":
    exec(_WARM)
    if _serve(int(sys.argv[1]), int(sys.argv[2])):
        from meshware.cli.main import main

        main()
