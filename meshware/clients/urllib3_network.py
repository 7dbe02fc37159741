"""The network below requests and urllib3: connections and pools over sockets that obey deadlines.

http.client, below urllib3, is lenient where the other clients are not: it reads what is no head and
no chunk (see `meshware.clients.http1_lines`), and takes a length or an encoding that it cannot read
for none. Here those are errors as they are there: a broken answer is never a shorter success.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from email.message import Message
from functools import partial
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from meshware.clients.addresses import from_host
from meshware.clients.connections import Life, socket_options
from meshware.clients.deadline import (
    DeadlineSocket,
    DeadlineSSLSocket,
    connect,
    current_attempt,
    time_left_s,
)
from meshware.clients.http1_lines import ChunkLines, HeadLines
from meshware.clients.tls import Origination
from meshware.policy.pool_rule import PoolRule

__all__ = ["close_pools", "make_pools"]

_LOOK_EVERY_S = 1.0
MAX_ENDPOINTS = 256
MAX_IDLE_PER_ENDPOINT = 64


def make_pools(rule: PoolRule, tls: Origination | None = None) -> PoolManager:
    """Return the pools for one service: one for each of its endpoints.

    Args:
        rule: of every connection.
        tls: what to wrap those to `http://` in; None: nothing.
    """
    manager = PoolManager(
        num_pools=MAX_ENDPOINTS,
        maxsize=MAX_IDLE_PER_ENDPOINT,
        block=False,
        socket_options=socket_options(rule),
    )
    classes: Any = {  # urllib3 only calls them
        "http": partial(_Pool, rule=rule, tls=tls),
        "https": partial(_TLSPool, rule=rule, tls=None),
    }
    manager.pool_classes_by_scheme = classes
    return manager


def close_pools(manager: PoolManager) -> None:
    """Close the idle connections of a service; one in use is closed when its response ends.

    urllib3 itself only forgets its pools, and each response refers to its own.
    """
    for key in manager.pools.keys():  # noqa: SIM118 - it has no iterator, and says so
        pool = manager.pools.get(key)
        if pool is not None:
            pool.close()
    manager.clear()


class _WholeHead(http.client.HTTPResponse):
    """A response whose head must be whole and mean one thing."""

    def _read_status(self) -> tuple[str, int, str]:
        # http.client passes over 100 only, and takes 103 (early hints) for the answer itself, so
        # that the true answer would be read as that to the next request.
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not 102 <= status < 200:
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        file, self.fp = self.fp, HeadLines(self.fp)  # type: ignore[assignment]
        super().begin()
        problem = _problem(self.headers)
        if problem is not None:
            raise http.client.HTTPException(problem)
        length = self.headers.get("content-length")
        if self.length is None and length is not None and not self.chunked:
            # One length, but said twice ("5, 5"): http.client would read until the end instead.
            self.length = int(length.partition(",")[0])
            self.will_close = self._check_close()  # type: ignore[attr-defined]
        if self.fp is not None:  # None: there is no body
            self.fp = ChunkLines(file) if self.chunked else file  # type: ignore[assignment]


def _problem(headers: Message) -> str | None:
    """Return what makes a head ambiguous, None for nothing."""
    encodings = headers.get_all("transfer-encoding")
    if encodings and [text.strip().lower() for text in encodings] != ["chunked"]:
        return "the response has a transfer encoding other than chunked"
    lengths = headers.get_all("content-length")
    if lengths and not encodings:
        values = {part.strip() for text in lengths for part in text.split(",")}
        if len(values) != 1 or not all(value.isascii() and value.isdigit() for value in values):
            return "the response has no clear content length"
    return None


class _Deadlines:
    """Mixed into urllib3's connections."""

    response_class: Any = _WholeHead
    rule: PoolRule  # set by the pool
    tls: Origination | None
    life: Life | None = None  # of the socket
    _is_used = False  # it has carried a request
    _may_switch = False

    def _new_conn(self: Any) -> socket.socket:
        self._is_used = False
        limit_s: float | None = self.timeout
        until = None if limit_s is None else time.monotonic() + limit_s
        try:
            sock: DeadlineSocket = connect(
                from_host(self._dns_host),
                self.port,
                limit_s,
                options=self.socket_options or (),
                source=self.source_address,
            )
            self.life = Life(self.rule)
            left_s = None if until is None else max(0.001, until - time.monotonic())
            try:
                sock.settimeout(time_left_s(left_s))  # for a handshake that may follow
            except TimeoutError:
                sock.close()
                raise
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(self, f"connecting failed: {error}") from error
        return sock if self.tls is None else self._wrapped(sock)

    def _wrapped(self: Any, sock: socket.socket) -> socket.socket:
        """Wrap a socket in policy's TLS; to urllib3 it is a plain one.

        Raises:
            ssl.SSLError: the handshake failed, which urllib3 wraps as its own.
        """
        context, server_name = self.tls.context, self.tls.server_name
        try:
            wrapped: socket.socket = context.wrap_socket(sock, server_hostname=server_name)
        except TimeoutError as error:
            sock.close()
            raise ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
        except OSError as error:
            sock.close()
            if isinstance(error, ssl.SSLError):
                raise
            raise NewConnectionError(self, f"connecting failed: {error}") from error
        except BaseException:
            sock.close()
            raise
        self.tls.cap(self.life, wrapped)
        return wrapped

    def putrequest(self: Any, *args: Any, **kwargs: Any) -> None:
        self._may_switch = False
        attempt = current_attempt()
        if attempt is not None:
            attempt.is_reused = self.sock is not None and self._is_used
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    def putheader(self: Any, header: Any, *values: Any) -> None:
        if header.lower() in ("upgrade", b"upgrade"):
            self._may_switch = True
        super().putheader(header, *values)  # type: ignore[misc]

    def getresponse(self: Any) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        if response.status == 101 and not self._may_switch:
            raise http.client.HTTPException("the response switches protocols, which nobody asked")
        self._is_used = True
        self.life.begin()  # here, since it is made no earlier than its first request is sent
        return response

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again."""
        if self.life is not None:
            attempt = current_attempt()  # of the same endpoint, as the whole pool
            wants_another = attempt is not None and attempt.fresh_to is not None
            if (wants_another and self._is_used) or self.life.is_over():
                return False
        return super().is_connected  # type: ignore[misc,no-any-return]


class _Connection(_Deadlines, HTTPConnection):
    pass


class _TLSConnection(_Deadlines, HTTPSConnection):
    def connect(self) -> None:
        if self.ssl_context is None:
            # As urllib3 makes it, but with our sockets. requests names the authorities itself.
            self.ssl_context = create_urllib3_context(cert_reqs=resolve_cert_reqs(self.cert_reqs))
        if isinstance(self.ssl_context, ssl.SSLContext):
            self.ssl_context.sslsocket_class = DeadlineSSLSocket
        super().connect()


class _Ruled:
    """Mixed into urllib3's pools: their connections are of one rule."""

    def __init__(self, *args: Any, rule: PoolRule, tls: Origination | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rule = rule
        self._tls = tls
        self._look_at = 0.0  # time.monotonic() seconds

    def _new_conn(self) -> Any:
        connection = super()._new_conn()  # type: ignore[misc]
        connection.rule, connection.tls = self._rule, self._tls
        return connection

    def _put_conn(self, connection: Any) -> None:
        life: Life | None = connection and connection.life
        if life is not None:
            life.rest()
            if life.is_over():
                connection.close()  # it can be put back all the same, and connects anew
        super()._put_conn(connection)  # type: ignore[misc]
        self._close_others()

    def _close_others(self: Any) -> None:
        """Close the idle connections that nothing may go over any more.

        urllib3 takes the one last put back. Those below it would stay, closed by the other end.
        """
        idle, now = self.pool, time.monotonic()
        if idle is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_EVERY_S
        with idle.mutex:  # nobody takes one meanwhile
            for other in idle.queue:
                if other is not None and other.sock is not None and not other.is_connected:
                    other.close()


class _Pool(_Ruled, HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(_Ruled, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
