"""Compact JWS, read once and strictly: one meaning or none, whoever reads it after us.

A library that verifies signatures takes what two parsers could read in two ways: members that
stand there twice, NaN, a byte-order mark, UTF-16, halves of surrogate pairs. And header parameters
ask for what nobody should do on a stranger's word: fetch a key, inflate, leave out the encoding.
All that is refused here, before any signature is looked at:

1. At most 16 KiB, counted before any of it is decoded.
2. Three parts of base64url without padding, each with one spelling only.
3. Header and claims are JSON objects in UTF-8, each member once, at most 16 levels deep.
4. `alg` is one of the asymmetric algorithms that the reader takes; `none` and HMAC never are.

Source: RFC 7515, 7518, 8725; the history of PyJWT.
"""

from __future__ import annotations

import json
import math
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NoReturn

from meshware.errors import TokenError

__all__ = [
    "ALGORITHMS",
    "Flaw",
    "MAX_TOKEN_BYTES",
    "Token",
    "base64url",
    "from_base64url",
    "number",
    "parse",
    "strict_json",
    "text",
]

MAX_TOKEN_BYTES = 16 * 1024

ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}
)
"""What a signature may be made with. Source: JWT-SVID 2.1."""


class Flaw(StrEnum):
    """Where a token cannot be read; `TokenError.flaw`."""

    FORM = "form"  # too long, or not of three parts
    HEADER_BASE64 = "header-base64"
    HEADER_JSON = "header-json"
    HEADER_PARAMETER = "header-parameter"  # one that no token of ours may have
    ALGORITHM_MISSING = "algorithm-missing"
    ALGORITHM = "algorithm"  # none of those that are taken
    KEY_ID = "key-id"
    TYPE = "type"
    CLAIMS_BASE64 = "claims-base64"
    CLAIMS_JSON = "claims-json"
    SIGNATURE_BASE64 = "signature-base64"


_UNSAFE_HEADERS = frozenset({"crit", "b64", "zip", "enc", "jku", "jwk", "x5u", "x5c"})
_MOST_LEVELS = 16
_LATEST_S = 253_402_300_799.0  # the end of the year 9999
_PART = re.compile(r"[A-Za-z0-9_-]+")
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A token that can be read; whether it is true is another question. Never in a repr."""

    header: Mapping[str, Any] = field(repr=False)
    claims: Mapping[str, Any] = field(repr=False)
    signed: bytes = field(repr=False)  # what the signature is of
    signature: bytes = field(repr=False)

    @property
    def algorithm(self) -> str:
        """One of `ALGORITHMS`."""
        found: str = self.header["alg"]
        return found

    @property
    def key_id(self) -> str | None:
        """Which key it says it was signed with."""
        return self.header.get("kid")

    @property
    def type(self) -> str | None:
        """What kind of token it says it is."""
        return self.header.get("typ")


def parse(
    token: str,
    *,
    headers: Collection[str] | None = None,
    algorithms: Collection[str] = ALGORITHMS,
) -> Token:
    """Read a token.

    Args:
        token: in compact form.
        headers: the parameters that its header may have; None: all but the unsafe ones.
        algorithms: what it may be signed with.

    Raises:
        TokenError: it has no meaning, or more than one; its `flaw` is a `Flaw`, the first that is
            met from left to right.
    """
    if len(token) > MAX_TOKEN_BYTES:
        raise TokenError(f"it is longer than {MAX_TOKEN_BYTES} bytes", Flaw.FORM)
    parts = token.split(".", 3)
    if len(parts) != 3:
        raise TokenError("it is not three parts with dots between them", Flaw.FORM)
    header = _object(parts[0], "header", Flaw.HEADER_BASE64, Flaw.HEADER_JSON)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str):
        raise TokenError("its header names no algorithm", Flaw.ALGORITHM_MISSING)
    if algorithm not in algorithms:
        raise TokenError("its algorithm is none of those that may be used", Flaw.ALGORITHM)
    for name, flaw in (("kid", Flaw.KEY_ID), ("typ", Flaw.TYPE)):
        value = header.get(name, "")
        if not isinstance(value, str) or len(value) > 256:
            raise TokenError(f"the {name} in its header is no short text", flaw)
    for name in header:
        if name in _UNSAFE_HEADERS:
            raise TokenError(
                f"its header has {name}, which no token of ours needs", Flaw.HEADER_PARAMETER
            )
        if headers is not None and name not in headers:
            raise TokenError(
                "its header has a parameter that this kind of token has not", Flaw.HEADER_PARAMETER
            )
    claims = _object(parts[1], "claims", Flaw.CLAIMS_BASE64, Flaw.CLAIMS_JSON)
    try:
        signature = from_base64url(parts[2], "signature")
    except TokenError as error:
        error.flaw = Flaw.SIGNATURE_BASE64
        raise
    return Token(header, claims, f"{parts[0]}.{parts[1]}".encode("ascii"), signature)


def base64url(data: bytes) -> str:
    """Return data in base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_base64url(part: str, what: str) -> bytes:
    """Return the data of a text in base64url; a second spelling of the same data is refused.

    Raises:
        TokenError: it is none. `what` names it.
    """
    if not _PART.fullmatch(part) or len(part) % 4 == 1:
        raise TokenError(f"its {what} is not base64url without padding")
    try:
        data = urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (Base64Error, ValueError) as error:
        raise TokenError(f"its {what} is not base64url without padding") from error
    if base64url(data) != part:
        raise TokenError(f"its {what} ends in bits that mean nothing")
    return data


