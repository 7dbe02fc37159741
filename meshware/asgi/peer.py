"""What a caller has shown in TLS: by ASGI's TLS extension, or from the server's own connection.

What is found is verified by the gate, whatever the server did. Headers are never looked at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

__all__ = ["Shown", "shown_in_extension", "shown_on"]

Shown = tuple[tuple[bytes, ...] | None, str | None]
"""The chain, DER and leaf first (None: nothing is known), and the name asked for (SNI)."""

_NOTHING: Shown = (None, None)
_GARBAGE = b"not a certificate"  # what was shown and cannot be read must not pass for plaintext
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def shown_in_extension(extension: object) -> Shown:
    """Return what the TLS extension of a scope says: `client_cert_chain` and `server_name`."""
    # An abstract class takes its time to be asked.
    if type(extension) is not dict and not isinstance(extension, Mapping):
        return (_GARBAGE,), None
    name = extension.get("server_name")
    chain = extension.get("client_cert_chain")
    shown: tuple[bytes, ...] | None = None
    if chain is not None:
        try:  # one text, where a list is due, is one certificate at the most
            shown = _ders_of((chain,) if isinstance(chain, str) else tuple(chain)) or None
        except TypeError:  # no list at all, or something in it is not even hashable
            shown = (_GARBAGE,)
    return shown, name if isinstance(name, str) else None


def shown_on(about: Callable[[str], Any]) -> Shown:
    """Return what the other end of a connection has shown.

    Args:
        about: `get_extra_info` of its transport.
    """
    connection = about("ssl_object")
    if connection is None:
        return _NOTHING
    from meshware.identity.tls import asked_for, shown_chain  # not light, and seldom needed

    return shown_chain(connection) or None, asked_for(connection)


@lru_cache(maxsize=1024)
def _ders_of(written: tuple[object, ...]) -> tuple[bytes, ...]:
    """Return the bytes of certificates; of what is none, bytes that no certificate has."""
    return tuple([_der_of(one) if isinstance(one, str) else _GARBAGE for one in written])


def _der_of(pem: str) -> bytes:
    text = pem.strip()
    if not (text.startswith(_BEGIN) and text.endswith(_END)):
        return _GARBAGE
    inner = "".join(text[len(_BEGIN) : -len(_END)].split())
    try:
        return base64.b64decode(inner, validate=True) or _GARBAGE
    except (binascii.Error, ValueError):
        return _GARBAGE
