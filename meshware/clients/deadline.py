"""Deadlines below the sync libraries: sockets that never wait longer than the attempt may.

Why: the libraries' time-outs are for one operation each, so an upstream that sends a byte now and
then holds a call for ever. Here each receive and send waits at most for what is left.

Theory of operation. An `Attempt` says until when; the client makes it the current one around
everything that it asks of its library for that attempt: sending, waiting for headers, each read
of the body. Sockets look up the current attempt, never one of their own, so that a pooled
connection obeys whoever uses it now and nobody after. A context variable carries it, so that
threads, greenlets and tasks each have theirs. When time is up a socket raises `TimeoutError`, as
it does for a time-out of its own, and every library maps that to its own time-out exception.

An attempt also notes what happened on the wire, which the libraries' exceptions do not tell: was
anything sent, was anything received, did the other end close, had the connection been used before.
And it may ask for a connection that nobody has used: pools look at the current attempt, and then
take those that they keep to the same endpoint for closed.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterable
from contextvars import ContextVar, Token
from typing import Any

from meshware.clients.addresses import unix_path

__all__ = [
    "Attempt",
    "DeadlineSSLSocket",
    "DeadlineSocket",
    "SocketOption",
    "connect",
    "current_attempt",
    "enter",
    "leave",
    "time_left_s",
]

SocketOption = tuple[int, int, int | bytes]


class Attempt:
    """Until when one attempt and its body may take, and what it did on the wire."""

    __slots__ = ("ended", "fresh_to", "is_reused", "received", "sent", "until")

    def __init__(self, until: float | None, fresh_to: tuple[str, int] | None = None) -> None:
        self.until = until  # time.monotonic() seconds; None: no limit
        self.fresh_to = fresh_to  # the endpoint to which the connection has to be a new one
        self.is_reused = False  # the request went over a connection that had been used before
        self.sent = False  # something of the request was handed to a socket
        self.received = False  # something was received
        self.ended = False  # the other end closed its side

    def allow(self, seconds: float | None) -> None:
        """Set what may still be used up, counted from now; None: no limit."""
        self.until = None if seconds is None else time.monotonic() + seconds

    @property
    def is_stale(self) -> bool:
        """Whether it may have been lost because the connection had been idle for too long."""
        return self.is_reused and not self.received

    def is_over(self) -> bool:
        """Return whether the time has run out."""
        return self.until is not None and time.monotonic() >= self.until


_current: ContextVar[Attempt | None] = ContextVar("meshware_attempt", default=None)

current_attempt = _current.get
"""Return the attempt that this thread or task works on, or None."""


def enter(attempt: Attempt | None) -> Token[Attempt | None]:
    """Make an attempt the current one. Every `enter` is followed by its `leave`, in a `finally`."""
    return _current.set(attempt)


leave = _current.reset


def time_left_s(limit_s: float | None) -> float | None:
    """Return how long the next operation may wait: `limit_s`, or less when the attempt ends before.

    Raises:
        TimeoutError: the attempt's time has run out.
    """
    attempt = _current.get()
    if attempt is None or attempt.until is None:
        return limit_s
    left_s = attempt.until - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("the deadline of the call has passed")
    return left_s if limit_s is None or left_s < limit_s else limit_s


class _ObeysDeadline:
    """Mixed into socket classes; what the library sets as time-out holds for each receive.

    Sends are bound by the attempt alone: libraries set their connect time-out for them.
    """

    _limit_s: float | None = None

    def settimeout(self, value: float | None) -> None:
        self._limit_s = value
        super().settimeout(value)  # type: ignore[misc]

    def recv(self, bufsize: int = 1024, flags: int = 0) -> bytes:
        attempt = self._before_receive()
        data: bytes = super().recv(bufsize, flags)  # type: ignore[misc]
        _note(attempt, len(data))
        return data

    def recv_into(self, buffer: Any, nbytes: int | None = 0, flags: int = 0) -> int:
        attempt = self._before_receive()
        count: int = super().recv_into(buffer, nbytes or 0, flags)  # type: ignore[misc]
        _note(attempt, count)
        return count

    def send(self, data: Any, flags: int = 0, **options: Any) -> int:
        self._before_send()
        # gevent's `sendall` sends by this, with a time-out of its own.
        return super().send(data, flags, **options)  # type: ignore[misc,no-any-return]

    def sendall(self, data: Any, flags: int = 0) -> None:
        self._before_send()
        super().sendall(data, flags)  # type: ignore[misc]

    def _before_receive(self) -> Attempt | None:
        super().settimeout(time_left_s(self._limit_s))  # type: ignore[misc]
        return _current.get()

    def _before_send(self) -> None:
        super().settimeout(time_left_s(None))  # type: ignore[misc]
        attempt = _current.get()
        if attempt is not None:
            attempt.sent = True


def _note(attempt: Attempt | None, received: int) -> None:
    if attempt is not None:
        if received:
            attempt.received = True
        else:
            attempt.ended = True


class DeadlineSocket(_ObeysDeadline, socket.socket):
    """A socket that obeys the current attempt."""


class DeadlineSSLSocket(_ObeysDeadline, ssl.SSLSocket):
    """A TLS socket that obeys the current attempt; for `SSLContext.sslsocket_class`.

    The handshake is one operation to OpenSSL, bound by the time-out of the socket that is wrapped.
    """


def connect(
    host: str,
    port: int,
    limit_s: float | None,
    *,
    options: Iterable[SocketOption] = (),
    source: tuple[str, int] | None = None,
) -> DeadlineSocket:
    """Return a connected socket, trying each address of the host in turn.

    Args:
        host: an address, a name, or `unix://` and the path of a socket.
        port: TCP port.
        limit_s: how long finding the addresses, and connecting to each, may take.
        options: of TCP, set before connecting.
        source: the local end; not for Unix sockets.

    Raises:
        TimeoutError: no address answered in time, or the attempt's time has run out.
        OSError: the host has no address, or none accepted.
    """
    path = unix_path(host)
    if path is not None:
        addresses: _Addresses = [(socket.AF_UNIX, socket.SOCK_STREAM, 0, "", path)]
        options, source = (), None
    else:
        addresses = _addresses(host, port, limit_s)
    failure: OSError = OSError(f"{host} has no address")
    for family, kind, protocol, _, address in addresses:
        sock = DeadlineSocket(family, kind, protocol)
        try:
            for option in options:
                sock.setsockopt(*option)
            if source is not None:
                sock.bind(source)
            sock.settimeout(time_left_s(limit_s))
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    try:
        raise failure
    finally:
        del failure  # it refers to this frame, which would keep both alive


_Addresses = list[tuple[Any, Any, int, str, Any]]


def _addresses(host: str, port: int, limit_s: float | None) -> _Addresses:
    """Look a host up, for at most `limit_s` and what is left of the attempt."""
    bound_s = time_left_s(limit_s)
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass  # not an address but a name, which may take the resolver a while
    if bound_s is None:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    found: list[_Addresses | OSError] = []

    def look_up() -> None:
        try:
            found.append(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except OSError as error:
            found.append(error)

    # The resolver cannot be interrupted: one that hangs is left behind in a thread of its own.
    thread = threading.Thread(target=look_up, name="meshware-resolve", daemon=True)
    thread.start()
    thread.join(bound_s)
    if not found:
        raise TimeoutError(f"looking up {host} took longer than {bound_s:.3f} s")
    if isinstance(found[0], OSError):
        raise found[0]
    return found[0]
