"""What a WSGI server tells of its caller's certificate.

Nothing here comes from what the caller wrote: a header's key in an environ begins with `HTTP_`
(`HTTPS_CC` does not, nor can any header's name make it), Content-Type and Content-Length apart.

In this order, and the first that says something holds:

1. the server's own socket (gunicorn, werkzeug), where it is TLS and its context verifies;
2. `SSL_CLIENT_CERT` (werkzeug, mod_ssl and many others): PEM, the leaf, intermediates may follow;
3. `HTTPS_CC` (uWSGI with `--https-export-cert`).

What is there but cannot be read is handed on as it is: a chain that nobody can verify.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

__all__ = ["chain_of", "server_name_of"]

Chain = tuple[bytes, ...]

_BLOCK = re.compile(
    r"\s*-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*", re.ASCII
)
_MOST_CHARACTERS = 64 * 1024


def chain_of(environ: dict[str, Any]) -> Chain | None:
    """Return what the caller has shown, DER, its leaf first; None: nothing, or nobody tells."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if _is_tls(connection):
        from meshware.identity.tls import shown_chain

        if shown := shown_chain(connection):
            return shown
    pem = environ.get("SSL_CLIENT_CERT") or environ.get("HTTPS_CC")
    return _read(pem) if pem else None


def server_name_of(environ: dict[str, Any]) -> str | None:
    """Return the name that the caller asked for in TLS; None: none, or nobody tells."""
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if _is_tls(connection):
        from meshware.identity.tls import asked_for

        return asked_for(connection)
    return environ.get("SSL_TLS_SNI") or None


def _is_tls(connection: Any) -> bool:
    # gevent's TLS sockets are none of `ssl`'s.
    return connection is not None and hasattr(connection, "selected_alpn_protocol")


def _read(pem: str) -> Chain | None:
    if pem.isspace():
        return None
    found: list[bytes] = []
    at = 0
    while at < len(pem) <= _MOST_CHARACTERS:
        block = _BLOCK.match(pem, at)
        if block is None:
            break
        try:
            found.append(binascii.a2b_base64("".join(block[1].split()), strict_mode=True))
        except ValueError:
            break
        at = block.end()
    else:
        if found and all(found):
            return tuple(found)
    return (pem.encode("utf-8", "replace")[:_MOST_CHARACTERS],)
