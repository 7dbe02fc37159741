"""What the exceptions of urllib3 and http.client, and requests' around them, say about a call.

They come nested (requests' around urllib3's around the system's); the outermost that says
something definite counts.
"""

from __future__ import annotations

import ssl
from http.client import HTTPException, RemoteDisconnected

from urllib3.exceptions import (
    ConnectTimeoutError,
    InvalidHeader,
    NewConnectionError,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.exceptions import ProxyError as Urllib3ProxyError

from meshware.call import Failure, FailureKind
from meshware.clients.deadline import Attempt
from meshware.clients.failures import causes, connect_detail, tls_detail

__all__ = ["body_failure", "failure_of"]

# In this order: some are also of a later class.
_KINDS: tuple[tuple[type[BaseException], FailureKind], ...] = (
    (SSLError, FailureKind.TLS),
    (ssl.SSLError, FailureKind.TLS),
    (Urllib3ProxyError, FailureKind.CONNECT),
    (NewConnectionError, FailureKind.CONNECT),
    (ConnectTimeoutError, FailureKind.CONNECT_TIMEOUT),
    (ReadTimeoutError, FailureKind.TIMEOUT),
    (TimeoutError, FailureKind.TIMEOUT),
    (RemoteDisconnected, FailureKind.TERMINATED),
    (HTTPException, FailureKind.PROTOCOL),
    (InvalidHeader, FailureKind.PROTOCOL),
    (ConnectionError, FailureKind.RESET),
)


def failure_of(error: Exception, attempt: Attempt, handled: BaseException | None) -> Failure | None:
    """Say how an attempt failed, or None when it is not for the mesh to judge.

    Args:
        error: what the attempt raised.
        attempt: what it did on the wire.
        handled: what the caller was handling as it made the call.
    """
    kind = _kind(error, handled)
    if kind is None:
        return None
    detail = str(error)
    if kind is FailureKind.CONNECT:
        detail = connect_detail(error)
    elif kind is FailureKind.TLS:
        if attempt.sent:  # not in the handshake
            kind = FailureKind.RESET
        detail = tls_detail(error) or detail
    elif kind in (FailureKind.CONNECT_TIMEOUT, FailureKind.TIMEOUT) and not attempt.sent:
        # urllib3 has one exception for a handshake and for an answer that takes too long.
        kind = FailureKind.TIMEOUT if attempt.is_over() else FailureKind.CONNECT_TIMEOUT
    is_stale = attempt.is_stale and kind in (FailureKind.RESET, FailureKind.TERMINATED)
    return Failure(kind, attempt.sent, detail, is_stale)


def body_failure(error: Exception) -> FailureKind:
    """Say how a body failed."""
    kind = _kind(error)
    return FailureKind.RESET if kind is FailureKind.TLS else kind or FailureKind.PROTOCOL


def _kind(error: Exception, handled: BaseException | None = None) -> FailureKind | None:
    is_broken = False
    for cause in causes(error, handled):
        if type(cause).__module__.startswith("requests."):  # OSErrors that wrap what happened
            continue
        for cls, kind in _KINDS:
            if isinstance(cause, cls):
                return kind
        is_broken = is_broken or isinstance(cause, ProtocolError)
    return FailureKind.PROTOCOL if is_broken else None
