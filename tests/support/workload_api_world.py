"""What tests of the Workload API share: a daemon that serves it, and callers of several users."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ca_world import let_through
from daemons import clean_environ, running
from sync_world import RunningDaemon

TD = "shop.test"

# Asks once as whoever it is, and tells what it got.
_CALLER = """
import json, os, sys
import encodings.idna, grpc._channel, spiffe.workloadapi.workload_api_client
from spiffe import WorkloadApiClient

# It becomes that user when all is imported: the interpreter may lie where that one cannot read.
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))

with WorkloadApiClient("unix:" + sys.argv[1], default_timeout=20) as client:
    try:
        context = client.fetch_x509_context()
        said = {"ids": [str(each.spiffe_id) for each in context.x509_svids]}
    except Exception as error:
        said = {"error": f"{error} {error.__cause__}"}
print(json.dumps(said))
"""


def spiffe_id(name: str) -> str:
    """Of an account in namespace `default`."""
    return f"spiffe://{TD}/ns/default/sa/{name}"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short name, since sockets lie in it, that every user may pass through."""
    with tempfile.TemporaryDirectory(prefix="mw-") as made:
        yield let_through(Path(made))


@contextlib.contextmanager
def serving(root: Path, *arguments: str) -> Iterator[tuple[RunningDaemon, str]]:
    """A daemon that serves the Workload API. Yields it with the socket's path."""
    path = root / "api" / "agent.sock"
    with running(root, "--workload-api", str(path), *arguments) as daemon:
        daemon.wait_for(lambda: _listens(path))
        for name in ("web", "orders"):
            daemon.wait_for((root / "run" / "identity" / "default" / name / "svid.pem").exists)
        yield daemon, str(path)


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(os.fspath(path)) == 0


def ask_as(uid: int, path: str) -> dict[str, Any]:
    """What a process of another user is answered."""
    done = subprocess.run(
        [sys.executable, "-c", _CALLER, path, str(uid)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=clean_environ({"GRPC_VERBOSITY": "NONE"}),
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
