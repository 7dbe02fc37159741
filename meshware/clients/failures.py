"""What the exceptions of client libraries have in common: the error of the system underneath."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

from meshware.errors import PeerIdentityError

__all__ = ["causes", "connect_detail", "tls_detail"]


def causes(error: BaseException, handled: BaseException | None = None) -> Iterator[BaseException]:
    """Yield an exception and what lies behind it, outermost first.

    Args:
        error: of a call.
        handled: what the caller was handling as it made the call; it lies behind every exception of
            the call, and is none of it.
    """
    seen = {id(handled)}
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        if isinstance(found, BaseExceptionGroup):  # several addresses were tried
            found = found.exceptions[-1]
        else:  # httpcore raises again `from None`, which only hides what lies behind
            found = found.__cause__ or found.__context__


def _of_the_system(error: BaseException) -> OSError | None:
    """Return the outermost error of the system or of TLS.

    Those behind it are not of this call: it may be made while another's failure is handled.
    """
    for cause in causes(error):
        if isinstance(cause, OSError) and (
            cause.errno is not None or isinstance(cause, ssl.SSLError)
        ):
            return cause
    return None


def tls_detail(error: BaseException) -> str | None:
    """Return why a TLS handshake failed, or None when it was not TLS that failed."""
    cause = _of_the_system(error)
    if isinstance(cause, PeerIdentityError):
        return f"TLS_error: {cause.strerror}"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"TLS_error: {cause.verify_message or cause.reason or 'certificate refused'}"
    if isinstance(cause, ssl.SSLError):
        return f"TLS_error: {cause.reason or 'handshake failed'}"
    return None


def connect_detail(error: BaseException) -> str:
    """Return why a connection could not be made, as Envoy says it: in the system's own words."""
    cause = _of_the_system(error)
    if cause is not None and cause.errno is not None and cause.errno > 0:
        return f"delayed connect error: {os.strerror(cause.errno)}"
    return str(error)
