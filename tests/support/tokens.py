"""A token authority's keys and a workload's, and tokens of any make, right ones and wrong ones."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any

from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import new_key
from meshware.identity.jwk import JWT_SVID, WIT_SVID, public_jwk, sign
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import PrivateKey
from meshware.identity.wimse import mint_proof, mint_wit

NOW = 1_800_000_000.0
OWN = "spiffe://example.org/ns/shop/sa/orders"
CALLER = SpiffeID.parse("spiffe://example.org/ns/shop/sa/web")


def encoded(data: bytes | str | dict[str, Any]) -> str:
    """A part of a token, of whatever it is."""
    if isinstance(data, dict):
        data = json.dumps(data)
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(key: PrivateKey, header: bytes | str | dict, claims: bytes | str | dict) -> str:
    """A token whose signature is right, whatever stands in it."""
    parts = f"{encoded(header)}.{encoded(claims)}"
    from jwt.algorithms import get_default_algorithms

    return f"{parts}.{encoded(get_default_algorithms()['ES256'].sign(parts.encode(), key))}"


@dataclass
class TokenWorld:
    """A trust domain with a key for each kind of token, a partner's, and one workload."""

    jwt_key: PrivateKey = field(default_factory=new_key)
    wit_key: PrivateKey = field(default_factory=new_key)
    other_key: PrivateKey = field(default_factory=new_key)
    workload_key: PrivateKey = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.bundles = Bundles(
            [
                Bundle(
                    "example.org",
                    (),
                    tokens=(
                        public_jwk(self.jwt_key, kid="jwt", use=JWT_SVID),
                        public_jwk(self.wit_key, kid="wit", use=WIT_SVID),
                    ),
                ),
                Bundle(
                    "partner.net",
                    (),
                    tokens=(
                        public_jwk(self.other_key, kid="jwt", use=JWT_SVID),
                        public_jwk(self.other_key, kid="wit", use=WIT_SVID),
                    ),
                ),
            ]
        )

    def wit(self, now: float = NOW, spiffe_id: SpiffeID = CALLER) -> str:
        """A right identity token."""
        return mint_wit(self.wit_key, "wit", spiffe_id, self.workload_key, now=now, jti="w")

    def wit_claims(self, **changed: Any) -> dict[str, Any]:
        """The claims of a right identity token, but for these; None: it is not there."""
        claims = {
            "sub": str(CALLER),
            "exp": NOW + 600,
            "iat": NOW,
            "jti": "w",
            "cnf": {"jwk": public_jwk(self.workload_key)},
            **changed,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def proof(self, wit: str, now: float = NOW, **changed: Any) -> str:
        """A right proof, but for these arguments of `mint_proof`."""
        given = {"audience": OWN, "method": "GET", "target": "/a?b=1", "jti": "p", **changed}
        key = given.pop("key", self.workload_key)
        return mint_proof(wit, key, now=now, **given)

    def jwt_svid(self, key: PrivateKey | None = None, **claims: Any) -> str:
        """A JWT-SVID of these claims."""
        return sign(key or self.jwt_key, {"kid": "jwt", "typ": "JWT"}, claims)
