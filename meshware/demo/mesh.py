"""The demo's daemon: started, asked what it published, and waited for."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from meshware.demo.processes import Processes, clean_environment
from meshware.errors import SettingsError
from meshware.runtime.reporter import Report
from meshware.syncd.status import Status, read_status

__all__ = ["Daemon"]

START_S = 20.0
FOLLOW_S = 10.0  # a publish takes a second at most; the rest is for a busy machine


class Daemon:
    """`meshware sync`, as anybody would run it.

    Args:
        source: the policy directory.
        run_dir: where policy is published and workers report.
        state_dir: the daemon's own.
        processes: what starts it, and ends it at last.
    """

    def __init__(self, source: Path, run_dir: Path, state_dir: Path, processes: Processes) -> None:
        self.policy_file = run_dir / "policy.mesh"
        self._source = source
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._processes = processes

    def start(self) -> None:
        """Start it, and wait for its first publish.

        Raises:
            SettingsError: it ended, or published nothing in time.
        """
        self._processes.start(
            "meshware-sync",
            "meshware",
            [
                "sync",
                "--source", str(self._source),
                "--run-dir", str(self._run_dir),
                "--state-dir", str(self._state_dir),
                "--listen", "127.0.0.1:0",
            ],
            environ=clean_environment(os.environ),
        )  # fmt: skip
        self._wait("published nothing", START_S, self.policy_file.exists)

    def dashboard(self) -> str:
        """Return the address of its dashboard.

        Raises:
            SettingsError: it does not say so in time, or ended.
        """
        self._wait("does not say where it listens", START_S, lambda: self._listens() is not None)
        return f"http://{self._listens()}/"

    def generation(self) -> int:
        """Return the generation that is published; 0 for none."""
        status = self._status()
        return (status.generation or 0) if status is not None else 0

    def wait_until_followed(self, *, after: int) -> None:
        """Wait until a generation later than `after` is published and every worker applied it.

        Raises:
            SettingsError: that took too long, or a process ended.
        """

        def is_followed() -> bool:
            published = self.generation()
            return published > after and all(
                (report.generation or 0) >= published for report in self._reports()
            )

        self._wait("did not publish the edit to every worker", FOLLOW_S, is_followed)

    def wait_until_refused(self) -> str:
        """Wait until the daemon has refused the sources; return its first reason.

        Raises:
            SettingsError: it did not, or a process ended.
        """

        def is_refused() -> bool:
            status = self._status()
            return status is not None and status.refused is not None

        self._wait("did not refuse the broken edit", FOLLOW_S, is_refused)
        status = self._status()
        assert status is not None and status.refused is not None
        errors = [each for each in status.refused.problems if each.severity == "error"]
        if not errors:
            return status.refused.reason
        return f"{Path(errors[0].file or '').name}:{errors[0].line}: {errors[0].message}"

    # --- inside -------------------------------------------------------------------------------

    def _listens(self) -> str | None:
        status = self._status()
        return None if status is None else status.listen

    def _status(self) -> Status | None:
        return read_status(self._run_dir / "status.json")

    def _reports(self) -> list[Report]:
        reports = []
        for path in self._run_dir.glob("reports/*/*/*.json"):
            try:
                reports.append(msgspec.json.decode(path.read_bytes(), type=Report))
            except FileNotFoundError:
                continue  # its worker has ended in between
        return reports

    def _wait(self, complaint: str, most_s: float, is_over: Callable[[], bool]) -> None:
        give_up = time.monotonic() + most_s
        while not is_over():
            self._processes.check()
            if time.monotonic() > give_up:
                raise SettingsError(f"meshware sync {complaint} within {most_s:.0f} s")
            time.sleep(0.05)
