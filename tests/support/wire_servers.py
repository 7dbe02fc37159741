"""The servers of the tests of the wire, and the bytes that are sent to them."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inbound_servers import QUIET, SUPPORT, Server
from run_servers import free_port
from wire_apps import ASGI_APPS, WSGI_APPS

__all__ = ["PREFIX_SERVERS", "SERVERS", "SOCKET_SERVERS", "Reply", "Wire", "serving_wire"]

STATUS = re.compile(rb"HTTP/1\.[01] (\d{3})")
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")

WSGI, ASGI = "wire_served:wsgi", "wire_served:asgi"
PROGRAM = [sys.executable, str(SUPPORT / "wire_served.py")]
GRANIAN = ["granian", "--port", "$p", "--interface"]
GUNICORN = ["gunicorn", *QUIET, "-b", "127.0.0.1:$p"]
SERVERS: dict[str, tuple[list[str], bool]] = {
    "uvicorn h11": (["uvicorn", "--port", "$p", "--http", "h11", ASGI], True),
    "uvicorn httptools": (["uvicorn", "--port", "$p", "--http", "httptools", ASGI], True),
    "hypercorn": (["hypercorn", "--bind", "127.0.0.1:$p", ASGI], True),
    "gunicorn asgi": ([*GUNICORN, "-k", "asgi", ASGI], True),
    "granian asgi": ([*GRANIAN, "asgi", ASGI], True),
    "gunicorn sync": ([*GUNICORN, WSGI], False),
    "gunicorn gthread": ([*GUNICORN, "-k", "gthread", "--threads", "2", WSGI], False),
    "werkzeug": ([*PROGRAM, "werkzeug", "$p"], False),
    "waitress": ([*PROGRAM, "waitress", "$p", ""], False),
    "granian wsgi": ([*GRANIAN, "wsgi", WSGI], False),
}
"""Their commands, and whether they speak ASGI."""

UVICORN = ["uvicorn", "--port", "$p", "--ws"]
SOCKET_SERVERS: dict[str, tuple[list[str], bool]] = {
    "uvicorn websockets": ([*UVICORN, "websockets", ASGI], True),
    "uvicorn websockets-sansio": ([*UVICORN, "websockets-sansio", ASGI], True),
    "uvicorn wsproto": ([*UVICORN, "wsproto", ASGI], True),
    **{name: SERVERS[name] for name in ("hypercorn", "gunicorn asgi", "granian asgi")},
}
"""Those that know WebSockets, each way in which they do."""

PREFIX_SERVERS: dict[str, tuple[list[str], bool]] = {
    "uvicorn, root path": (["uvicorn", "--port", "$p", "--root-path", "/api", ASGI], True),
    "hypercorn, root path": (["hypercorn", "--bind", "127.0.0.1:$p", "--root-path", "/api", ASGI],
                             True),
    "gunicorn, SCRIPT_NAME": ([*GUNICORN, "-e", "SCRIPT_NAME=/api", WSGI], False),
    "waitress, url_prefix": ([*PROGRAM, "waitress", "$p", "/api"], False),
    "granian asgi, prefix": ([*GRANIAN, "asgi", "--url-path-prefix", "/api", ASGI], True),
    "granian wsgi, prefix": ([*GRANIAN, "wsgi", "--url-path-prefix", "/api", WSGI], False),
}  # fmt: skip
"""Those that can be told where they are mounted, with a prefix."""


@dataclass(frozen=True)
class Reply:
    """What came of one request."""

    status: int | None  # None: the server closed the connection without an answer
    ran: tuple[dict[str, Any], ...]  # what handlers wrote down
    body: bytes


def is_whole(received: bytes) -> bool:
    """Say whether a response has come to its end; some servers leave the connection open."""
    head, end, body = received.partition(b"\r\n\r\n")
    if end and head.startswith(b"HTTP/1.1 101"):
        return True
    found = LENGTH.search(head)
    return found is not None and len(body) >= int(found[1])


class Wire(Server):
    """A server of `wire_served`, asked with bytes."""

    def __init__(self, name: str, place: Path) -> None:
        words, self.is_asgi = {**SERVERS, **SOCKET_SERVERS, **PREFIX_SERVERS}[name]
        self.name = name
        self.apps = list(ASGI_APPS if self.is_asgi else WSGI_APPS)
        self.ran = place / "ran"
        self.ran.touch()
        self._offset = 0
        port = free_port()
        super().__init__(
            [word.replace("$p", str(port)) for word in words],
            place,
            {"WIRE_RAN": str(self.ran), "WIRE_KIND": "asgi" if self.is_asgi else "wsgi"},
        )
        self.port = port

    def ask(
        self,
        world: str,
        head: bytes,
        body: bytes = b"",
        patience_s: float = 5.0,
        more: bytes = b"Connection: close",
    ) -> Reply:
        """Send a head that lacks its last lines, and tell what ran for it."""
        end = b"\n" if b"\r" not in head else b"\r\n"
        last = b"X-World: " + world.encode() + end + more + end + end
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=patience_s) as connection:
            try:
                connection.sendall(head + last + body)
                while not is_whole(received):
                    chunk = connection.recv(65536)
                    if not chunk:
                        break
                    received += chunk
            except (ConnectionError, TimeoutError):
                pass  # what was answered before that counts
        found = STATUS.match(received)
        return Reply(
            int(found[1]) if found else None, self.runs(), received.partition(b"\r\n\r\n")[2]
        )

    def runs(self) -> tuple[dict[str, Any], ...]:
        """What handlers wrote down since they were last asked."""
        with self.ran.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        self._offset += len(data)
        return tuple(json.loads(line) for line in data.splitlines())


@contextmanager
def serving_wire(name: str, place: Path) -> Iterator[Wire]:
    """A running server, which is ended."""
    server = Wire(name, place)
    try:
        server.wait_for(server.is_answering, "answer")
        yield server
    finally:
        server.end()
