"""Upstreams behind TLS and on Unix sockets."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from certificates import Authority, Issued
from upstreams import Upstream


class _Counting(ssl.SSLSocket):
    """A TLS socket that counts what the other end says behind the handshake."""

    received = 0

    def recv_into(self, *args, **kwargs):
        count = super().recv_into(*args, **kwargs)
        self.received += count
        return count


@dataclass
class Handshake:
    """What an upstream saw of one."""

    server_name: str | None = None  # that the client asked for
    peer: dict | None = None  # the client's certificate
    failure: Exception | None = None
    connection: _Counting | None = None

    @property
    def received(self) -> int:
        """The bytes of requests that came over the connection."""
        return self.connection.received if self.connection is not None else 0


@dataclass(eq=False, kw_only=True)
class TLSUpstream(Upstream):
    """An upstream that takes TLS and nothing else.

    Attributes:
        identity: what it shows.
        clients: whose certificates it wants of its clients; None: it wants none.
        handshakes: in the order in which they ended.
    """

    identity: Issued
    directory: Path  # for the files that `ssl` wants
    clients: Authority | None = None
    handshakes: list[Handshake] = field(default_factory=list)

    def __post_init__(self) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.identity.write(self.directory, f"upstream-{id(self)}"))
        context.sslsocket_class = _Counting
        context.sni_callback = self._note_name
        if self.clients is not None:
            context.load_verify_locations(cadata=self.clients.cert_pem.decode())
            context.verify_mode = ssl.CERT_REQUIRED
        self._context = context
        self._names: dict[object, str] = {}
        super().__post_init__()

    def _note_name(self, connection, name, _context) -> None:
        connection.asked_for = name

    def _serve(self, number: int, connection: socket.socket) -> None:
        seen = Handshake()
        try:
            secured = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
            self._live[number] = secured
            secured.do_handshake()
            seen.server_name = getattr(secured, "asked_for", None)
            seen.peer, seen.connection = secured.getpeercert(), secured
        except (OSError, AttributeError) as error:  # the latter: it was closed at this moment
            seen.failure = error
            self._live.pop(number, None)
            connection.close()
            secured.close()
            self.handshakes.append(seen)
            return
        self.handshakes.append(seen)
        super()._serve(number, secured)


@dataclass(eq=False, kw_only=True)
class UnixUpstream(Upstream):
    """An upstream on a Unix socket; `@` first: in the abstract namespace."""

    path: str

    def _listen(self) -> socket.socket:
        self.port = 1  # nobody dials it
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"\0{self.path[1:]}" if self.path.startswith("@") else self.path)
        listener.listen()
        return listener
