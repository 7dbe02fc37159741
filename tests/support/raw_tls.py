"""A server and a client of the mesh on plain sockets, that tell what each let through.

Both are made of the real contexts (`front_context`, `mesh_client_context`); only where policy and
SVID come from is the test's own.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import tempfile
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshware.clock import SystemClock
from meshware.errors import IdentityError
from meshware.identity.bundle import Bundles
from meshware.identity.svid import X509SVID
from meshware.identity.tls import mesh_server_context
from meshware.servers.context import front_context


class Held:
    """What a server's context asks of a mesh, with an identity that the test sets."""

    def __init__(self, svid: X509SVID | None, bundles: Bundles) -> None:
        self.clock = SystemClock()
        self.identity = self
        self.be(svid, bundles)

    def be(self, svid: X509SVID | None, bundles: Bundles) -> None:
        """Rotate: from now on this is shown, and these are believed."""
        self._svid, self._bundles = svid, bundles
        self._context = mesh_server_context(svid, bundles, self.clock.now) if svid else None

    def svid(self) -> X509SVID | None:
        """As `Identity.svid`."""
        return self._svid

    def bundles(self) -> Bundles:
        """As `Identity.bundles`."""
        return self._bundles

    def server_context(self) -> ssl.SSLContext:
        """As `Identity.server_context`."""
        if self._context is None:
            raise IdentityError("this process has no identity (yet)")
        return self._context


class Server:
    """Serves connections one after the other; keeps what each gave to the app, or its error."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = self.listener.getsockname()
        self.seen: list[bytes | Exception] = []
        self.reused: list[bool | None] = []
        self._one = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def last(self) -> bytes | Exception:
        """Wait for the next connection to end, and return what became of it."""
        assert self._one.acquire(timeout=20), "no connection ended"
        return self.seen[-1]

    def close(self) -> None:
        """Stop."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self.listener.accept()
            except OSError:
                return
            plain.settimeout(10)
            self.seen.append(self._one_connection(plain))
            self._one.release()

    def _one_connection(self, plain: socket.socket) -> bytes | Exception:
        with plain:
            try:
                with self.context.wrap_socket(plain, server_side=True) as tls:
                    self.reused.append(tls.session_reused)
                    received = tls.recv(4096)
                    tls.sendall(b"heard")
                    with contextlib.suppress(OSError):
                        tls.unwrap().close()
                    return received
            except (OSError, ValueError) as error:
                return error


@contextlib.contextmanager
def serving(context: ssl.SSLContext) -> Iterator[Server]:
    """Run a server."""
    server = Server(context)
    try:
        yield server
    finally:
        server.close()


def front_of(svid: X509SVID | None, bundles: Bundles) -> tuple[Held, ssl.SSLContext]:
    """Return a server's context, and what to rotate it by."""
    held = Held(svid, bundles)
    mesh: Any = held
    return held, front_context(mesh)


def ask(
    address: Any, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[bytes, ssl.SSLSession | None]:
    """Send a request; return the answer, and the session with which to go on.

    Raises:
        OSError: the handshake failed, or the other end hung up instead of answering.
    """
    with (
        socket.create_connection(address, timeout=10) as plain,
        context.wrap_socket(plain, session=session) as tls,
    ):
        tls.sendall(b"request")
        answer = tls.recv(4096)
        if not answer:
            raise ConnectionError("hung up")
        kept = tls.session
        with contextlib.suppress(OSError):
            tls.unwrap().close()
        return answer, kept


def careless_context(
    server_side: bool,
    shown: Sequence[x509.Certificate],
    key: Any,
    version: ssl.TLSVersion | None = None,
) -> ssl.SSLContext:
    """Return the context of a peer that shows what it is told to and believes everybody.

    Raises:
        ssl.SSLError: OpenSSL itself cannot show such a chain.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server_side else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if not shown:
        return context
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(one.public_bytes(Encoding.PEM) for one in shown)
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))
