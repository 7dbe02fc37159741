"""Token identity: who calls, told by two headers, where TLS cannot tell it.

1. The *workload identity token* (`Workload-Identity-Token`) says that a key is a workload's. The
   token authority of the workload's trust domain signs it; it is for no audience, lives an hour or
   so, and proves nothing alone: anybody who has seen a call has a copy.
2. The *proof token* (`Workload-Proof-Token`) is made for one call with that key, and lives half a
   minute. It is bound to the receiver (`aud`, its SPIFFE ID), the method (`htm`), path and query
   (`tgt`) and the identity token (`wth`), and bears an id (`jti`) by which a second use is known.

What is *not* bound: headers, the body, the connection. Whoever sits between can read a call and
answer it; it cannot make another one of it.

Source: draft-ietf-wimse-workload-creds, draft-ietf-wimse-wpt; SPIFFE WIT-SVID. `htm` is RFC 9449's;
`tgt` is ours. Differs from draft-ietf-wimse-wpt-02: the proof stands in the header of the drafts
before it, since `Authorization` is the end user's token, which Istio's policies are about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from meshware.errors import TokenError
from meshware.identity.bundle import Bundles
from meshware.identity.jose import base64url, parse, text
from meshware.identity.jwk import (
    WIT_SVID,
    PublicKey,
    public_jwk,
    read_jwk,
    sign,
    verify_by_bundle,
)
from meshware.identity.jwt_svid import LEEWAY_S, check_times, subject_of
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import PrivateKey
from meshware.identity.verify import Verified

__all__ = [
    "IDENTITY_HEADER",
    "KnownWorkloads",
    "MAX_PROOF_LIFE_S",
    "MAX_WIT_LIFE_S",
    "PROOF_HEADER",
    "PROOF_LEEWAY_S",
    "PROOF_LIFE_S",
    "WIT_LIFE_S",
    "Proof",
    "Received",
    "Workload",
    "mint_proof",
    "mint_wit",
    "verify_proof",
    "verify_wit",
]

IDENTITY_HEADER = "workload-identity-token"
PROOF_HEADER = "workload-proof-token"

WIT_LIFE_S = 3600.0  # as leaves
MAX_WIT_LIFE_S = 86_400.0
PROOF_LIFE_S = 30.0
MAX_PROOF_LIFE_S = 60.0
"""A verifier's own bound. With the leeway it is how long a proof has to be remembered."""

PROOF_LEEWAY_S = 10.0
"""With the life above, clocks may be 40 s apart, whichever is ahead."""

_HEADERS = frozenset({"alg", "kid", "typ"})


@dataclass(frozen=True, slots=True)
class Workload:
    """Whose key it is, as an identity token says. It is nobody's word until a proof comes."""

    id: SpiffeID
    key: PublicKey = field(repr=False)
    until: float  # unix seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A request as a server says that it came.

    Attributes:
        method: as received.
        target: path, still encoded, perhaps with a query; None: the server does not say.
        path: decoded; compared where there is no `target`.
        query: still encoded, without its question mark; None: only `target` may have it.
    """

    method: str
    target: str | None
    path: str
    query: str | None = None

    def is_at(self, target: str) -> bool:
        """Say whether it came for a target that a caller has signed."""
        path, _, query = target.partition("?")
        own, mark, rest = (self.target or "").partition("?")
        if query != (rest if mark or self.query is None else self.query):
            return False
        if self.target is not None:
            return path == own
        return unquote_to_bytes(path) == self.path.encode("utf-8", "surrogateescape")


@dataclass(frozen=True, slots=True)
class Proof:
    """A call's caller, and what a second use of the same proof is known by."""

    caller: Verified
    jti: str
    thumbprint: str  # of the caller's key
    until: float  # unix seconds: from then on nobody takes the proof


class KnownWorkloads:
    """Remembers identity tokens that were verified: each comes with many calls.

    Kept by token *and* by whom we believe, so that a key which leaves the bundles ends at once
    what it has signed. Safe to use from any thread.

    Args:
        most: that are remembered; then all are forgotten.
    """

    def __init__(self, most: int = 1024) -> None:
        self._most = most
        self._known: dict[tuple[bytes, str], Workload] = {}

    def verified(self, wit: str, bundles: Bundles, now: float) -> Workload:
        """Return what `verify_wit` does.

        Raises:
            TokenError: as `verify_wit` does.
        """
        key = (hashlib.sha256(wit.encode("utf-8", "surrogatepass")).digest(), bundles.digest)
        found = self._known.get(key)
        if found is not None and now < found.until + LEEWAY_S:
            return found
        found = verify_wit(wit, bundles, now)
        if len(self._known) >= self._most:
            self._known.clear()
        self._known[key] = found
        return found


