"""A daemon, an app on gunicorn with two workers and an identity, and somebody who calls it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from typing import Any

from inbound_servers import ROOT, SUPPORT
from run_servers import Running, free_port
from sync_world import RunningDaemon, running

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: app}}
spec: {{address: 127.0.0.1, ports: {{http: {port}}}, serviceAccount: app, labels: {{app: shop}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: web}}
spec: {{address: 127.0.0.1, serviceAccount: web, labels: {{app: web}}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: shop}}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP, targetPort: {port}}}]
  workloadSelector: {{labels: {{app: shop}}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop}}
spec:
  hosts: [shop.default.svc.cluster.local]
  http:
  - retries: {{attempts: 1, retryOn: "503"}}
    route: [{{destination: {{host: shop.default.svc.cluster.local}}}}]
"""

# Calls what it is told to, says what was answered, and lives until its input ends.
_CALLER = """
import sys
import httpx
from meshware.clients.httpx import MeshTransport

client = httpx.Client(transport=MeshTransport(), timeout=30)
for line in sys.stdin:
    print(client.get("http://shop.default" + line.strip()).status_code, flush=True)
"""
PATIENCE_S = 30.0


class Caller:
    """A process of the workload default/web."""

    def __init__(self, policy_file: Path) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _CALLER],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "MESH_CONFIG": str(policy_file), "MESH_WORKLOAD": "default/web",
                 "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def call(self, path: str) -> int:
        """Call the shop. Returns the status."""
        self.begin(path)
        assert self.popen.stdout is not None
        return int(self.popen.stdout.readline())

    def begin(self, path: str) -> None:
        """Call the shop, and do not wait for the answer."""
        assert self.popen.stdin is not None
        self.popen.stdin.write(f"{path}\n")
        self.popen.stdin.flush()

    def end(self) -> None:
        """End it in good order."""
        self.popen.communicate(timeout=PATIENCE_S)


class World:
    """All of them."""

    def __init__(self, daemon: RunningDaemon, server: Running, caller: Caller) -> None:
        self.daemon, self.server, self.caller = daemon, server, caller

    @property
    def url(self) -> str:
        """Where the daemon serves its dashboard."""
        status = self.daemon.status()
        assert status is not None
        return f"http://{status.listen}"

    def meshware(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command until it ends."""
        return subprocess.run(
            [sys.executable, "-m", "meshware", *words],
            check=False, capture_output=True, text=True, timeout=PATIENCE_S, env=environ(),
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """What `meshware status` tells programs."""
        words = ("status", "--run-dir", str(self.daemon.run_dir), "--format", "json")
        told: dict[str, Any] = json.loads(self.meshware(*words).stdout)
        return told

    def workers(self, workload: str = "app") -> list[dict[str, Any]]:
        """What `meshware status` tells programs of a workload's workers."""
        return [each for each in self.status()["workers"] if each["workload"] == workload]

    def top(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `meshware top` until it ends."""
        return self.meshware("top", "--run-dir", str(self.daemon.run_dir), *words)

    def edge(self) -> dict[str, Any] | None:
        """The calls from web to shop, as `meshware top` tells programs."""
        told = json.loads(self.top("--once", "--format", "json", "--window", "300").stdout)
        found = [edge for edge in told["edges"] if edge["source"] == "default/web"]
        return {**found[0], "window_s": told["window_s"]} if found else None


def environ(**more: str) -> dict[str, str]:
    """The environment of a command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    clean.pop("NO_COLOR", None)
    return {**clean, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **more}


@contextmanager
def world(root: Path, also: str = "") -> Iterator[World]:
    """Start it all, with more policy where there is some, and end it."""
    port = free_port()
    (root / "mesh").mkdir()
    (root / "mesh/p.yaml").write_text(POLICY.format(port=port))
    if also:
        (root / "mesh/also.yaml").write_text(also)
    with running(root) as daemon:
        daemon.wait_for(
            lambda: daemon.generation() and (said := daemon.status_yet()) and said.listen
        )
        app = [
            "gunicorn", "--no-control-socket", "-w", "2", "--timeout", "120", "-k", "gthread",
            "--threads", "4", "-b", f"127.0.0.1:{port}", "vital_app:application",
        ]  # fmt: skip
        environment = {"MESH_CONFIG": str(daemon.policy_file), "PYTHONPATH": f"{SUPPORT}:{ROOT}"}
        server = Running(app, root / "app", port, environment)
        caller = Caller(daemon.policy_file)
        made = World(daemon, server, caller)
        try:
            server.wait_for(server.is_answering, "answer")
            yield made
        finally:
            (root / "app/go").write_text("")
            caller.end()
            server.end()


class Terminal:
    """A command that has a terminal, and what it showed there."""

    def __init__(self, words: Sequence[str], columns: int = 100, lines: int = 24) -> None:
        self._master, self.slave = pty.openpty()
        self.resize(columns, lines, is_told=False)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.popen = subprocess.Popen(
            [sys.executable, "-m", "meshware", *words],
            stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
            env=environ(TERM="xterm-256color"),
            preexec_fn=_take_terminal,  # noqa: PLW1509 - it calls the kernel and nothing else
        )  # fmt: skip

    def resize(self, columns: int, lines: int, *, is_told: bool = True) -> None:
        """Make the terminal another size, of which the kernel tells."""
        size = struct.pack("HHHH", lines, columns, 0, 0)
        ioctl(self._master if is_told else self.slave, termios.TIOCSWINSZ, size)

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._master, keys)

    def wait_for(self, text: str) -> None:
        """Wait until the newest whole frame shows a text."""
        until = time.monotonic() + PATIENCE_S
        while text not in self.frame():
            assert time.monotonic() < until, f"no {text!r} in:\n{self.frame()}"
            self._read()

    def frame(self) -> str:
        """The newest whole frame, in lines without styles."""
        frames = self.seen.decode("utf-8", "replace").split("\x1b[H")
        whole = [each for each in frames if each.endswith("\x1b[J") or "\x1b[J" in each[3:]]
        lines = whole[-1].partition("\x1b[J")[0] if whole else ""
        return re.sub(r"\x1b\[[0-9;]*[mK]", "", lines).replace("\r", "")

    def ended(self) -> int:
        """Wait for its end. Returns the exit code; all that it wrote has been read by then."""
        until = time.monotonic() + PATIENCE_S
        while self.popen.poll() is None:
            assert time.monotonic() < until, f"it does not end:\n{self.frame()}"
            self._read()
        self._read()
        return self.popen.returncode

    def is_restored(self) -> bool:
        """Whether the terminal is as it was: modes, screen and cursor."""
        left = self.seen.rfind(b"\x1b[?1049l")
        shown = self.seen.rfind(b"\x1b[?25h")
        return (
            termios.tcgetattr(self.slave) == self.before
            and left > self.seen.rfind(b"\x1b[?1049h")
            and shown > self.seen.rfind(b"\x1b[?25l")
        )

    def read_a_while(self) -> None:
        """Take what was written by now."""
        self._read()

    def close(self) -> None:
        """End all of it."""
        if self.popen.poll() is None:
            self.popen.kill()
        self.popen.wait(PATIENCE_S)
        os.close(self._master)
        os.close(self.slave)

    def _read(self) -> None:
        while select.select([self._master], [], [], 0.05)[0]:
            try:
                self.seen += os.read(self._master, 65536)
            except OSError:
                return


def _take_terminal() -> None:
    ioctl(0, termios.TIOCSCTTY, 0)
