"""The TLS extension of ASGI, for servers that have TLS and do not tell.

Source: ASGI TLS Extension 0.2; `server_name` is ours.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.identity.tls import asked_for, shown_chain
from meshware.servers.context import shown_certificate

__all__ = ["tls_extension", "with_tls"]

_VERSIONS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


def with_tls(app: Callable[..., Awaitable[Any]], connection: Any) -> Callable[..., Awaitable[Any]]:
    """Return an app that finds in its scopes what was agreed in the TLS of its connection.

    Args:
        app: takes a scope, and whatever else its server hands it.
        connection: the `SSLObject`.
    """
    found: dict[str, Any] | None = None

    async def told(scope: Any, *rest: Any) -> Any:
        nonlocal found
        if scope["type"] in ("http", "websocket"):
            if found is None:
                found = tls_extension(connection)
            extensions = scope.get("extensions")
            if extensions is None:
                extensions = scope["extensions"] = {}
            extensions["tls"] = dict(found)
        return await app(scope, *rest)

    return told


def tls_extension(connection: Any) -> dict[str, Any]:
    """Return what the extension says of a connection.

    The chain is that of a client whose certificate was verified; of one that was not asked for
    any it is empty.
    """
    shown = shown_certificate(connection)
    chain = shown_chain(connection)
    cipher = connection.cipher()
    return {
        "server_cert": None if shown is None else shown.public_bytes(Encoding.PEM).decode(),
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(one) for one in chain],
        "client_cert_name": _name_of(chain[0]) if chain else None,
        "client_cert_error": None,
        "tls_version": _VERSIONS.get(connection.version()),
        "cipher_suite": None if cipher is None else _number_of(connection.context, cipher[0]),
        "server_name": asked_for(connection),
    }


def _name_of(leaf: bytes) -> str | None:
    try:
        return x509.load_der_x509_certificate(leaf).subject.rfc4514_string()
    except ValueError:  # who reads the chain finds that too
        return None


def _number_of(context: ssl.SSLContext, name: str) -> int | None:
    """Return the number of a cipher suite in IANA's registry."""
    for one in context.get_ciphers():
        if one["name"] == name:
            return int(one["id"]) & 0xFFFF
    return None
