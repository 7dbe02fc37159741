"""What rules make of one end user's token, remembered as long as it holds.

The order of the questions is Envoy's, with one more: can the token be read, does the rule know its
issuer, is it the time, is it for this audience, has a key of the issuer signed it. For an issuer
that no rule knows nothing is computed.

A token is remembered by its digest and by that of its place, which covers the rules that look there
and their keys. So a key, an issuer or an audience that policy takes away ends at once what it had
let in. When a token begins and ends is asked at every use. Only what some rule believes is
remembered: nobody fills that memory without a key.

Source: Envoy, jwt_authn; server-side rules of RFC 8725.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from meshware.call import Claims
from meshware.errors import TokenError
from meshware.identity.jose import MAX_TOKEN_BYTES, Flaw, Token, number, parse
from meshware.policy.inbound_facts import EndUser
from meshware.policy.jwt_rules import ClaimHeader, Place, UserRule, UserRules

__all__ = [
    "AUDIENCE",
    "LEEWAY_S",
    "UNKNOWN_ISSUER",
    "Believed",
    "Outcome",
    "UserTokens",
    "Wrong",
]

LEEWAY_S = 60.0
"""How far two clocks may be apart. Source: Envoy."""

MALFORMED = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
UNKNOWN_ISSUER = "Jwt issuer is not configured"
AUDIENCE = "Audiences in Jwt are not allowed"
_FAILS = "Jwt verification fails"

_FLAWS: Mapping[str, str] = {
    Flaw.FORM: MALFORMED,
    Flaw.HEADER_BASE64: "Jwt header is an invalid Base64url encoded",
    Flaw.HEADER_JSON: "Jwt header is an invalid JSON",
    Flaw.ALGORITHM_MISSING: "Jwt header [alg] field is required and must be a string",
    Flaw.ALGORITHM: "Jwt header [alg] is not supported",
    Flaw.KEY_ID: "Jwt header [kid] field is not a string",
    Flaw.CLAIMS_BASE64: "Jwt payload is an invalid Base64url encoded",
    Flaw.CLAIMS_JSON: "Jwt payload is an invalid JSON",
    Flaw.SIGNATURE_BASE64: "Jwt signature is an invalid Base64url encoded",
}
"""Envoy's words. It looks neither at `typ` nor at unsafe header parameters."""

_MOST_AUDIENCES = 100
_MOST_REMEMBERED = 2048  # in each of two halves
_MOST_REMEMBERED_CHARS = 2 * 1024 * 1024  # about 10 MB of claims in each
_LATEST = 2**64
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Believed:
    """What a token says by a rule that believes it."""

    user: EndUser
    claims: Claims  # for the app, as they are signed
    outputs: tuple[tuple[str, str], ...] = field(repr=False)  # headers for the app


class Wrong(str):
    """Why a token is refused: in Envoy's words, which the caller is told, and in ours for the log.

    Ours never repeat any of the token.
    """

    __slots__ = ("why",)
    why: str

    def __new__(cls, said: str, why: str) -> Wrong:
        """Return Envoy's words with ours."""
        made = super().__new__(cls, said)
        made.why = why
        return made


Outcome = Believed | str
"""What a rule makes of a token; a text: it refuses it, in Envoy's words."""


@dataclass(frozen=True, slots=True)
class _Read:
    """A token that can be read."""

    token: Token
    payload: str  # its claims, still encoded
    since: float | None
    until: float | None


@dataclass(frozen=True, slots=True)
class _Known:
    since: float | None
    until: float
    outcomes: tuple[Outcome, ...] = field(repr=False)


