"""Processes with identities that shake hands: real TLS between workloads of a run directory."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from ca_world import TRUST_DOMAIN, mesh_policy
from daemons import clean_environ, meshware, running
from sync_world import PATIENCE_S, RunningDaemon

from meshware.errors import MeshError
from meshware.policy.record_types import BundleRecord
from meshware.runtime.mesh import Mesh
from meshware.runtime.policy_file import open_policy_file

# A workload: it follows policy and reports, and tells each caller who the caller is.
_SERVER = """
import socket, ssl, sys, threading, time
from meshware.identity.tls import verified_peer
from meshware.runtime.mesh import Mesh

mesh = Mesh.from_env()
mesh.start()
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
print(listener.getsockname()[1], flush=True)

def serve(connection):
    with connection:
        connection.settimeout(5)
        try:
            with mesh.identity.server_context().wrap_socket(connection, server_side=True) as tls:
                tls.sendall(str(verified_peer(tls).id).encode())
        except Exception:
            return

while True:
    connection, _ = listener.accept()
    threading.Thread(target=serve, args=(connection,), daemon=True).start()
"""


def environ_of(run_dir: Path, workload: str) -> dict[str, str]:
    """The environment of a workload."""
    return {"MESH_CONFIG": str(run_dir / "policy.mesh"), "MESH_WORKLOAD": f"default/{workload}"}


class Server:
    """A workload in a process of its own, which answers handshakes."""

    def __init__(self, run_dir: Path, workload: str = "web", user: int | None = None) -> None:
        self.id = f"spiffe://{TRUST_DOMAIN}/ns/default/sa/{workload}"
        self._err = (run_dir.parent / f"{workload}.log").open("ab")
        self.popen = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            env=clean_environ(environ_of(run_dir, workload)),
            stdout=subprocess.PIPE,
            stderr=self._err,
            user=user,
        )
        assert self.popen.stdout is not None
        self.port = int(self.popen.stdout.readline())

    def close(self) -> None:
        """End it."""
        self.popen.kill()
        self.popen.wait(PATIENCE_S)
        assert self.popen.stdout is not None
        self.popen.stdout.close()
        self._err.close()


class Caller:
    """A workload in this process, which calls a server."""

    def __init__(self, run_dir: Path, workload: str = "orders") -> None:
        self.mesh = Mesh.from_env(environ_of(run_dir, workload))
        self.mesh.start()

    def call(self, server: Server) -> str:
        """Shake hands once, and return who the server says that we are.

        Raises:
            MeshError, OSError: they do not trust each other, or there is no identity.
        """
        context = self.mesh.identity.client_context(frozenset({server.id}))
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection,
            context.wrap_socket(connection) as tls,
        ):
            said = tls.recv(2048).decode()
        if not said:
            raise ssl.SSLError("the server ended the connection")
        return said

    def can_call(self, server: Server) -> bool:
        """Say whether a handshake succeeds now."""
        try:
            self.call(server)
        except (MeshError, OSError):
            return False
        return True

    def close(self) -> None:
        """Follow nothing any more."""
        self.mesh.stop()


def wait_until(condition: Callable[[], object], most_s: float = PATIENCE_S) -> float:
    """Wait until something holds, and return how many seconds that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < most_s, f"not within {most_s} s"
        time.sleep(0.02)
    return time.monotonic() - began


def made_mesh(root: Path, *accounts: str, spec: str = "") -> Path:
    """A source with a workload for each account. Returns the file."""
    (root / "mesh").mkdir(parents=True, exist_ok=True)
    path = root / "mesh" / "mesh.yaml"
    path.write_text(mesh_policy(*(accounts or ("web", "orders")), spec=spec), encoding="utf-8")
    return path


@contextlib.contextmanager
def daemon_of(root: Path, *arguments: str) -> Iterator[RunningDaemon]:
    """A daemon that has issued the identities of `web` and `orders`."""
    with running(root, *arguments) as daemon:
        for name in ("web", "orders"):
            svid = root / "run" / "identity" / "default" / name / "svid.pem"
            daemon.wait_for(svid.exists)
        yield daemon


@contextlib.contextmanager
def pair(run_dir: Path, server_run_dir: Path | None = None) -> Iterator[tuple[Caller, Server]]:
    """`orders`, in this process, which may call `web`, in another."""
    with contextlib.ExitStack() as stack:
        server = Server(server_run_dir or run_dir)
        stack.callback(server.close)
        caller = Caller(run_dir)
        stack.callback(caller.close)
        yield caller, server


# --- what a daemon left ---------------------------------------------------------------------------


def once(root, *arguments):
    """One run of the daemon."""
    places = ["--run-dir", root / "run", "--state-dir", root / "state"]
    return meshware("sync", "--source", root / "mesh", *places, "--once", *arguments)


def bundle(root) -> BundleRecord | None:
    """The published bundle of the own trust domain."""
    records = open_policy_file(root / "run" / "policy.mesh", frozenset({os.geteuid()}))
    data = records.get(f"bundle/{TRUST_DOMAIN}")
    return None if data is None else msgspec.json.decode(data, type=BundleRecord)


def keys_of(root):
    """The files of the authority."""
    return sorted(path for path in (root / "state").rglob("*.pem"))
