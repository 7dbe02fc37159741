"""Who calls, by the two headers of token identity, where policy takes them.

Source: draft-ietf-wimse-wpt 2; what is refused and why is in `identity.wimse`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshware.call import HeaderLookup
from meshware.errors import TokenError
from meshware.inbound.head import InboundHead

if TYPE_CHECKING:  # what imports `cryptography` is imported where it is used
    from meshware.identity.bundle import Bundles
    from meshware.identity.replays import ReplayCache
    from meshware.identity.verify import Verified
    from meshware.identity.wimse import KnownWorkloads

__all__ = ["TOKEN_HEADERS", "TokenRefusal", "check_tokens"]

TOKEN_HEADERS = ("workload-identity-token", "workload-proof-token")
"""Taken away before the app sees a call: a copy in a log is a copy too many."""


@dataclass(frozen=True, slots=True)
class TokenRefusal:
    """Why a call is refused that bears tokens."""

    reason: str  # for the log; says nothing of what is in the tokens
    status: int = 401
    body: str = "Workload token is not valid"
    headers: tuple[tuple[str, str], ...] = (
        ("content-type", "text/plain"),
        ("www-authenticate", "WPT"),  # RFC 9110 15.5.2 wants one
    )


def check_tokens(
    head: InboundHead,
    bundles: Bundles,
    *,
    audience: str,
    now: float,
    replays: ReplayCache,
    known: KnownWorkloads | None = None,
) -> Verified | TokenRefusal | None:
    """Return who makes a call; None: it bears no token at all.

    Any other than two whole headers is a refusal: a token that is not valid is never as good as
    none.

    Args:
        head: the call.
        bundles: whom to believe.
        audience: our own SPIFFE ID.
        now: unix seconds.
        replays: of this process.
        known: of this process; None: every identity token is verified anew.
    """
    identity, proof = (_values(head.headers, name) for name in TOKEN_HEADERS)
    if not identity and not proof:
        return None
    if len(identity) != 1 or len(proof) != 1:
        return TokenRefusal(f"{len(identity)} identity tokens and {len(proof)} proofs")
    from meshware.identity.wimse import Received, verify_proof

    request = Received(method=head.method, target=head.target, path=head.paths[0], query=head.query)
    try:
        found = verify_proof(
            identity[0],
            proof[0],
            bundles,
            audience=audience,
            request=request,
            now=now,
            known=known,
        )
    except TokenError as error:
        return TokenRefusal(str(error))
    # Only what is valid in every other way is remembered: nobody fills it without a key.
    if replays.seen(found.jti, found.thumbprint, found.until, now):
        return TokenRefusal("the proof was used before, or too many are remembered")
    return found.caller


def _values(headers: HeaderLookup, name: str) -> list[str]:
    """Return the values of a header; WSGI servers join several with a comma, which no token has."""
    return [part.strip(" \t") for value in headers(name) for part in value.split(",")]
