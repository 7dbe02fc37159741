"""What the caller has shown in TLS, as far as ASGI servers hand it over.

1. The TLS extension of ASGI, where a server fills it.
2. Else the connection itself, found behind `receive`: the servers that are pinned and tested
   (uvicorn, hypercorn, gunicorn's asgi worker) let it be found, each in its own way.

Headers are never looked at: whatever a caller writes makes no certificate.

Source: ASGI, TLS Extension.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from typing import Any

__all__ = ["Shown", "shown_in"]

Shown = tuple[tuple[bytes, ...] | None, str | None]
"""The chain (DER, the leaf first; None: none) and the name that was asked for."""

_NOTHING: Shown = (None, None)
_KEPT = "_meshware_shown"


def shown_in(scope: Any, transport: Any) -> Shown:
    """Return what the caller of an ASGI call has shown.

    Args:
        scope: the server's.
        transport: of its connection; None: not found.
    """
    extensions = scope.get("extensions")
    if extensions:
        told = extensions.get("tls")
        if told is not None:
            return _told(told)
    if transport is None:
        return _NOTHING
    connection = transport.get_extra_info("ssl_object")
    return _NOTHING if connection is None else shown_over(connection)


def shown_over(connection: Any) -> Shown:
    """Return what the other end of a TLS connection has shown; it is kept with the connection."""
    kept: Shown | None = getattr(connection, _KEPT, None)
    if kept is not None:
        return kept
    from cryptography.hazmat.primitives.serialization import Encoding

    from meshware.identity.tls import asked_for, peer_chain

    chain = tuple(each.public_bytes(Encoding.DER) for each in peer_chain(connection))
    found: Shown = (chain or None, asked_for(connection))
    setattr(connection, _KEPT, found)
    return found


def _told(told: Any) -> Shown:
    chain = told.get("client_cert_chain") or ()
    name = told.get("server_name")
    sni = name if isinstance(name, str) else None
    return (_ders(chain) if chain else None), sni


def _ders(chain: Iterable[Any]) -> tuple[bytes, ...]:
    """Return PEM as DER; what is none is handed on as it is, to be refused as a certificate."""
    found: list[bytes] = []
    for each in chain:
        try:
            found.append(ssl.PEM_cert_to_DER_cert(each))
        except (ValueError, TypeError, AttributeError):
            found.append(b"no certificate")
    return tuple(found)
