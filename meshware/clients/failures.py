"""What the exceptions of client libraries have in common: the error of the system underneath."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator

__all__ = ["causes", "connect_detail", "tls_detail"]


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what lies behind it, outermost first."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        if isinstance(found, BaseExceptionGroup):  # several addresses were tried
            found = found.exceptions[-1]
        elif found.__cause__ is not None or found.__suppress_context__:
            found = found.__cause__
        else:
            found = found.__context__


def tls_detail(error: BaseException) -> str | None:
    """Return why a TLS handshake failed, or None when it was not TLS that failed."""
    for cause in causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS_error: {cause.verify_message or cause.reason or 'certificate refused'}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS_error: {cause.reason or 'handshake failed'}"
    return None


def connect_detail(error: BaseException) -> str:
    """Return why a connection could not be made, as Envoy says it: in the system's own words."""
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:
            return f"delayed connect error: {os.strerror(cause.errno)}"
    return str(error)
