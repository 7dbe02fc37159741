"""The network below httpcore and httpcore2: their backend seam, with our deadlines and notes.

The sync stream waits for what is left of the attempt at most. The async one only notes what
happens: time limits for tasks are set above the library. Both are made for whichever of the two
packages is handed in, whose exceptions they raise.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Iterable
from typing import Any

from meshware.clients.deadline import SocketOption, connect, current_attempt, time_left_s
from meshware.clients.tasks import sleep, trio_of_this_task

__all__ = ["AsyncNetwork", "Network", "refuse_leftovers"]

_NO_DELAY: SocketOption = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Network:
    """A network backend of httpcore for threads."""

    def __init__(self, core: Any) -> None:
        self._core = core

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> _Stream:
        """Connect, each address for at most `timeout` and what is left of the attempt."""
        core = self._core
        source = None if local_address is None else (local_address, 0)
        options = (*(socket_options or ()), _NO_DELAY)
        try:
            return _Stream(core, connect(host, port, timeout, options=options, source=source))
        except TimeoutError as error:
            raise core.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise core.ConnectError(str(error)) from error

    def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        time.sleep(seconds)


class _Stream:
    """A network stream of httpcore over one socket, plain or TLS."""

    def __init__(self, core: Any, sock: socket.socket) -> None:
        self._core = core
        self._sock = sock
        self.has_leftovers = False

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
        attempt = current_attempt()
        try:
            while buffer:
                self._sock.settimeout(time_left_s(timeout))
                if attempt is not None:
                    attempt.sent = True
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
        return _Stream(core, wrapped)

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
            return self.has_leftovers or _is_readable(sock)
        return None


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
    """A network backend of httpcore for tasks, over the package's own for anyio or trio."""

    def __init__(self, core: Any) -> None:
        self._core = core

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> _AsyncStream:
        """Connect as the package's own backend does."""
        core = self._core
        backend = core.AnyIOBackend() if trio_of_this_task() is None else core.TrioBackend()
        return _AsyncStream(
            await backend.connect_tcp(
                host,
                port,
                timeout=timeout,
                local_address=local_address,
                socket_options=socket_options or (),
            )
        )

    async def sleep(self, seconds: float) -> None:
        """Wait, in seconds."""
        await sleep(seconds)


class _AsyncStream:
    """An async network stream of httpcore that notes what happens for the current attempt."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.aclose = stream.aclose
        self.has_leftovers = False

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self.has_leftovers:
            return True
        return self._stream.get_extra_info(info)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await self._stream.read(max_bytes, timeout)
        attempt = current_attempt()
        if attempt is not None:
            if data:
                attempt.received = True
            else:
                attempt.ended = True
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        attempt = current_attempt()
        if attempt is not None and buffer:
            attempt.sent = True
        await self._stream.write(buffer, timeout)

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> _AsyncStream:
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
