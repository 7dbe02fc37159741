"""Issuers of tokens: https servers on loopback that serve keys, and some that do worse."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from certificates import Authority
from cryptography.hazmat.primitives.asymmetric import ec

from meshware.identity.jwk import public_jwk

Answer = Callable[[socket.socket], None]
"""Writes an answer, however it likes, to a connection whose request has been read."""


def new_key(kid: str) -> dict[str, str]:
    """A public key of an issuer."""
    return public_jwk(ec.generate_private_key(ec.SECP256R1()), kid=kid, use="sig")


def key_set(*keys: dict[str, str]) -> bytes:
    """A key set."""
    return json.dumps({"keys": list(keys)}).encode()


def says(body: bytes, status: str = "200 OK", *headers: str) -> Answer:
    """An answer as it should be."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "Connection: close"]
    return raw("\r\n".join([*lines, "", ""]).encode() + body)


def redirects(location: str, status: str = "302 Found") -> Answer:
    """An answer that leads elsewhere."""
    return says(b"", status, f"Location: {location}")


def raw(data: bytes) -> Answer:
    """Any bytes."""
    return lambda connection: connection.sendall(data)


def drips(head: bytes, every_s: float = 0.05) -> Answer:
    """A head, and then a byte now and again, for ever."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(b" ")
            time.sleep(every_s)

    return answer


def never(connection: socket.socket) -> None:
    """Nothing, until the other end goes away."""
    connection.recv(1)


def endless(head: bytes) -> Answer:
    """A head, and then more than anybody wants."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        for _ in range(1600):
            connection.sendall(b" " * 65536)  # a hundred megabytes

    return answer


class KeyServer:
    """Serves what a test says, by path; https unless told otherwise.

    Attributes:
        requests: the head of each request, as it came.
    """

    def __init__(self, directory: Path, *names: str, address: str = "127.0.0.1", tls: bool = True):
        self.requests: list[str] = []
        self._answers: dict[str, Answer] = {}
        self._directory = directory
        self._listener = socket.create_server((address, 0))
        self._listener.settimeout(0.1)
        self.port: int = self._listener.getsockname()[1]
        self._context: ssl.SSLContext | None = None
        self.scheme = "http"
        if tls:
            self.scheme = "https"
            authority = Authority("an authority of keys")
            self.ca_file = directory / f"ca-{self.port}.pem"
            self.ca_file.write_bytes(authority.cert_pem)
            paths = authority.issue(*(names or ("localhost", "127.0.0.1"))).write(
                directory, f"keys-{self.port}"
            )
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*paths)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def uri(self, path: str = "/keys", host: str = "localhost") -> str:
        """The address of a path."""
        return f"{self.scheme}://{host}:{self.port}{path}"

    def say(self, answer: Answer, path: str = "/keys") -> None:
        """Answer so from now on."""
        self._answers[path] = answer

    def times_asked(self, path: str = "/keys") -> int:
        """How often a path was asked for."""
        return sum(head.split(" ")[1] == path for head in self.requests)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        try:
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                data = connection.recv(65536)
                if not data:
                    return
                head += data
            self.requests.append(head.decode())
            path = head.split(b" ")[1].decode()
            self._answers.get(path, says(b"", "404 Not Found"))(connection)
        except OSError:
            pass  # the other end has gone, as some tests want
        finally:
            connection.close()


@contextmanager
def key_server(directory: Path, *names: str, **how) -> Iterator[KeyServer]:
    """A server, which is ended."""
    made = KeyServer(directory, *names, **how)
    try:
        yield made
    finally:
        made.close()
