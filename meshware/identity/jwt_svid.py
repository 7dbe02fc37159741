"""JWT-SVIDs: a workload's ID as a bearer token for one audience, minted and verified.

Whoever holds one is believed to be its subject until it ends, by that audience. Inside the mesh
nobody is identified by it; it is for what speaks no mutual TLS, through the Workload API.

Source: SPIFFE JWT-SVID 2 to 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from meshware.errors import IdentityError, TokenError
from meshware.identity.bundle import Bundles
from meshware.identity.jose import Token, number, parse, text
from meshware.identity.jwk import JWT_SVID, sign, verify_by_bundle
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import PrivateKey
from meshware.identity.verify import Verified

__all__ = [
    "JWT_SVID_LIFE_S",
    "LEEWAY_S",
    "MAX_JWT_SVID_LIFE_S",
    "check_times",
    "mint_jwt_svid",
    "subject_of",
    "verify_jwt_svid",
]

JWT_SVID_LIFE_S = 300.0
MAX_JWT_SVID_LIFE_S = 3600.0
"""A verifier's own bound: a bearer token that lives longer is refused, whoever signed it."""

LEEWAY_S = 60.0
"""How far two clocks may be apart."""

_HEADERS = frozenset({"alg", "kid", "typ"})  # JWT-SVID 2: any other must not be there
_MOST_AUDIENCES = 32


def mint_jwt_svid(
    key: PrivateKey,
    key_id: str,
    spiffe_id: SpiffeID,
    *,
    audience: str,
    now: float,
    life_s: float = JWT_SVID_LIFE_S,
    jti: str | None = None,
) -> str:
    """Return a JWT-SVID.

    Args:
        key: of the trust domain's token authority.
        key_id: names it in the bundle.
        spiffe_id: who it says its bearer is.
        audience: whom it is for; one, since each could replay it to the others.
        now: unix seconds.
        life_s: seconds.
        jti: makes it unique; None: it need not be.
    """
    claims: dict[str, Any] = {
        "sub": str(spiffe_id),
        "aud": [audience],
        "iat": int(now),
        "exp": int(now + life_s),
    }
    if jti is not None:
        claims["jti"] = jti
    return sign(key, {"kid": key_id, "typ": "JWT"}, claims)


def verify_jwt_svid(
    token: str,
    bundles: Bundles,
    *,
    audience: str,
    now: float,
    max_life_s: float = MAX_JWT_SVID_LIFE_S,
) -> Verified:
    """Return who the bearer of a token is.

    Args:
        token: in compact form.
        bundles: whom to believe, each about its own trust domain alone.
        audience: who we are; one of the token's must be exactly this.
        now: unix seconds.
        max_life_s: of the token, from its `iat` or from now.

    Raises:
        TokenError: it is nobody; the reason is for the log.
    """
    read = parse(token, headers=_HEADERS)
    if read.type not in (None, "JWT", "JOSE"):
        raise TokenError("it says that it is another kind of token")
    found = subject_of(read)
    bundle = bundles.get(found.trust_domain)
    if bundle is None:
        raise TokenError("there is no bundle of its trust domain")
    verify_by_bundle(read, bundle, JWT_SVID)
    until = check_times(read.claims, now, max_life_s)
    if audience not in _audiences(read.claims):
        raise TokenError("it is for another audience")
    return Verified(found, until)


def subject_of(token: Token) -> SpiffeID:
    """Return whom a token is about.

    Raises:
        TokenError: its `sub` is no SPIFFE ID.
    """
    try:
        return SpiffeID.parse(text(token.claims, "sub"))
    except TokenError:
        raise
    except IdentityError as error:
        raise TokenError(f"its subject: {error}") from error


def check_times(
    claims: Mapping[str, Any], now: float, max_life_s: float, leeway_s: float = LEEWAY_S
) -> float:
    """Return when a token ends, in unix seconds.

    Raises:
        TokenError: it has ended, has not begun, has no end, or lives too long.
    """
    until, since, made = (number(claims, name) for name in ("exp", "nbf", "iat"))
    if until is None:
        raise TokenError("it has no exp")
    if until + leeway_s <= now:
        raise TokenError("it has expired")
    if since is not None and since > now + leeway_s:
        raise TokenError("it is not valid yet")
    if made is not None and made > now + leeway_s:
        raise TokenError("it was made in the future")
    if until > now + max_life_s + leeway_s or (made is not None and until - made > max_life_s):
        raise TokenError(f"it lives longer than {max_life_s:.0f} s")
    return until


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    found = claims.get("aud")
    audiences = [found] if isinstance(found, str) else found
    if not isinstance(audiences, list) or not 0 < len(audiences) <= _MOST_AUDIENCES:
        raise TokenError("aud is neither a text nor a list of some")
    if not all(isinstance(one, str) and one for one in audiences):
        raise TokenError("aud has something that is no text")
    return audiences
