"""The demo's processes: each in a session of its own, ended by its id, in bounded time."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meshware.demo.interrupts import Interrupts
from meshware.errors import SettingsError

__all__ = ["Process", "Processes", "clean_environment", "listen"]

GRACE_S = 5.0  # between asking a process to end and ending it

# Settings of the user's own servers and proxies, which would reach into the demo's.
_NOT_OURS = {"WEB_CONCURRENCY", "GUNICORN_CMD_ARGS", "FORWARDED_ALLOW_IPS", "SCRIPT_NAME"}


def clean_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without what would change how the demo's servers and clients behave."""
    return {
        name: value
        for name, value in environ.items()
        if name not in _NOT_OURS
        and not name.startswith(("MESH_", "SHOP_", "UVICORN_", "FLASK_"))
        and not name.lower().endswith("_proxy")
    }


def listen() -> socket.socket:
    """Return a socket that listens on a free port of 127.0.0.1.

    The server inherits it, so nobody can take the port between choosing and using it.
    """
    return socket.create_server(("127.0.0.1", 0), backlog=256)


@dataclass(slots=True)
class Process:
    """A running process and where it writes what it has to say."""

    name: str
    popen: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """Return the end of its log, for an error message."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return "\n".join(f"    {line}" for line in lines[-12:])


class Processes:
    """Starts processes, and ends all that it started. A context manager.

    Args:
        logs: the directory for what they say.
        interrupts: held back while one is started, and while all are ended.
    """

    def __init__(self, logs: Path, interrupts: Interrupts) -> None:
        self._logs = logs
        self._interrupts = interrupts
        self._running: list[Process] = []

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        inherit: socket.socket | None = None,
    ) -> Process:
        """Start `python -m module arguments...`, writing to a log of its own.

        Args:
            inherit: a listening socket, handed over under its own number and closed here.
        """
        log = self._logs / f"{name}.log"
        fds = (inherit.fileno(),) if inherit else ()
        with log.open("wb") as file, self._interrupts.held():
            popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(environ),
                cwd=self._logs,
                pass_fds=fds,
                # A Ctrl-C at the terminal reaches the demo alone, which then ends them in order.
                start_new_session=True,
            )
            process = Process(name, popen, log)
            self._running.append(process)
        if inherit:
            inherit.close()
        return process

    def check(self) -> None:
        """Raise if any process has ended by itself.

        Raises:
            SettingsError: one has; the message has the end of its log.
        """
        for process in self._running:
            code = process.popen.poll()
            if code is not None:
                raise SettingsError(
                    f"{process.name} ended with exit code {code}; the end of its log:\n"
                    f"{process.last_words()}"
                )

    def stop(self) -> None:
        """End all of them, the last one first: ask, wait, then end their whole sessions."""
        with self._interrupts.held():
            self._stop()

    def _stop(self) -> None:
        running = [process for process in reversed(self._running) if process.popen.poll() is None]
        for process in running:
            process.popen.terminate()
        give_up = time.monotonic() + GRACE_S
        for process in running:
            try:
                process.popen.wait(max(0.0, give_up - time.monotonic()))
            except subprocess.TimeoutExpired:
                try:
                    os.killpg(process.popen.pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it ended in between
                process.popen.wait()
        self._running.clear()
