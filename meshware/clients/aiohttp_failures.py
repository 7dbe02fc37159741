"""What aiohttp's exceptions say about an attempt or a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import (
    ClientConnectionError,
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    ClientOSError,
    ClientResponseError,
    ConnectionTimeoutError,
    ServerDisconnectedError,
    ServerFingerprintMismatch,
)
from aiohttp.http import HttpProcessingError

from meshware.call import Failure, FailureKind
from meshware.clients.failures import connect_detail, tls_detail

if TYPE_CHECKING:
    from meshware.clients.aiohttp_attempts import Wire

__all__ = ["failure_of"]

# In this order: some are also of a later class.
_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (ClientConnectorSSLError, FailureKind.TLS),
    (ClientConnectorCertificateError, FailureKind.TLS),
    (ServerFingerprintMismatch, FailureKind.TLS),
    (ClientConnectorError, FailureKind.CONNECT),
    (ConnectionTimeoutError, FailureKind.CONNECT_TIMEOUT),
    (TimeoutError, FailureKind.TIMEOUT),
    (ServerDisconnectedError, FailureKind.TERMINATED),
    (ClientOSError, FailureKind.RESET),
    (ClientConnectionError, FailureKind.RESET),
)


def failure_of(error: Exception, wire: Wire) -> Failure | None:
    """Say how an attempt failed, or None when it is not for the mesh to judge.

    Args:
        error: what the attempt raised.
        wire: what it did on the wire.
    """
    if isinstance(error, ClientResponseError):  # a middleware may raise it for an answer
        is_broken = isinstance(error.__cause__, HttpProcessingError)
        return Failure(FailureKind.PROTOCOL, True, error.message) if is_broken else None
    kind = next((kind for cls, kind in _KINDS if isinstance(error, cls)), None)
    if kind is None or (kind is FailureKind.RESET and not wire.sent):
        return None
    detail = str(error)
    if kind is FailureKind.CONNECT:
        detail = connect_detail(error)
    elif kind is FailureKind.TLS:
        # aiohttp's exception is one of TLS itself, without its details.
        detail = tls_detail(error.__cause__ or error) or detail
    elif isinstance(error, ServerDisconnectedError) and not isinstance(error.message, str):
        return Failure(FailureKind.PROTOCOL, True, "a part of a response head")
    is_stale = wire.is_reused and kind in (FailureKind.RESET, FailureKind.TERMINATED)
    return Failure(kind, wire.sent, detail, is_stale)
