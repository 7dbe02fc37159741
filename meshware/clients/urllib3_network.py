"""The network below requests: urllib3's connections and pools over sockets that obey deadlines.

http.client, below urllib3, is lenient where the other clients are not: it takes a head that was cut
off for a whole one, and a length or an encoding that it cannot read for none. Here those are errors
as they are there: a broken answer is never a shorter success.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from email.errors import FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect
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
    current_attempt,
    time_left_s,
)

__all__ = ["make_pools"]

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
        super().begin()
        attempt = current_attempt()
        if attempt is not None and attempt.ended:
            raise http.client.HTTPException("the connection was closed within the response head")
        problem = _problem(self.headers)
        if problem is not None:
            raise http.client.HTTPException(problem)


def _problem(headers: Message) -> str | None:
    """Return what makes a head ambiguous, None for nothing."""
    broken = (FirstHeaderLineIsContinuationDefect, MissingHeaderBodySeparatorDefect)
    if any(isinstance(defect, broken) for defect in headers.defects):
        return "the response head has a line that is no header"
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

    def getresponse(self: Any) -> Any:
        response = super().getresponse()  # type: ignore[misc]
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
