"""Real WSGI servers that obey a run directory, and callers of every kind."""

from __future__ import annotations

import http.client
import json
import re
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from identities import MeshAuthority, RunDirectory, client_context
from inbound_servers import PATIENCE_S, SUPPORT, Server

from meshware.identity.svid import X509SVID

WHERE = re.compile(r"https?://127\.0\.0\.1:(\d+)")
GUNICORN = ["gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "--keep-alive", "30"]
OBEYS = ["-c", "python:meshware.servers.gunicorn", "served_tls:wsgi"]
PROGRAM = str(SUPPORT / "served_tls.py")

COMMANDS: Mapping[str, Sequence[str]] = {
    "gunicorn sync": [*GUNICORN, "-k", "sync", *OBEYS],
    "gunicorn gthread": [*GUNICORN, "-k", "gthread", "--threads", "2", *OBEYS],
    "gunicorn gevent": [*GUNICORN, "-k", "gevent", *OBEYS],
    "werkzeug": [sys.executable, PROGRAM],
    "werkzeug threaded": [sys.executable, PROGRAM, "threaded"],
}


class World:
    """A server, the run directory that it obeys, and the authority of its mesh."""

    def __init__(self, place: Path, account: str | None = "app") -> None:
        self.place = place
        self.authority = MeshAuthority()
        self.run_dir = RunDirectory(place / "run", account)
        self.run_dir.write_policy("STRICT")
        self.run_dir.write_identity(self.authority.issue("default/app"), self.authority.root_pem)
        self.calls = place / "calls"
        self.server: Server
        self.port = 0

    def start(self, command: Sequence[str], **environ: str) -> None:
        """Start a server, and wait until it listens."""
        self.server = Server(
            command,
            self.place,
            {"MESH_CONFIG": str(self.run_dir.policy_file), "CALLS": str(self.calls), **environ},
        )
        if not self.port:
            self.server.wait_for(lambda: WHERE.search(self.server.words()), "listen")
            found = WHERE.search(self.server.words())
            assert found is not None
            self.port = int(found[1])
        self.server.port = self.port

    def connect(self, caller: X509SVID | None | str) -> http.client.HTTPConnection:
        """A connection: of an SVID, of nobody over TLS (None), or "plain"."""
        if isinstance(caller, str):
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        context = client_context(caller, self.authority.root_pem)
        return http.client.HTTPSConnection(
            "127.0.0.1", self.port, timeout=PATIENCE_S, context=context
        )

    def ask(
        self, caller: X509SVID | None | str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """What the app said; None: nothing came back, and the connection was ended."""
        connection = self.connect(caller)
        try:
            connection.request("GET", "/", headers=dict(headers or {}))
            response = connection.getresponse()
            assert response.status == 200
            said: dict[str, Any] = json.loads(response.read())
            return said
        except TimeoutError:
            raise
        except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
            return None
        finally:
            connection.close()

    def web(self) -> X509SVID:
        """A caller whom the mesh knows."""
        return self.authority.issue("default/web")

    def count(self) -> int:
        """How often the app was called."""
        return len(self.calls.read_text().splitlines()) if self.calls.exists() else 0

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something holds."""
        self.server.wait_for(condition, what)

    def is_mode(self, mode: str) -> Callable[[], bool]:
        """Return what says whether a mode has taken effect, told by what connections do."""
        takes = {"STRICT": (True, False), "PERMISSIVE": (True, True), "DISABLE": (False, True)}

        def is_so() -> bool:
            return (self.ask(self.web()) is not None, self.ask("plain") is not None) == takes[mode]

        return is_so

    def set_mode(self, mode: str) -> None:
        """Put a mode in force, and wait until connections are as it says."""
        self.run_dir.write_policy(mode)
        self.until(self.is_mode(mode), f"take up {mode}")

    def silent(self, count: int, first: bytes = b"") -> list[socket.socket]:
        """Connections that say (nearly) nothing."""
        opened = []
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
            connection.sendall(first)
            opened.append(connection)
        return opened


@contextmanager
def world_of(
    command: str | Sequence[str],
    place: Path,
    account: str | None = "app",
    port: int = 0,
    **environ: str,
) -> Iterator[World]:
    """A world with its server running, which is ended."""
    world = World(place, account)
    world.port = port
    world.start(COMMANDS[command] if isinstance(command, str) else command, **environ)
    try:
        yield world
    finally:
        world.server.end()


def took_s(action: Callable[[], object]) -> float:
    """How long something took."""
    begun = time.monotonic()
    action()
    return time.monotonic() - begun
