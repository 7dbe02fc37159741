"""An authorizer for tests: a server over real sockets that answers as a script says.

It is written over bare sockets, so that it can say what no server would. Every request that it gets
is kept. What it answers is told by the path of what it is asked about, behind its prefix.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Asked", "AuthorizerServer", "ok"]


@dataclass
class Asked:
    """One question as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    raw: bytes = field(repr=False)

    def header(self, name: str) -> str | None:
        """What a header says; it must be there once at most."""
        found = [value for key, value in self.headers if key.lower() == name]
        assert len(found) <= 1, found
        return found[0] if found else None

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]


def ok(status: int = 200, body: bytes = b"", *headers: tuple[str, str]) -> bytes:
    """An ordinary response."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


Answer = Callable[[Asked], bytes | None]
"""The bytes to send; None: none, and the connection is closed."""


class AuthorizerServer:
    """Listens on a port of loopback until it is closed.

    Args:
        answer: says what to answer to a question.
        context: its TLS; None: none.
    """

    def __init__(self, answer: Answer, context: ssl.SSLContext | None = None) -> None:
        self.answer = answer
        self.asked: list[Asked] = []
        self.connections = 0
        self.under_way = 0
        self.most_under_way = 0
        self._context = context
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and cut every connection."""
        try:
            self._listening.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._listening.close()
        with self._lock:
            for each in self._open:
                try:
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something holds."""
        until = time.monotonic() + 10
        while not condition():
            assert time.monotonic() < until
            time.sleep(0.005)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                number = self.connections
                self._open.append(connection)
            threading.Thread(target=self._serve, args=(connection, number), daemon=True).start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                with self._lock:
                    self._open.append(connection)
            with connection:
                kept = b""
                while True:
                    found = self._read(connection, kept, number)
                    if found is None:
                        return
                    asked, kept = found
                    with self._lock:
                        self.asked.append(asked)
                        self.under_way += 1
                        self.most_under_way = max(self.most_under_way, self.under_way)
                    try:
                        data = self.answer(asked)
                    finally:
                        with self._lock:
                            self.under_way -= 1
                    if data is None:
                        return
                    connection.sendall(data)
                    if b"HTTP/1.1" not in data or b"onnection: close" in data:
                        return
        except OSError:
            return

    def _read(
        self, connection: socket.socket, kept: bytes, number: int
    ) -> tuple[Asked, bytes] | None:
        while b"\r\n\r\n" not in kept:
            more = connection.recv(65536)
            if not more:
                return None
            kept += more
        head, _, rest = kept.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = [tuple(line.split(": ", 1)) for line in lines]
        length = next((int(v) for k, v in headers if k.lower() == "content-length"), 0)
        while len(rest) < length:
            more = connection.recv(65536)
            if not more:
                return None
            rest += more
        asked = Asked(method, target, headers, rest[:length], number, head)  # type: ignore[arg-type]
        return asked, rest[length:]