def mint_wit(
    key: PrivateKey,
    key_id: str,
    spiffe_id: SpiffeID,
    workload_key: PrivateKey,
    *,
    now: float,
    jti: str,
    life_s: float = WIT_LIFE_S,
) -> str:
    """Return an identity token.

    Args:
        key: of the trust domain's token authority.
        key_id: names it in the bundle.
        spiffe_id: whose the other key is.
        workload_key: its public half goes in.
        now: unix seconds.
        jti: unique, for audits.
        life_s: seconds.
    """
    claims = {
        "iss": f"spiffe://{spiffe_id.trust_domain}",
        "sub": str(spiffe_id),
        "iat": int(now),
        "nbf": int(now - LEEWAY_S),
        "exp": int(now + life_s),
        "jti": jti,
        "cnf": {"jwk": public_jwk(workload_key)},
    }
    return sign(key, {"kid": key_id, "typ": "wit+jwt"}, claims)


def mint_proof(
    wit: str,
    key: PrivateKey,
    *,
    audience: str,
    method: str,
    target: str,
    now: float,
    jti: str,
    life_s: float = PROOF_LIFE_S,
) -> str:
    """Return a proof token for one attempt of one call.

    Args:
        wit: our own identity token.
        key: the one it names.
        audience: the receiver's SPIFFE ID.
        method: of the request.
        target: path and query, as they go out.
        now: unix seconds.
        jti: unique: 128 bits of chance.
        life_s: seconds.
    """
    claims = {
        "aud": audience,
        "exp": int(now + life_s),
        "jti": jti,
        "wth": _hash(wit),
        "htm": method,
        "tgt": target.partition("#")[0],
    }
    return sign(key, {"typ": "wpt+jwt"}, claims)


def verify_wit(wit: str, bundles: Bundles, now: float) -> Workload:
    """Return whose key a token names. Nobody is identified by that alone.

    Args:
        wit: the identity token.
        bundles: whom to believe, each about its own trust domain alone.
        now: unix seconds.

    Raises:
        TokenError: it is not to be believed.
    """
    token = parse(wit, headers=_HEADERS)
    if token.type != "wit+jwt":
        raise TokenError("its type is not wit+jwt")
    if token.key_id is None:
        raise TokenError("it names no key that signed it")
    if "aud" in token.claims:
        raise TokenError("it has an audience, as no identity token does")
    found = subject_of(token)
    bundle = bundles.get(found.trust_domain)
    if bundle is None:
        raise TokenError("there is no bundle of its trust domain")
    verify_by_bundle(token, bundle, WIT_SVID)
    until = check_times(token.claims, now, MAX_WIT_LIFE_S)
    return Workload(found, _confirmed(token.claims.get("cnf")), until)


def verify_proof(
    wit: str,
    proof: str,
    bundles: Bundles,
    *,
    audience: str,
    request: Received,
    now: float,
    known: KnownWorkloads | None = None,
) -> Proof:
    """Return who makes a call. Whether the proof has been used before is for a `ReplayCache`.

    Args:
        wit: the identity token.
        proof: the proof token.
        bundles: whom to believe.
        audience: our own SPIFFE ID.
        request: what came.
        now: unix seconds.
        known: identity tokens that were verified before; None: this one is verified anew.

    Raises:
        TokenError: it is nobody, or was signed for another call; the reason is for the log.
    """
    verified = verify_wit if known is None else known.verified
    workload = verified(wit, bundles, now)
    token = parse(proof, headers=_HEADERS)
    claims = token.claims
    if token.type != "wpt+jwt":
        raise TokenError("the proof's type is not wpt+jwt")
    if not workload.key.verifies(token):
        raise TokenError("the proof is signed by another key than the identity token names")
    if claims.get("wth") != _hash(wit):
        raise TokenError("the proof is for another identity token")
    if claims.get("aud") not in (audience, [audience]):
        raise TokenError("the proof is for another audience")
    if claims.get("htm") != request.method:
        raise TokenError("the proof is for another method")
    if not request.is_at(text(claims, "tgt", most=8192)):
        raise TokenError("the proof is for another target")
    if "tth" in claims or "oth" in claims:
        # The draft: whoever does not look at the tokens that they bind must refuse the proof.
        raise TokenError("the proof binds tokens that are not looked at here")
    until = check_times(claims, now, MAX_PROOF_LIFE_S, PROOF_LEEWAY_S)
    jti = text(claims, "jti", most=256)
    caller = Verified(workload.id, min(workload.until, until))
    return Proof(caller, jti, workload.key.thumbprint, until + PROOF_LEEWAY_S)


def _confirmed(cnf: object) -> PublicKey:
    """Return the key of a `cnf` claim: public, with the one algorithm that its proofs have."""
    jwk: Any = cnf.get("jwk") if isinstance(cnf, Mapping) and len(cnf) == 1 else None
    if not isinstance(jwk, Mapping) or not isinstance(jwk.get("alg"), str):
        raise TokenError("its cnf is not one public key with its algorithm")
    return read_jwk(jwk)


def _hash(wit: str) -> str:
    return base64url(hashlib.sha256(wit.encode("ascii", "replace")).digest())
