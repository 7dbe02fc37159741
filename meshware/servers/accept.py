"""Listen as policy says: mutual TLS, plaintext, or both on one port. For servers on asyncio.

Theory of operation. A `Listener` stands where `loop.create_server` gives a server of the loop's:

1. It accepts by itself, and asks for the port's mode at each connection: an edit of policy counts
   for the next one.
2. STRICT: the connection is handed to the loop with our TLS context. DISABLE: without any.
3. PERMISSIVE: the first byte is looked at and left where it is. 0x16 begins a TLS handshake and no
   request of HTTP. Nobody waits for one who says nothing: it is watched beside all others, and
   dropped after a while.
4. From `connect_accepted_socket` on, everything is the loop's and the server's as ever.

Pausing a transport of the loop's to look into it is no way: uvloop loses the bytes.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
import ssl
import stat
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from meshware.servers.modes import HANDSHAKE_BYTE, port_of, spoken

if TYPE_CHECKING:
    from meshware.runtime.mesh import Mesh

__all__ = ["Listener", "MeshLoop"]

Factory = Callable[[], asyncio.BaseProtocol]

HANDSHAKE_S = 10.0
"""How long a client may take to finish its handshake, and to say its first byte before that."""

_ACCEPT_AGAIN_S = 1.0  # asyncio's, when there are no descriptors left
_NOTHING_LEFT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})

_log = logging.getLogger("meshware.servers")


class MeshLoop:
    """Stands for an event loop where a server starts: what listens by it speaks as policy says.

    Everything else is the loop's.

    Args:
        loop: the running one.
        mesh: whose policy and identity hold.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, mesh: Mesh) -> None:
        self._loop = loop
        self._mesh = mesh

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_server(
        self,
        protocol_factory: Factory,
        host: Any = None,
        port: Any = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        **options: Any,
    ) -> Any:
        """Listen like `loop.create_server`. A TLS context that is not ours is the app's affair."""
        if not _is_ours(options.get("ssl")):
            return await self._loop.create_server(
                protocol_factory, host, port, sock=sock, backlog=backlog, **options
            )
        is_started = options.pop("start_serving", True)
        tls = _tls_of(options)
        if sock is not None:
            sockets = [sock]
        else:
            # Binding is the loop's: names, families and options as ever. The sockets are ours.
            bound = await self._loop.create_server(
                protocol_factory, host, port, start_serving=False, **options
            )
            sockets = [socket.socket(fileno=os.dup(each.fileno())) for each in bound.sockets]
            bound.close()
        return self._listen(protocol_factory, sockets, backlog, tls, is_started)

    async def create_unix_server(
        self,
        protocol_factory: Factory,
        path: Any = None,
        *,
        sock: socket.socket | None = None,
        backlog: int = 100,
        **options: Any,
    ) -> Any:
        """Listen like `loop.create_unix_server`."""
        if not _is_ours(options.get("ssl")):
            return await self._loop.create_unix_server(
                protocol_factory, path, sock=sock, backlog=backlog, **options
            )
        is_started = options.pop("start_serving", True)
        tls = _tls_of(options)
        sockets = [_bound_to(os.fspath(path)) if sock is None else sock]
        return self._listen(protocol_factory, sockets, backlog, tls, is_started)

    def _listen(
        self,
        factory: Factory,
        sockets: list[socket.socket],
        backlog: int,
        tls: dict[str, Any],
        is_started: bool,
    ) -> Listener:
        self._mesh.start()
        listener = Listener(self._loop, self._mesh, factory, sockets, backlog=backlog, tls=tls)
        if is_started:
            listener.start()
        return listener


