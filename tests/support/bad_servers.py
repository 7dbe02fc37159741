"""Servers that answer everything alike, or nothing at all."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager


@contextmanager
def answering(reply: bytes, *, hold: bool = False):
    """A server that answers everything alike, or nothing at all."""
    server = socket.create_server(("127.0.0.1", 0))
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                connection.recv(65536)
                if hold:
                    ended.wait()
                connection.sendall(reply)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server.getsockname()[1]
    finally:
        ended.set()
        server.shutdown(socket.SHUT_RDWR)
        server.close()