class UserTokens:
    """Asks rules about tokens. Safe to use from any thread, and in a forked process.

    Two halves: when the young one is full it becomes the old one, and what is used of that is taken
    over. So nothing is ever locked, and at a race a token is verified once more.

    Args:
        on_unknown_key: is told the address of a key set that lacks a key which a token names.
    """

    def __init__(self, on_unknown_key: Callable[[str], None]) -> None:
        self._on_unknown_key = on_unknown_key
        self._young: dict[tuple[bytes, bytes], _Known] = {}
        self._old: dict[tuple[bytes, bytes], _Known] = {}
        self._chars = 0  # of the tokens behind the young half

    def outcomes(
        self, text: str, place: Place, rules: UserRules, now: float
    ) -> tuple[Outcome, ...]:
        """Return what each rule of a place makes of a token.

        Args:
            text: the token, in compact form.
            place: where it stands.
            rules: the workload's.
            now: unix seconds.
        """
        if len(text) > MAX_TOKEN_BYTES:
            wrong_size = Wrong(MALFORMED, f"it is longer than {MAX_TOKEN_BYTES} bytes")
            return (wrong_size,) * len(place.rules)
        key = (hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest(), place.digest)
        known = self._young.get(key)
        if known is None:
            known = self._old.get(key)
            if known is not None:
                self._remember(key, known, len(text))
        if known is not None and _time(known.since, known.until, now) is None:
            return known.outcomes
        try:
            token = parse(text, algorithms=_user_algorithms())
        except TokenError as error:
            said = Wrong(_FLAWS.get(error.flaw, _FAILS), str(error))
            return (said,) * len(place.rules)
        wrong = _wrong_type(token.claims)
        if wrong is not None:
            return (wrong,) * len(place.rules)
        since, until = number(token.claims, "nbf"), number(token.claims, "exp")
        read = _Read(token, text.split(".")[1], since, until)
        outcomes = tuple([self._ask(rules.rules[one], read, now) for one in place.rules])
        if until is not None and any(isinstance(outcome, Believed) for outcome in outcomes):
            self._remember(key, _Known(since, until, outcomes), len(text))
        return outcomes

    def _remember(self, key: tuple[bytes, bytes], known: _Known, chars: int) -> None:
        if len(self._young) >= _MOST_REMEMBERED or self._chars > _MOST_REMEMBERED_CHARS:
            self._old, self._young, self._chars = self._young, {}, 0
        self._young[key] = known
        self._chars += chars

    def _ask(self, rule: UserRule, read: _Read, now: float) -> Outcome:
        """Return what one rule makes of a token that can be read."""
        token, until = read.token, read.until
        claims = token.claims
        if rule.issuer is not None and claims.get("iss", "") != rule.issuer:
            return UNKNOWN_ISSUER
        if until is None:
            return Wrong(_FAILS, "it has no exp, and one that never ends is not taken")
        wrong = _time(read.since, until, now)
        if wrong is not None:
            return wrong
        audiences = _audiences(claims)
        if rule.audiences is not None and rule.audiences.isdisjoint(audiences):
            return AUDIENCE
        if rule.keys is None:
            return "Jwks remote fetch is failed"
        if not rule.keys.keys:
            return "Jwks doesn't have any valid public key"
        signature = rule.keys.check(token)
        if not signature.is_right:
            if not signature.has_id and rule.source is not None:
                self._on_unknown_key(rule.source)
            if not signature.has_key:
                return "Jwks doesn't have key to match kid or alg from Jwt"
            return Wrong(_FAILS, "no key of its issuer has made its signature")
        return _believed(rule, read, audiences, until)


def _user_algorithms() -> frozenset[str]:
    from meshware.identity.jwks import USER_ALGORITHMS  # where there is a token there are keys

    return USER_ALGORITHMS


def _time(since: float | None, until: float, now: float) -> str | None:
    """Return why a token does not hold now; None: it does."""
    if since is not None and since > now + LEEWAY_S:
        return "Jwt not yet valid"
    if until + LEEWAY_S <= now:
        return "Jwt is expired"
    return None


def _wrong_type(claims: Mapping[str, Any]) -> str | None:
    """Return what Envoy says of a registered claim of another type than it has to be."""
    for name in ("iss", "sub"):
        value = claims.get(name, "")
        # With control characters it is none for logs and headers, where the principal is told.
        if not isinstance(value, str) or _has_control(value):
            return f"Jwt payload [{name}] field is not a string"
    for name in ("iat", "nbf", "exp"):
        try:
            number(claims, name)
        except TokenError:
            value = claims[name]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            what = "a positive 64 bit integer" if is_number else "an integer"
            return f"Jwt payload [{name}] field is not {what}"
    if not isinstance(claims.get("jti", ""), str):
        return "Jwt payload [jti] field is not a string"
    audiences = claims.get("aud", "")
    if isinstance(audiences, list) and len(audiences) <= _MOST_AUDIENCES:
        is_right = all(isinstance(one, str) for one in audiences)
    else:
        is_right = isinstance(audiences, str)
    return None if is_right else "Jwt payload [aud] field is not a string or string list"


def _audiences(claims: Mapping[str, Any]) -> tuple[str, ...]:
    found = claims.get("aud", ())
    return (found,) if isinstance(found, str) else tuple(found)


def _believed(rule: UserRule, read: _Read, audiences: tuple[str, ...], until: float) -> Believed:
    claims = read.token.claims
    issuer, subject, presenter = (claims.get(name) for name in ("iss", "sub", "azp"))
    as_matched = {
        name: [part for part in value.split(" ") if part]
        if name in rule.space_delimited and isinstance(value, str)
        else value
        for name, value in claims.items()
    }
    user = EndUser(
        principal=f"{issuer}/{subject}" if issuer and subject else None,
        audiences=audiences,
        presenter=presenter if isinstance(presenter, str) else None,
        claims=MappingProxyType(as_matched),
        until=until,
    )
    outputs: list[tuple[str, str]] = []
    if rule.payload_header is not None:
        outputs.append((rule.payload_header, read.payload))
    for wanted in rule.claim_headers:
        value = _as_header(wanted, claims)
        if value:
            outputs.append((wanted.header, value))
    return Believed(user, Claims(claims), tuple(outputs))


def _as_header(wanted: ClaimHeader, claims: Mapping[str, Any]) -> str | None:
    """Return a claim as a header has it; None: it is not there, or no text, number or truth."""
    value: Any = claims
    for name in wanted.claim:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _as_text(value)
    if not isinstance(value, str) or _has_control(value):
        return None
    # Bytes of UTF-8, as Envoy sends them; ASGI and WSGI both have headers as Latin-1.
    return value.strip(" ").encode("utf-8").decode("latin-1")


def _has_control(text: str) -> bool:
    return _CONTROL.search(text) is not None


def _as_text(value: float) -> str | None:
    """Return a number as Envoy writes it: whole ones without decimals, others with six."""
    if 0 <= value < _LATEST and value == int(value):
        return str(int(value))
    try:
        return f"{float(value):f}"
    except OverflowError:
        return None
