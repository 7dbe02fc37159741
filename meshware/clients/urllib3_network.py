"""The network below requests: urllib3's connections and pools over sockets that obey deadlines.

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
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from meshware.clients.deadline import (
    DeadlineSocket,
    DeadlineSSLSocket,
    connect,
    time_left_s,
)
from meshware.clients.http1_lines import ChunkLines, HeadLines

__all__ = ["close_pools", "make_pools"]

KEEPALIVE_S = 4.0
"""How long an idle connection is kept. Less than the 5 s of uvicorn and hypercorn: otherwise it is
the server that closes it, perhaps while a request is on its way."""

MAX_ENDPOINTS = 256
MAX_IDLE_PER_ENDPOINT = 64


def make_pools() -> PoolManager:
    """Return the pools for one service: one for each of its endpoints."""
    manager = PoolManager(num_pools=MAX_ENDPOINTS, maxsize=MAX_IDLE_PER_ENDPOINT, block=False)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
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
    _answered_at: float | None = None
    _may_switch = False

    def _new_conn(self: Any) -> socket.socket:
        limit_s: float | None = self.timeout
        try:
            sock: DeadlineSocket = connect(
                self._dns_host,
                self.port,
                limit_s,
                options=self.socket_options or (),
                source=self.source_address,
            )
            sock.settimeout(time_left_s(limit_s))  # for a handshake that may follow
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"connecting to {self.host} timed out") from error
        except OSError as error:
            raise NewConnectionError(self, f"connecting failed: {error}") from error
        return sock

    def putrequest(self: Any, *args: Any, **kwargs: Any) -> None:
        self._may_switch = False
        super().putrequest(*args, **kwargs)  # type: ignore[misc]

    def putheader(self: Any, header: Any, *values: Any) -> None:
        if header.lower() in ("upgrade", b"upgrade"):
            self._may_switch = True
        super().putheader(header, *values)  # type: ignore[misc]

    def getresponse(self: Any) -> Any:
        response = super().getresponse()  # type: ignore[misc]
        if response.status == 101 and not self._may_switch:
            raise http.client.HTTPException("the response switches protocols, which nobody asked")
        self._answered_at = time.monotonic()
        return response

    @property
    def is_connected(self) -> bool:
        """Whether the connection can be used again."""
        at = self._answered_at
        if at is not None and time.monotonic() - at > KEEPALIVE_S:
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


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection
