"""Upstreams that do what a script says, over raw sockets: also what no HTTP server would do.

A script is a list of answers, one for each request in the order in which they come, whatever their
connection; the last one is given from then on. An answer is a list of parts: bytes to send, `Drip`,
`Wait`, `CLOSE`, `RESET`, or a function to call. Behind the last part the connection stays open for
the next request.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

PATIENCE_S = 10.0  # for what must happen; reached only when a test fails


@dataclass(frozen=True)
class Drip:
    """Send a byte now and then, until the other end has gone or all is sent."""

    data: bytes
    every_s: float


class Wait:
    """Wait until something is set, the other end has gone, or the upstream is closed.

    After `PATIENCE_S` the connection is closed, so that a client that waits for ever only fails.
    """

    def __init__(self, event: threading.Event | None = None) -> None:
        self.event = event or threading.Event()


HANG = Wait()
CLOSE = object()
RESET = object()

Part = bytes | Drip | Wait | Callable[[], object] | object
Answer = Sequence[Part]


def http(status: int = 200, body: bytes = b"ok", *headers: str) -> bytes:
    """A whole response with its length."""
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunked(*chunks: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """A response in chunks; without an `end` it is still going on."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + end


OK = [http()]
FAILS = [http(500, b"broken")]


@dataclass
class Request:
    """A request as it came over the wire."""

    connection: int  # from 1, in the order in which they were accepted
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes = b""
    is_whole: bool = False

    def all(self, name: str) -> list[str]:
        """The values of a header, one for each line."""
        return [value for found, value in self.headers if found.lower() == name]

    def __getitem__(self, name: str) -> str:
        [value] = self.all(name)
        return value


@dataclass(eq=False)
class Upstream:
    """A scripted upstream on a free port of the loopback.

    Attributes:
        script: answers in turn.
        place: an address of the loopback, and a port or 0 for any.
        answers_early: at the head of a request, leaving its body unread.
        requests: what came, also in part.
        connections: how many were accepted.
        seen: set when the head of a request has come.
    """

    script: Sequence[Answer]
    answers_early: bool = False
    place: tuple[str, int] = ("127.0.0.1", 0)
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    seen: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._is_closed = threading.Event()
        self._lock = threading.Lock()
        self._answered = 0
        self._live: dict[int, socket.socket] = {}
        self._listener = self._listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _listen(self) -> socket.socket:
        listener = socket.create_server(self.place)
        self.port: int = listener.getsockname()[1]
        return listener

    @property
    def key(self) -> str:
        """The endpoint's name in events and ledgers."""
        return f"{self.place[0]}:{self.port}"

    def wait_until_left(self) -> None:
        """Wait until the client has closed every connection."""
        until = time.monotonic() + PATIENCE_S
        while self._live:
            assert time.monotonic() < until, "the client keeps a connection open"
            time.sleep(0.005)

    def wait_until_seen(self) -> None:
        """Wait until the head of a request has come."""
        assert self.seen.wait(PATIENCE_S), "no request came"

    def wait_until_requests(self, count: int) -> None:
        """Wait until so many requests have come."""
        until = time.monotonic() + PATIENCE_S
        while len(self.requests) < count:
            assert time.monotonic() < until, "there are fewer requests"
            time.sleep(0.005)

    def close_idle(self) -> None:
        """Close every connection from this side, as a server does with idle ones."""
        for connection in list(self._live.values()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.wait_until_left()

    def close(self) -> None:
        """Close listener and connections, and end the threads."""
        self._is_closed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for connection in list(self._live.values()):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "an upstream's thread does not end"
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.settimeout(PATIENCE_S)  # nobody waits for ever, whatever went wrong
            self.connections += 1
            number = self.connections
            self._live[number] = connection
            thread = threading.Thread(target=self._serve, args=(number, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while self._read(number, stream):
                    with self._lock:
                        answer = self.script[min(self._answered, len(self.script) - 1)]
                        self._answered += 1
                    if not self._answer(answer, connection):
                        return
        except OSError:
            pass  # the client left
        finally:
            self._live.pop(number, None)

    def _read(self, number: int, stream) -> bool:
        """Read a request; False: the client left before it was whole."""
        line = stream.readline()
        if not line.endswith(b"\n"):
            return False
        method, target, _ = line.decode("latin-1").split()
        headers = []
        while (line := stream.readline()) != b"\r\n":
            if not line:
                return False
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name, value.strip()))
        request = Request(number, method, target, headers)
        self.requests.append(request)
        self.seen.set()
        if self.answers_early:
            return True
        for block in _body(request, stream):
            if block is None:
                return False
            request.body += block
        request.is_whole = True
        return True

    def _answer(self, answer: Answer, connection: socket.socket) -> bool:
        """Give an answer; False: the connection is not to be used again."""
        for part in answer:
            if isinstance(part, bytes):
                connection.sendall(part)
            elif isinstance(part, Drip):
                for position in range(len(part.data)):
                    if self._is_left(connection, part.every_s):
                        return False
                    connection.sendall(part.data[position : position + 1])
            elif isinstance(part, Wait):
                until = time.monotonic() + PATIENCE_S
                while not part.event.is_set():
                    if self._is_left(connection, 0.005) or time.monotonic() > until:
                        return False
            elif part is CLOSE:
                return False
            elif part is RESET:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            else:
                part()
        return True

    def _is_left(self, connection: socket.socket, wait_s: float) -> bool:
        """Wait; say whether the client has gone, or the upstream has been closed."""
        connection.settimeout(wait_s)
        try:
            return connection.recv(1, socket.MSG_PEEK) == b"" or self._is_closed.is_set()
        except TimeoutError:
            return self._is_closed.is_set()
        finally:
            connection.settimeout(PATIENCE_S)


def _body(request: Request, stream) -> Iterator[bytes | None]:
    """Yield the body of a request as it comes, and None when it ends before its time."""
    if request.all("transfer-encoding"):
        while True:
            size = stream.readline()
            if not size.endswith(b"\n"):
                yield None
                return
            data = stream.read(int(size, 16) + 2)
            yield data[:-2] if data.endswith(b"\r\n") else None
            if int(size, 16) == 0 or not data.endswith(b"\r\n"):
                return
    for length in request.all("content-length"):
        data = stream.read(int(length))
        yield data
        if len(data) < int(length):
            yield None


@contextmanager
def refusing() -> Iterator[int]:
    """A port that refuses every connection, and that nobody else can take meanwhile."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]
