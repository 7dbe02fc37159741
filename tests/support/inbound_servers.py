"""Real servers for tests: started on port 0, asked over sockets, ended by their own process ids."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from inbound_world import Pairs

from meshware.policy.file import encode
from meshware.policy.load import load_mapping
from meshware.policy.records import build_records
from meshware.runtime.files import replace_file

SUPPORT = Path(__file__).resolve().parent
ROOT = SUPPORT.parents[1]
PATIENCE_S = 20.0  # of a busy machine
SILENCE_S = 1.0  # after which a server that waits for more is told that there is none
WHERE = re.compile(r"(?:Listening at|Uvicorn running on):? http://127\.0\.0\.1:(\d+)")

WORKLOAD = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "WorkloadGroup",
    "metadata": {"name": "app", "namespace": "default"},
    "spec": {"metadata": {"labels": {"app": "app"}}, "template": {}},
}

QUIET = ["--no-control-socket", "--log-level", "info", "--keep-alive", "75"]
COMMANDS: Mapping[str, Sequence[str]] = {
    "gunicorn sync": ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "served:wsgi"],
    "gunicorn gthread": [
        "gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "gthread", "--threads", "4", "served:wsgi",
    ],
    "gunicorn uvicorn": [
        "gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "uvicorn.workers.UvicornWorker",
        "served:asgi",
    ],
    "gunicorn asgi": ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "-k", "asgi", "served:asgi"],
    "uvicorn h11": ["uvicorn", "--port", "0", "--http", "h11", "served:asgi"],
    "uvicorn httptools": ["uvicorn", "--port", "0", "--http", "httptools", "served:asgi"],
    "werkzeug": [sys.executable, str(SUPPORT / "served.py")],
}  # fmt: skip


def records_of(*policies: Mapping[str, Any]) -> dict[str, bytes]:
    """The records of a policy with one workload, `default/app`."""
    resources = []
    for mapping in (WORKLOAD, *policies):
        loaded = load_mapping(mapping)
        loaded.raise_for_errors()
        resources += loaded.resources
    return build_records(resources)


class PolicyFile:
    """A policy file, written as the daemon writes it."""

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / "policy.mesh"
        self.generation = 0
        run_dir.mkdir(parents=True, exist_ok=True)

    def write(self, *policies: Mapping[str, Any]) -> int:
        """Put other policies in force. Returns their generation."""
        return self.write_records(records_of(*policies))

    def write_records(self, records: Mapping[str, bytes]) -> int:
        """Put records in force that were made before."""
        self.generation += 1
        data = encode(records, generation=self.generation, trust_domain="cluster.local")
        replace_file(self.path, data, mode=0o644)
        return self.generation


class Reply:
    """What a server answered."""

    def __init__(self, status: int, body: str) -> None:
        self.status = status
        self.body = body

    @property
    def said(self) -> dict[str, Any]:
        """What the handler said."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def __repr__(self) -> str:
        return f"{self.status} {self.body!r}"


class Server:
    """A server in processes of its own, in a session of its own."""

    def __init__(
        self,
        command: Sequence[str],
        place: Path,
        environ: Mapping[str, str],
        stdout: int | None = None,
    ) -> None:
        place.mkdir(parents=True, exist_ok=True)
        self.log = place / "server.log"
        program = command[0]
        if "/" not in program:
            program = str(Path(sys.executable).parent / program)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                [program, *command[1:]],
                cwd=place,
                stdin=subprocess.DEVNULL,
                stdout=log if stdout is None else stdout,
                stderr=log,
                start_new_session=True,
                env={
                    **clean,
                    "MESH_WORKLOAD": "default/app",
                    "PYTHONPATH": f"{SUPPORT}:{ROOT}",
                    "PYTHONUNBUFFERED": "1",
                    "PYTHONDONTWRITEBYTECODE": "1",
                    **environ,
                },
            )
        self.port = 0
        self.longest_s = PATIENCE_S  # that an answer may take

    def wait_until_up(self) -> None:
        """Wait until it says where it listens, and answers there."""
        self.wait_for(lambda: WHERE.search(self.words()), "listen")
        found = WHERE.search(self.words())
        assert found is not None
        self.port = int(found[1])
        self.wait_for(self.is_answering, "answer")

    def is_answering(self) -> bool:
        """Say whether a worker answers."""
        try:
            self.get("/")
        except (OSError, http.client.HTTPException):
            return False
        return True

    def words(self) -> str:
        """What it said."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.popen.poll() is None, f"the server ended:\n{self.words()}"
            assert time.monotonic() < until, f"it did not {what} in time:\n{self.words()}"
            time.sleep(0.01)

    def reload(self, file: Path, text: str, is_reloaded: Callable[[], bool]) -> None:
        """Edit a file until the server has another process for it.

        `uvicorn --reload` begins to look some time after it serves, and tells nobody when: an edit
        before that is lost.
        """
        edits, next_at, until = 0, 0.0, time.monotonic() + 3 * PATIENCE_S
        # One that ends may take a connection and leave it; it goes when its caller does.
        self.longest_s = 2.0

        def is_done() -> bool:
            nonlocal edits, next_at
            if time.monotonic() >= next_at:
                edits, next_at = edits + 1, time.monotonic() + PATIENCE_S / 2
                file.write_text(f"{text}\nEDITED = {edits}\n", encoding="utf-8")
            try:
                return self.is_answering() and is_reloaded()
            except (OSError, http.client.HTTPException):
                return False  # the one that is ending took the connection along

        while not is_done():
            assert time.monotonic() < until, f"it did not reload in time:\n{self.words()}"
            time.sleep(0.05)
        self.longest_s = PATIENCE_S

    def connect(self) -> http.client.HTTPConnection:
        """A connection, to be used for one request after the other."""
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.longest_s)

    def get(
        self,
        target: str,
        headers: Pairs = (),
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """Ask once, over a connection of its own unless there is one."""
        used = connection or self.connect()
        try:
            used.request("GET", target, headers=dict(headers))
            response = used.getresponse()
            return Reply(response.status, response.read().decode("utf-8", "replace"))
        finally:
            if connection is None:
                used.close()

    def raw(self, data: bytes) -> str:
        """Send bytes as they are, and return whatever comes back until the end."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=SILENCE_S) as connection:
            connection.sendall(data)
            received = b""
            is_done = False
            while True:
                try:
                    chunk = connection.recv(65536)
                except ConnectionResetError:
                    break  # what was answered before that counts
                except TimeoutError:
                    if is_done:
                        break
                    is_done = True  # the server waits for more of the request
                    connection.shutdown(socket.SHUT_WR)
                    continue
                if not chunk:
                    break
                received += chunk
            return received.decode("utf-8", "replace")

    def end(self) -> None:
        """End it, and whatever it started."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.popen.pid, signal.SIGKILL)  # the session that it was started in
                self.popen.wait(PATIENCE_S)


@contextmanager
def serving(
    command: str | Sequence[str], place: Path, policy_file: Path, **environ: str
) -> Iterator[Server]:
    """A running server, which is ended."""
    words = COMMANDS[command] if isinstance(command, str) else command
    server = Server(words, place, {"MESH_CONFIG": str(policy_file), **environ})
    try:
        server.wait_until_up()
        yield server
    finally:
        server.end()


# --- processes, as /proc knows them ---------------------------------------------------------------


def descriptors_of(pid: int) -> list[str]:
    """What a process holds open."""
    found = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(entry))
        except FileNotFoundError:
            continue  # closed in between
    return sorted(found)


def threads_of(pid: int) -> int:
    """How many threads a process has."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