def strict_json(data: bytes, what: str) -> Any:
    """Return what JSON says, where it says one thing only.

    Raises:
        TokenError: it says none, or several. `what` names it.
    """
    try:
        written = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TokenError(f"its {what} is not UTF-8") from error
    if "\x00" in written or written.startswith("\ufeff"):
        raise TokenError(f"its {what} is not plain UTF-8")
    level = 0
    for found in _BRACKETS.finditer(written):
        if (mark := found.group()) in "[{":
            level += 1
            if level > _MOST_LEVELS:
                raise TokenError(f"its {what} is more than {_MOST_LEVELS} levels deep")
        elif mark in "]}":
            level -= 1
    try:
        value = json.loads(
            written, object_pairs_hook=_members, parse_constant=_constant, parse_float=_float
        )
        if "\\u" in written:  # half of a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except TokenError:
        raise
    except (ValueError, RecursionError) as error:  # also UnicodeEncodeError, and huge integers
        raise TokenError(f"its {what} cannot be read as JSON") from error
    return value


def number(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim that is a date in seconds; None: it is not there.

    Raises:
        TokenError: it is anything but a finite number.
    """
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TokenError(f"{name} is no number")
    if not 0 <= value <= _LATEST_S or not math.isfinite(value):
        raise TokenError(f"{name} is no date")
    return float(value)


def text(claims: Mapping[str, Any], name: str, most: int = 2048) -> str:
    """Return a claim that is a text.

    Raises:
        TokenError: it is not there, empty, longer than `most`, or something else.
    """
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= most:
        raise TokenError(f"{name} is no text, or a long one")
    return value


def _object(part: str, what: str, no_base64: Flaw, no_json: Flaw) -> dict[str, Any]:
    try:
        data = from_base64url(part, what)
    except TokenError as error:
        error.flaw = no_base64
        raise
    try:
        value = strict_json(data, what)
    except TokenError as error:
        error.flaw = no_json
        raise
    if not isinstance(value, dict):
        raise TokenError(f"its {what} is no object", no_json)
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TokenError("a member stands there twice")
    return members


def _constant(_: str) -> NoReturn:
    raise TokenError("it has NaN or an infinity")


def _float(written: str) -> float:
    value = float(written)
    if not math.isfinite(value):
        raise TokenError("a number in it is beyond all bounds")
    return value
