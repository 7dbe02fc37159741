"""Apps behind real servers that have an identity, and callers with and without one."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import Issuer, issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.identity.tls import mesh_client_context
from meshware.runtime.files import replace_file

SUPPORT = Path(__file__).resolve().parent
PATIENCE_S = 30.0
TD = "cluster.local"
APP = f"spiffe://{TD}/ns/default/sa/app"
WEB = f"spiffe://{TD}/ns/default/sa/web"


def now() -> datetime:
    """Aware UTC."""
    return datetime.now(UTC)


class Authority:
    """An authority of a trust domain."""

    def __init__(self, trust_domain: str = TD) -> None:
        self.root = issue_root(trust_domain, new_key(), now(), 1e8)
        self.issuer: Issuer = issue_intermediate(self.root, new_key(), now(), 1e7)

    @property
    def pem(self) -> str:
        """The root."""
        return self.root.certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, spiffe_id: str, life_s: float = 3600.0) -> X509SVID:
        """Issue an SVID."""
        return issue_svid(self.issuer, SpiffeID.parse(spiffe_id), new_key(), now(), life_s)

    @property
    def bundles(self) -> Bundles:
        """Whom clients of its mesh believe."""
        return Bundles([Bundle(self.root.trust_domain, (self.root.certificate,))])


def policy_text(mode: str | None, *more: str, account: str = "app") -> str:
    """Policy of one workload, default/app."""
    parts = [
        f"""
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: app}}
spec: {{metadata: {{labels: {{app: app}}}}, template: {{serviceAccount: {account}}}}}
"""
    ]
    if mode is not None:
        parts.append(
            f"""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: it}}
spec: {{mtls: {{mode: {mode}}}}}
"""
        )
    return "---".join((*parts, *more))


@dataclass
class RunDir:
    """A run directory with the identity of default/app, and policy as YAML beside it."""

    path: Path
    authority: Authority = field(default_factory=Authority)

    def __post_init__(self) -> None:
        self.identity = self.path / "identity" / "default" / "app"
        self.identity.mkdir(parents=True)
        self.show(self.authority)

    def show(self, authority: Authority, *believed: Authority, life_s: float = 3600.0) -> X509SVID:
        """Have the app show an SVID of an authority, and believe that one and others."""
        svid = authority.issue(APP, life_s)
        roots = "".join(each.pem for each in (believed or (authority,)))
        replace_file(self.identity / "bundle.pem", roots.encode(), mode=0o600)
        replace_file(self.identity / "svid.pem", svid.pem.encode(), mode=0o600)
        return svid

    def policy(self, text: str) -> None:
        """Put policy in force."""
        replace_file(self.path / "policy.yaml", text.encode(), mode=0o600)

    def environ(self) -> dict[str, str]:
        """The environment of a worker."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("MESH_")}
        return {
            **clean,
            "MESH_CONFIG": str(self.path / "policy.yaml"),
            "MESH_RUN_DIR": str(self.path),
            "MESH_WORKLOAD": "default/app",
            "PYTHONPATH": os.pathsep.join((str(SUPPORT), clean.get("PYTHONPATH", ""))),
        }


def free_port() -> int:
    """A port that nobody has now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


@contextmanager
def running(command: Sequence[str], port: int, environ: dict[str, str], log: Path) -> Iterator[int]:
    """Run a server until it listens at its port, and end it."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, env=environ, stdout=file, stderr=file, cwd=log.parent, start_new_session=True
        )
    try:
        until = time.monotonic() + PATIENCE_S
        while True:
            assert process.poll() is None, log.read_text()[-3000:]
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < until, log.read_text()[-3000:]
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Secure(http.client.HTTPConnection):
    """A client's connection over TLS of its own choosing."""

    def __init__(self, port: int, context: ssl.SSLContext | None, timeout: float = 10) -> None:
        super().__init__("127.0.0.1", port, timeout=timeout)
        self.context = context

    def connect(self) -> None:
        """Connect, and make the handshake."""
        super().connect()
        if self.context is not None:
            self.sock = self.context.wrap_socket(self.sock, server_hostname="app.example")


def caller(svid: X509SVID, believes: Authority) -> ssl.SSLContext:
    """The TLS of a caller that expects the app."""
    return mesh_client_context(svid, believes.bundles, frozenset([APP]), now)


def ask(
    port: int, context: ssl.SSLContext | None = None, path: str = "/", **headers: str
) -> tuple[int, Any]:
    """Ask once. Returns the status and what the app says; (0, the error) without an answer."""
    connection = Secure(port, context)
    try:
        connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        response = connection.getresponse()
        body = response.read().decode("latin-1")
    except (OSError, http.client.HTTPException) as error:
        return 0, error
    finally:
        connection.close()
    try:
        return response.status, json.loads(body)
    except ValueError:
        return response.status, body


def until(port: int, context: ssl.SSLContext | None, wanted: Any) -> None:
    """Ask until the answer is what is wanted; a status alone, or status and body."""
    end = time.monotonic() + PATIENCE_S
    while True:
        got = ask(port, context)
        if got == wanted or got[0] == wanted:
            return
        assert time.monotonic() < end, (got, wanted)
        time.sleep(0.1)


PYTHON = sys.executable
