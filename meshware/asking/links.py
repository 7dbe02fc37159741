"""One connection to an authorizer: the flows over it, in the clear or in TLS, and its life.

TLS is done in memory, by the same flows for every loop: the check of who answers runs at the end of
the handshake (`identity.tls`), so no byte of a request leaves before it.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Hashable

from meshware.asking.http1 import Flow, Reading, Response
from meshware.clients.connections import Life
from meshware.clients.tls import Origination
from meshware.policy.pool_rule import PoolRule

__all__ = ["CHUNK_BYTES", "IdleLinks", "Link"]

CHUNK_BYTES = 64 * 1024
_MOST_IDLE = 32  # for each endpoint
_MOST_KEYS = 256


class Link:
    """One connection. It closes its socket when it is let go of.

    Args:
        sock: connected.
        rule: of its pool.
        tls: to be wrapped in; None: it goes in the clear.

    Attributes:
        received: something of an answer has come over it, for the request under way.
        reading: of that answer; None: there was no request yet.
        is_used: it has carried a request before.
    """

    __slots__ = ("_tls", "_tls_object", "_from_peer", "_to_peer", "is_used", "life", "reading",
                 "received", "sock")  # fmt: skip

    def __init__(self, sock: socket.socket, rule: PoolRule, tls: Origination | None) -> None:
        self.sock = sock
        self.life = Life(rule)
        self.received = False
        self.reading: Reading | None = None
        self.is_used = False
        self._tls = tls
        self._tls_object: ssl.SSLObject | None = None
        if tls is not None:
            self._from_peer, self._to_peer = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls_object = tls.context.wrap_bio(
                self._from_peer, self._to_peer, server_hostname=tls.server_name or None
            )

    def __del__(self) -> None:
        """Close the socket, whose owner is gone."""
        self.sock.close()

    def handshake(self) -> Flow[None]:
        """Make the connection what it has to be.

        Raises:
            OSError: TLS failed, or the other end is not who it should be.
        """
        if self._tls_object is None or self._tls is None:
            return
        yield from self._until_done(self._tls_object.do_handshake)
        self._tls.cap(self.life, self._tls_object)

    def call(self, request: bytes, method: str) -> Flow[Response]:
        """Send a request, and read its response.

        Raises:
            Garbage: there is no whole response.
            OSError: TLS failed.
        """
        self.life.begin()
        self.received = False
        self.reading = Reading(method)
        yield self._encoded(request)
        reading = self.reading.flow()
        wanted = next(reading)
        try:
            while True:
                received = yield wanted
                if received:
                    self.received = True
                data = received if self._tls_object is None else self._decoded(received)
                if data is None:
                    continue  # not yet a whole record
                reading.send(data)
        except StopIteration as end:
            response: Response = end.value
        self.is_used = True
        return response

    def _until_done(self, step: object) -> Flow[None]:
        while True:
            try:
                step()  # type: ignore[operator]
            except ssl.SSLWantReadError:
                if out := self._to_peer.read():
                    yield out
                received = yield None
                self._take(received)
                continue
            if out := self._to_peer.read():
                yield out
            return

    def _take(self, received: bytes) -> None:
        if received:
            self._from_peer.write(received)
        else:
            self._from_peer.write_eof()

    def _encoded(self, data: bytes) -> bytes:
        if self._tls_object is None:
            return data
        self._tls_object.write(data)
        return self._to_peer.read()

    def _decoded(self, received: bytes) -> bytes | None:
        """Return what records hold; b"" at their proper end, None when none is whole yet.

        Raises:
            OSError: the connection was cut within TLS, so that nobody says what is missing.
        """
        assert self._tls_object is not None  # noqa: S101 - told to the type checker
        self._take(received)
        parts: list[bytes] = []
        try:
            while data := self._tls_object.read(CHUNK_BYTES):
                parts.append(data)
        except ssl.SSLWantReadError:
            return b"".join(parts) or None
        except ssl.SSLZeroReturnError:
            pass
        return b"".join(parts)

    def is_quiet(self) -> bool:
        """Say whether an idle connection is still there, and nothing unasked has come over it."""
        try:
            self.sock.setblocking(False)
            socket.socket.recv(self.sock, 1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False


class IdleLinks:
    """Connections that carry nothing for the moment, by whom they lead to. Safe in any thread."""

    def __init__(self) -> None:
        self._of_process = os.getpid()
        self._lock = threading.Lock()
        self._links: dict[Hashable, list[Link]] = {}

    def take(self, key: Hashable) -> Link | None:
        """Return a connection that can be used; None: there is none."""
        self._renew()
        while True:
            with self._lock:
                idle = self._links.get(key)
                link = idle.pop() if idle else None
            if link is None or (not link.life.is_over() and link.is_quiet()):
                return link

    def keep(self, key: Hashable, link: Link) -> None:
        """Keep a connection for the next request, if it may be kept."""
        self._renew()
        link.life.rest()
        if link.life.is_over():
            return
        with self._lock:
            if len(self._links) >= _MOST_KEYS and key not in self._links:
                self._links.clear()
            idle = self._links.setdefault(key, [])
            # Those that have ended meanwhile lie at the bottom, for the last one is taken first.
            while idle and (idle[0].life.is_over() or len(idle) >= _MOST_IDLE):
                idle.pop(0)
            idle.append(link)

    def _renew(self) -> None:
        if self._of_process != os.getpid():  # the parent's connections are the parent's
            self.__init__()  # type: ignore[misc]
