"""Take connections of asyncio servers as policy says: in plaintext, by mutual TLS, or either.

Theory of operation
-------------------
A server asks its loop for a listener (`loop.create_server`), and gets ours in its place, which has
the same methods. For each connection that it accepts:

1. The mode of the port is asked for, so an edit of policy counts from the next connection on.
2. DISABLE: the server's protocol gets the connection as it is.
3. STRICT: it is wrapped in TLS, with the identity that holds now. Whoever speaks plaintext is cut
   off by the handshake; without an identity everybody is.
4. PERMISSIVE: the first byte is looked at and left where it is. A TLS handshake begins with 22, and
   no request of HTTP does. Nobody waits for a caller that is silent, and it is cut off in time.

asyncio and uvloop alike; the protocol and its transport are those of the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from meshware.errors import IdentityError
from meshware.runtime.connection import Connected, connected
from meshware.servers.modes import mode_of

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["MeshListener", "listening", "speaks_tls"]

HELLO = 22
"""RFC 8446, 5.1: the type of a record that carries a handshake."""

SILENCE_S = 10.0
"""So long a caller may be silent before its first byte."""

HANDSHAKE_S = 15.0
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_REST_S = 1.0  # of the listener, when there are no descriptors: as asyncio

_log = logging.getLogger("meshware.servers")

Factory = Callable[[], asyncio.BaseProtocol]


@contextlib.contextmanager
def listening(
    loop: asyncio.AbstractEventLoop, mesh: Mesh, is_ours: Callable[[Factory], bool]
) -> Iterator[None]:
    """Have the listeners that a server asks its loop for be ours, for a while.

    Args:
        loop: the server's.
        mesh: of the process.
        is_ours: says whether a factory of protocols is that server's, and not the app's.
    """
    original, original_unix = loop.create_server, loop.create_unix_server

    async def create_server(
        factory: Factory, host: Any = None, port: Any = None, **more: Any
    ) -> Any:
        if more.get("ssl") is not None or not is_ours(factory):
            return await original(factory, host, port, **more)
        sock = more.get("sock")
        sockets = [sock] if sock is not None else await _bound(loop, host, port)
        return MeshListener(mesh, factory, sockets, backlog=more.get("backlog", 100))

    async def create_unix_server(factory: Factory, path: Any = None, **more: Any) -> Any:
        if more.get("ssl") is not None or not is_ours(factory) or more.get("sock") is not None:
            return await original_unix(factory, path, **more)
        # The loop makes the socket, with all that it knows of paths; it is only not to accept.
        made = await original_unix(factory, path, **{**more, "start_serving": False})
        sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in made.sockets]
        return MeshListener(mesh, factory, sockets, backlog=more.get("backlog", 100), made=made)

    loop.create_server = create_server  # type: ignore[method-assign,assignment]
    loop.create_unix_server = create_unix_server  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        del loop.create_server, loop.create_unix_server


async def _bound(
    loop: asyncio.AbstractEventLoop, host: str | None, port: int
) -> list[socket.socket]:
    """Return sockets bound to every address of a host, as `loop.create_server` makes them."""
    found = await loop.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(address)
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    return sockets


class MeshListener(asyncio.AbstractServer):
    """Accepts connections of the running loop and hands each to a protocol of the server.

    Args:
        mesh: says how each is taken.
        factory: makes protocols.
        sockets: bound; they are closed with this.
        backlog: of the system's queue.
        made: to be closed with this.
    """

    def __init__(
        self,
        mesh: Mesh,
        factory: Factory,
        sockets: Sequence[socket.socket],
        *,
        backlog: int,
        made: asyncio.AbstractServer | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._mesh, self._factory, self._made = mesh, factory, made
        self._sockets = list(sockets)
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        for sock in self._sockets:
            sock.setblocking(False)
            sock.listen(backlog)
            self._loop.add_reader(sock.fileno(), self._accept, sock, backlog)

    # --- what servers ask of a listener -------------------------------------------------------

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The sockets that listen; none when closed."""
        return () if self._is_closed else tuple(self._sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def is_serving(self) -> bool:
        """Say whether connections are accepted."""
        return not self._is_closed

    async def start_serving(self) -> None:
        """Do nothing: it serves from its making."""

    async def serve_forever(self) -> None:
        """Wait until cancelled, and close."""
        try:
            await self._loop.create_future()
        finally:
            self.close()

    def close(self) -> None:
        """Accept no more; connections that a protocol has go on."""
        if self._is_closed:
            return
        self._is_closed = True
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()
        for task in list(self._tasks):
            task.cancel()
        if self._made is not None:
            self._made.close()

    async def wait_closed(self) -> None:
        """Wait until nothing of this runs any more."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- connections --------------------------------------------------------------------------

    def _accept(self, sock: socket.socket, most: int) -> None:
        for _ in range(most):
            if self._is_closed:
                return
            try:
                connection, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    raise
                _log.error("no connection can be accepted: %s; trying again", error.strerror)
                self._loop.remove_reader(sock.fileno())
                self._loop.call_later(_REST_S, self._go_on, sock, most)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._take(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _go_on(self, sock: socket.socket, most: int) -> None:
        if not self._is_closed:
            self._loop.add_reader(sock.fileno(), self._accept, sock, most)

    async def _take(self, connection: socket.socket) -> None:
        try:
            context = await self._context_for(connection)
            connected.set(Connected())  # of this task, and of those that the protocol makes
            if context is None:
                await self._loop.connect_accepted_socket(self._protocol, connection)
            else:
                await self._loop.connect_accepted_socket(
                    self._protocol, connection, ssl=context, ssl_handshake_timeout=HANDSHAKE_S
                )
        except (OSError, IdentityError, EOFError) as error:
            # A caller's own affair: it is told nothing, and the log only when asked.
            _log.debug("a connection is refused: %s", error)
            connection.close()
        except BaseException:
            connection.close()
            raise

    def _protocol(self) -> asyncio.BaseProtocol:
        """Make a protocol that has its connection noted before it does anything with it."""
        protocol, noted = self._factory(), connected.get()
        connection_made = protocol.connection_made

        def note_and_go_on(transport: asyncio.BaseTransport) -> None:
            if noted is not None:
                noted.transport = transport
            connection_made(transport)

        protocol.connection_made = note_and_go_on  # type: ignore[method-assign]
        return protocol

    async def _context_for(self, connection: socket.socket) -> ssl.SSLContext | None:
        """Return the TLS for a connection; None: it is plaintext.

        Raises:
            IdentityError: it must be TLS, and this process has no identity.
            OSError: it is over before it began.
        """
        mode = mode_of(self._mesh, _port_of(connection))
        if mode == "DISABLE":
            return None
        if mode == "PERMISSIVE":
            await self._first_byte(connection)
            if not speaks_tls(connection):
                return None
        return self._mesh.identity.server_context()

    async def _first_byte(self, connection: socket.socket) -> None:
        come = self._loop.create_future()

        def notify() -> None:
            if not come.done():
                come.set_result(None)

        self._loop.add_reader(connection.fileno(), notify)
        try:
            async with asyncio.timeout(SILENCE_S):
                await come
        finally:
            self._loop.remove_reader(connection.fileno())


def speaks_tls(connection: socket.socket) -> bool:
    """Say whether the caller begins a TLS handshake; what it said stays to be read.

    Raises:
        EOFError: it has gone without a word.
        OSError: the connection is broken.
    """
    first = connection.recv(1, socket.MSG_PEEK)
    if not first:
        raise EOFError("the caller has gone")
    return first[0] == HELLO


def _port_of(connection: socket.socket) -> int | None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    port: int = connection.getsockname()[1]
    return port
