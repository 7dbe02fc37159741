"""The network below httpcore and httpcore2: their backend seam, with our deadlines and notes.

The sync stream waits for what is left of the attempt at most. The async one only notes what
happens: time limits for tasks are set above the library. Both are made for whichever of the two
packages is handed in, whose exceptions they raise.

Where policy originates TLS, a connection comes up with it: to the package it is a plain one.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

from meshware.clients import connections
from meshware.clients.addresses import from_host, unix_path
from meshware.clients.connections import Life
from meshware.clients.deadline import (
    Attempt,
    SocketOption,
    connect,
    current_attempt,
    time_left_s,
)
from meshware.clients.tasks import sleep, trio_of_this_task
from meshware.clients.tls import Origination
from meshware.policy.pool_rule import PoolRule

__all__ = ["AsyncNetwork", "Network", "refuse_leftovers"]


class Network:
    """A network backend of httpcore for threads.

    Args:
        core: the package.
        rule: of every connection.
        tls: what to wrap each in; None: the package does what the URL says.
    """

    def __init__(self, core: Any, rule: PoolRule, tls: Origination | None) -> None:
        self._core = core
        self._rule = rule
        self._tls = tls
        self._options = connections.socket_options(rule)

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> _Stream:
        """Connect, each address for at most `timeout` and what is left of the attempt.

        TLS of policy's has what the connecting has left of the time-out.
        """
        core, tls = self._core, self._tls
        until = None if timeout is None else time.monotonic() + timeout
        source = None if local_address is None else (local_address, 0)
        options = (*(socket_options or ()), *self._options)
        try:
            sock = connect(from_host(host), port, timeout, options=options, source=source)
        except TimeoutError as error:
            raise core.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise core.ConnectError(str(error)) from error
        stream = _Stream(core, sock, Life(self._rule), (from_host(host), port))
        if tls is None:
            return stream
        wrapped = stream.start_tls(tls.context, tls.server_name, _left_s(until))
        tls.cap(wrapped._life, wrapped._sock)
        return wrapped

    def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        time.sleep(seconds)


class _Use:
    """What threads' and tasks' streams note of who uses them."""

    def __init__(self, core: Any, life: Life, endpoint: tuple[str, int]) -> None:
        self._core = core
        self._life = life
        self._endpoint = endpoint
        self._user: Attempt | None = None
        self.has_leftovers = False

    def _note_sending(self) -> None:
        attempt = current_attempt()
        if attempt is not None:
            attempt.sent = True
            if self._user is not attempt:
                attempt.is_reused = self._user is not None
                self._user = attempt
                self._life.begin()

    def _is_unwanted(self) -> bool:
        """Say whether the pool has to take this connection, which is idle, for closed."""
        attempt = current_attempt()
        wants_another = attempt is not None and attempt.fresh_to == self._endpoint
        return wants_another or self.has_leftovers or self._life.is_over()


class _Stream(_Use):
    """A network stream of httpcore over one socket, plain or TLS."""

    def __init__(
        self, core: Any, sock: socket.socket, life: Life, endpoint: tuple[str, int]
    ) -> None:
        super().__init__(core, life, endpoint)
        self._sock = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            self._sock.settimeout(time_left_s(timeout))
            data = self._sock.recv(max_bytes)
        except TimeoutError as error:
            raise self._core.ReadTimeout(str(error)) from error
        except OSError as error:
            raise self._core.ReadError(str(error)) from error
        attempt = current_attempt()
        if attempt is not None:
            if data:
                attempt.received = True
            else:
                attempt.ended = True
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        try:
            while buffer:
                self._sock.settimeout(time_left_s(timeout))
                self._note_sending()
                buffer = buffer[self._sock.send(buffer) :]
        except TimeoutError as error:
            raise self._core.WriteTimeout(str(error)) from error
        except OSError as error:
            raise self._core.WriteError(str(error)) from error

    def close(self) -> None:
        self._sock.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _Stream:
        core = self._core
        try:
            self._sock.settimeout(time_left_s(timeout))
            wrapped = ssl_context.wrap_socket(self._sock, server_hostname=server_hostname)
        except BaseException as error:
            self.close()
            if isinstance(error, TimeoutError):
                raise core.ConnectTimeout(str(error)) from error
            if isinstance(error, OSError):
                raise core.ConnectError(str(error)) from error
            raise
        return _Stream(core, wrapped, self._life, self._endpoint)

    def get_extra_info(self, info: str) -> Any:
        sock = self._sock
        if info == "ssl_object":
            return sock if isinstance(sock, ssl.SSLSocket) else None
        if info == "client_addr":
            return sock.getsockname()
        if info == "server_addr":
            return sock.getpeername()
        if info == "socket":
            return sock
        if info == "is_readable":
            return self._is_unwanted() or _is_readable(sock)
        return None


def _left_s(until: float | None) -> float | None:
    return None if until is None else max(0.001, until - time.monotonic())


def _is_readable(sock: socket.socket) -> bool:
    """Return whether a receive would return at once; an idle connection that is was closed."""
    descriptor = sock.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def refuse_leftovers(body: Any) -> None:
    """Keep a connection from being used again if more came over it than the response.

    httpcore would read what is left over as the answer to the next request, perhaps of another
    user. It drops idle connections on which something can be read, so that is what we tell it.

    Args:
        body: a response body of the core, to be closed next.
    """
    connection: Any = getattr(getattr(body, "_stream", None), "_connection", None)
    state = getattr(connection, "_h11_state", None)
    if state is not None and state.trailing_data[0]:
        connection._network_stream.has_leftovers = True


class AsyncNetwork:
    """A network backend of httpcore for tasks, over the package's own for anyio or trio.

    Args:
        core: the package.
        rule: of every connection.
        tls: what to wrap each in; None: the package does what the URL says.
    """

    def __init__(self, core: Any, rule: PoolRule, tls: Origination | None) -> None:
        self._core = core
        self._rule = rule
        self._tls = tls
        self._options = connections.socket_options(rule)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> _AsyncStream:
        """Connect as the package's own backend does.

        TLS of policy's has what the connecting has left of the time-out.
        """
        core, tls = self._core, self._tls
        until = None if timeout is None else time.monotonic() + timeout
        backend = core.AnyIOBackend() if trio_of_this_task() is None else core.TrioBackend()
        address = from_host(host)
        path = unix_path(address)
        if path is not None:
            connected = await backend.connect_unix_socket(path, timeout=timeout)
        else:
            connected = await backend.connect_tcp(
                address,
                port,
                timeout=timeout,
                local_address=local_address,
                socket_options=(*(socket_options or ()), *self._options),
            )
        stream = _AsyncStream(core, connected, Life(self._rule), (address, port))
        if tls is None:
            return stream
        wrapped = await stream.start_tls(tls.context, tls.server_name, _left_s(until))
        tls.cap(wrapped._life, wrapped.get_extra_info("ssl_object"))
        return wrapped

    async def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        await sleep(seconds)


class _AsyncStream(_Use):
    """An async network stream of httpcore that notes what happens for the current attempt."""

    def __init__(self, core: Any, stream: Any, life: Life, endpoint: tuple[str, int]) -> None:
        super().__init__(core, life, endpoint)
        self._stream = stream
        self.aclose = stream.aclose

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._is_unwanted():
            return True
        return self._stream.get_extra_info(info)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        try:
            data: bytes = await self._stream.read(max_bytes, timeout)
        except ssl.SSLError as error:  # an alert in place of an answer, which not all packages map
            raise self._core.ReadError(str(error)) from error
        attempt = current_attempt()
        if attempt is not None:
            if data:
                attempt.received = True
            else:
                attempt.ended = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._note_sending()
        try:
            await self._stream.write(buffer, timeout)
        except ssl.SSLError as error:
            raise self._core.WriteError(str(error)) from error

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _AsyncStream:
        wrapped = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        return _AsyncStream(self._core, wrapped, self._life, self._endpoint)
