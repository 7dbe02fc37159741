"""`X-Forwarded-Client-Cert`: what a proxy says of the certificate that its caller showed.

A header is only as good as who sent it: it is read when the connection itself is proved to be a
proxy's that policy names. And whoever called that proxy may have had a header of its own in it, so
only what this proxy wrote counts, and that is the last element. An attacker's best is to make the
parser see another last element than the proxy wrote: with a quote left open, an escape, a key
that stands twice. So all of it must be as Envoy writes it, or the call is refused.

::

    header  = element *( "," element )
    element = pair *( ";" pair )
    pair    = key "=" ( token / DQUOTE *( char / "\\" char ) DQUOTE )

Source: Envoy, HTTP header manipulation, `x-forwarded-client-cert`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote_to_bytes

from cryptography import x509
from cryptography.x509.oid import NameOID

from meshware.errors import IdentityError, TokenError
from meshware.identity.spiffe import SpiffeID
from meshware.identity.verify import id_of

__all__ = ["MAX_XFCC_BYTES", "Forwarded", "element", "forwarded", "last_element", "subject_text"]

MAX_XFCC_BYTES = 32 * 1024
_MOST_PAIRS = 256

_KEYS = frozenset({"by", "hash", "cert", "chain", "subject", "uri", "dns"})
_REPEATED = frozenset({"dns", "uri"})  # Envoy writes one for each name in the certificate
_PAIR = re.compile(
    r"(?P<key>[A-Za-z]{1,16})="
    r'(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>[^",;=\\ ]*))'
    r"(?P<end>[,;]|\Z)"
)
_ALIEN = re.compile(r"[^\x20-\x7e]")  # OpenSSL escapes what is not ASCII
_ESCAPED = re.compile(r"\\(.)")
_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What the last proxy says of its caller."""

    id: SpiffeID
    by: str | None  # who says so; None: it does not tell
    hash: str | None  # SHA-256 of the caller's certificate, in lower hex


def last_element(values: Sequence[str], proxy: SpiffeID) -> Forwarded:
    """Return what a proxy wrote of its caller.

    Args:
        values: of the header, one for each line.
        proxy: who it is proved to be by its own connection.

    Raises:
        TokenError: any of it is not as Envoy writes it, the caller has no single SPIFFE ID, or
            another proxy wrote it. The text repeats none of it.
    """
    if not values:
        raise TokenError("there is no header")
    if sum(map(len, values)) > MAX_XFCC_BYTES:
        raise TokenError(f"it is longer than {MAX_XFCC_BYTES} bytes")
    for value in values:
        *_, last = _elements(value.strip(" \t"))
    by, digest = last.get("by", [None])[0], last.get("hash", [None])[0]
    if by is not None and by != str(proxy):
        raise TokenError("its last element was written by another than who sent it")
    if digest is not None and not _HASH.fullmatch(digest):
        raise TokenError("its Hash is no SHA-256")
    return Forwarded(_id_of(last), by, digest)


def _id_of(last: dict[str, list[str]]) -> SpiffeID:
    """Return the caller's ID: the URI, or where there is no URI that of the certificate.

    nginx has no variable for the URI of a certificate, and one for the whole.
    """
    uris, certificates = last.get("uri", []), last.get("cert", [])
    try:
        if not uris and certificates:
            pem = unquote_to_bytes(certificates[0])
            return id_of(x509.load_pem_x509_certificate(pem))
        if len(uris) == 1:
            return SpiffeID.parse(uris[0])
    except IdentityError as error:
        raise TokenError(str(error)) from error
    except ValueError as error:
        raise TokenError("its Cert is not one certificate in PEM") from error
    raise TokenError(f"its last element has {len(uris)} URIs; a SPIFFE ID stands alone")


def element(by: SpiffeID | None, leaf_der: bytes, uri: SpiffeID) -> str:
    """Return an element as Envoy writes it when asked for subject and URI.

    Args:
        by: our own ID.
        leaf_der: the caller's certificate.
        uri: the caller's ID, verified.
    """
    subject = subject_text(x509.load_der_x509_certificate(leaf_der).subject)
    own = "" if by is None else f"By={by};"
    digest = hashlib.sha256(leaf_der).hexdigest()
    return f'{own}Hash={digest};Subject="{subject}";URI={uri}'


def forwarded(
    mode: Literal["SANITIZE", "SANITIZE_SET", "APPEND_FORWARD"],
    received: Sequence[str],
    own: str | None,
) -> str | None:
    """Return the header that an app gets; None: none.

    Args:
        mode: MeshConfig's.
        received: the lines that came, from a proxy that is believed; else ().
        own: our element about who called us; None: nobody has shown a certificate.
    """
    if mode == "SANITIZE":
        return None
    if mode == "SANITIZE_SET":
        return own
    lines = [value.strip(" \t") for value in received]
    return ",".join([*lines, own] if own is not None else lines) or None


def _elements(value: str) -> Iterator[dict[str, list[str]]]:
    """Yield the elements of a line, each with its values by key in lower case."""
    if _ALIEN.search(value):
        raise TokenError("a character in it belongs into no header")
    at, pairs, is_open = 0, 0, True
    found: dict[str, list[str]] = {}
    while is_open:
        match = _PAIR.match(value, at)
        if match is None:
            raise TokenError("an element of it is empty, or a pair is not key=value")
        pairs += 1
        key = match["key"].lower()
        if key not in _KEYS or pairs > _MOST_PAIRS:
            raise TokenError("a key in it is unknown, or there are too many")
        if key in found and key not in _REPEATED:
            raise TokenError("a key stands twice in an element")
        quoted = match["quoted"]
        written = match["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted)
        found.setdefault(key, []).append(written)
        at = match.end()
        is_open = bool(match["end"])
        if match["end"] != ";":
            yield found
            found = {}
            # Joined from several lines, elements have a space between them.
            at += len(value[at : at + 1]) - len(value[at : at + 1].lstrip(" "))


# What OpenSSL calls them, which `cryptography` writes as numbers. Source: RFC 2253; OpenSSL.
_NAMES = {
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.GIVEN_NAME: "GN",
    NameOID.SURNAME: "SN",
    NameOID.TITLE: "title",
    NameOID.DN_QUALIFIER: "dnQualifier",
    NameOID.STREET_ADDRESS: "street",
}


def subject_text(name: x509.Name) -> str:
    """Return a name as OpenSSL's XN_FLAG_RFC2253 does: all but printable ASCII as `\\XX`."""
    written = name.rfc4514_string(attr_name_overrides=_NAMES)
    if written.isascii() and written.isprintable():
        return written
    return "".join(
        one if " " <= one <= "~" else "".join(f"\\{byte:02X}" for byte in one.encode())
        for one in written
    )
