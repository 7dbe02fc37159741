"""A daemon that a forge started, and how tests watch it: quicker than one Python for each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from command_forge import PATIENCE_S, Ended, Forge, Started
from sync_world import header_of

from meshware.syncd.status import Status, read_status

SYNC = ("sync", "--source", "mesh", "--run-dir", "run", "--state-dir", "state")


class Daemon:
    """`meshware sync` in a place with `mesh/`, `run/` and `state/`."""

    def __init__(self, forge: Forge, *arguments: str, run_dir: str = "run", **how) -> None:
        self.place = forge.place
        self.run_dir = self.place / run_dir
        self.policy_file = self.run_dir / "policy.mesh"
        self.began = time.monotonic()
        words = arguments if arguments[:1] == ("sync",) else (*SYNC, *arguments)
        if "--listen" not in words:
            words = (*words, "--listen", "off")
        self.started: Started = forge.start(*words, **how)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.started.pid

    def out(self) -> str:
        """What it said."""
        return self.started.out()

    def err(self) -> str:
        """What it complained about."""
        return self.started.err()

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

    def says(self, words: str) -> bool:
        """Whether the policy file has these words."""
        try:
            return words.encode() in self.policy_file.read_bytes()
        except FileNotFoundError:
            return False

    def wait_for(self, condition: Callable[[], object], most_s: float = PATIENCE_S) -> float:
        """Wait until something holds, and return how many seconds that took."""
        began = time.monotonic()
        while not condition():
            assert self.started.is_running(), f"the daemon ended:\n{self.out()}{self.err()}"
            waited = time.monotonic() - began
            assert waited < most_s, f"not within {most_s} s:\n{self.out()}{self.err()}"
            time.sleep(0.01)
        return time.monotonic() - began

    def wait_until_ready(self) -> None:
        """Wait until it has said what it serves, and written its status."""
        self.wait_for(lambda: self.out() or self.err())
        self.wait_for(lambda: self._status_pid() == self.pid)

    def end(self, *number: int) -> Ended:
        """End it by a signal."""
        return self.started.end(*number)

    def _status_pid(self) -> int | None:
        status = read_status(self.run_dir / "status.json")
        return None if status is None else status.pid


@contextmanager
def daemon(forge: Forge, *arguments: str, **how) -> Iterator[Daemon]:
    """A daemon that is ready, and is ended in good order."""
    made = Daemon(forge, *arguments, **how)
    made.wait_until_ready()
    yield made
    ended = made.end()
    assert ended.code == 0, ended
    assert "Traceback" not in ended.err


def write(path: Path, text: str) -> None:
    """Save a file as editors do: whole, by renaming."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