class Listener:
    """Accepts connections, and hands each to the loop as the mode of its port says.

    It is closed and waited for like the server that `loop.create_server` returns.

    Args:
        loop: the running one.
        mesh: whose policy and identity hold.
        factory: makes the protocol of a connection.
        sockets: bound; they are its own from now on.
        backlog: how many connections may wait to be accepted.
        tls: for `connect_accepted_socket`: the front context as `ssl`, and time limits.
        silence_s: how long a connection may say nothing where its first byte decides.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        mesh: Mesh,
        factory: Factory,
        sockets: list[socket.socket],
        *,
        backlog: int = 100,
        tls: dict[str, Any] | None = None,
        silence_s: float = HANDSHAKE_S,
    ) -> None:
        self._silence_s = silence_s
        self._loop = loop
        self._mesh = mesh
        self._factory = factory
        self._sockets = sockets
        self._backlog = backlog
        self._tls = tls or {}
        if self._tls.get("ssl") is None:
            from meshware.servers.context import front_context

            self._tls["ssl"] = front_context(mesh)
        self._tls.setdefault("ssl_handshake_timeout", HANDSHAKE_S)
        self._silent: dict[socket.socket, asyncio.TimerHandle] = {}
        self._unborn: set[socket.socket] = set()  # no transport has them yet
        self._starting: set[asyncio.Task[None]] = set()
        self._is_serving = False
        self._is_closed = False

    # --- as a server of the loop's ------------------------------------------------------------

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """Where it listens; nothing once it is closed."""
        return () if self._is_closed else tuple(self._sockets)

    def is_serving(self) -> bool:
        """Say whether it accepts connections."""
        return self._is_serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def start(self) -> None:
        """Accept connections from now on."""
        if self._is_serving or self._is_closed:
            return
        self._is_serving = True
        for listening in self._sockets:
            listening.setblocking(False)
            listening.listen(self._backlog)
            port = port_of(listening)
            self._watch(listening, self._mesh.port if port is None else port)

    async def start_serving(self) -> None:
        """Accept connections from now on."""
        self.start()

    def close(self) -> None:
        """Accept nothing more; what is connected stays, what is not yet goes."""
        if self._is_closed:
            return
        self._is_closed, self._is_serving = True, False
        for listening in self._sockets:
            if listening.fileno() >= 0:
                self._loop.remove_reader(listening)
            listening.close()
        for connection in list(self._silent):
            self._drop(connection)
        for task in self._starting:
            task.cancel()
        for connection in self._unborn:
            connection.close()
        self._unborn.clear()

    async def wait_closed(self) -> None:
        """Wait until nothing is half connected any more."""
        if self._starting:
            await asyncio.gather(*self._starting, return_exceptions=True)

    # --- accepting ----------------------------------------------------------------------------

    def _watch(self, listening: socket.socket, port: int | None) -> None:
        if not self._is_closed:
            self._loop.add_reader(listening, self._accept, listening, port)

    def _accept(self, listening: socket.socket, port: int | None) -> None:
        """Take what waits, but not for ever: others have their turn too."""
        for _ in range(self._backlog + 1):
            try:
                connection, _address = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return  # another worker may have been faster
            except OSError as error:
                if error.errno not in _NOTHING_LEFT:
                    raise
                self._loop.call_exception_handler(
                    {
                        "message": "no connection can be accepted for now",
                        "exception": error,
                        "socket": listening,
                    }
                )
                self._loop.remove_reader(listening)
                self._loop.call_later(_ACCEPT_AGAIN_S, self._watch, listening, port)
                return
            connection.setblocking(False)
            match spoken(self._mesh, port):
                case "STRICT":
                    self._connect(connection, self._tls)
                case "DISABLE":
                    self._connect(connection, {})
                case "PERMISSIVE":
                    self._look(connection)

    def _look(self, connection: socket.socket) -> None:
        """Look at the first byte of a connection, when it is there."""
        try:
            first = connection.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            if connection not in self._silent:
                self._silent[connection] = self._loop.call_later(
                    self._silence_s, self._drop, connection
                )
                self._loop.add_reader(connection, self._look, connection)
            return
        except OSError:
            first = b""
        if not first:
            self._drop(connection)
            return
        self._forget(connection)
        self._connect(connection, self._tls if first == HANDSHAKE_BYTE else {})

    def _drop(self, connection: socket.socket) -> None:
        self._forget(connection)
        connection.close()

    def _forget(self, connection: socket.socket) -> None:
        timer = self._silent.pop(connection, None)
        if timer is not None:
            timer.cancel()
            self._loop.remove_reader(connection)

    # --- handing over -------------------------------------------------------------------------

    def _connect(self, connection: socket.socket, tls: dict[str, Any]) -> None:
        self._unborn.add(connection)
        task = self._loop.create_task(self._hand_over(connection, tls))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _hand_over(self, connection: socket.socket, tls: dict[str, Any]) -> None:
        self._unborn.discard(connection)
        try:
            protocol = self._factory()
        except Exception as error:
            connection.close()
            self._tell("a server has no protocol for a connection", error)
            return
        try:
            await self._loop.connect_accepted_socket(lambda: protocol, connection, **tls)
        except OSError as error:
            # A stranger's handshake that failed is no mistake of ours, but worth knowing.
            _log.info("a connection was refused: %s", _words(error))
        except Exception as error:
            self._tell("a connection could not be handed to its server", error)

    def _tell(self, message: str, error: Exception) -> None:
        self._loop.call_exception_handler({"message": message, "exception": error})


def _is_ours(context: Any) -> bool:
    """Say whether TLS is left to us: no context is given, or one of `front_context`."""
    if context is None:
        return True
    from meshware.servers.context import FrontContext

    if isinstance(context, FrontContext):
        return True
    _log.warning(
        "this server has a TLS context of its own, so meshware leaves its port as it is; "
        "callers prove no identity there, and a STRICT port refuses them"
    )
    return False


def _tls_of(options: dict[str, Any]) -> dict[str, Any]:
    """Take what is about TLS out of the options of `create_server`."""
    names = ("ssl", "ssl_handshake_timeout", "ssl_shutdown_timeout")
    found = {name: options.pop(name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _bound_to(path: str | bytes) -> socket.socket:
    """Return a Unix socket bound to a path, from which a stale one is removed, as asyncio does."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path[:1] not in ("\0", b"\0"):
            try:
                if stat.S_ISSOCK(os.stat(path).st_mode):
                    os.remove(path)
            except FileNotFoundError:
                pass
        bound.bind(path)
    except BaseException:
        bound.close()
        raise
    return bound


def _words(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError):
        return str(error.args[1] if len(error.args) > 1 else error)
    return str(error) or type(error).__name__
