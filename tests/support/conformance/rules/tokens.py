"""Tokens of end users: two issuers with their keys, and tokens of every kind, by name.

Source: RFC 7515, 7517 and 7519.
"""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUERS = {"a": "https://a.example", "b": "https://b.example/realm"}
LONG_S = 3600


@cache
def made_at() -> int:
    """When the tokens are made: our side asks as of a little later, however long it all takes."""
    return int(time.time())


def make_anew() -> None:
    """Have tokens made as of now: Envoy goes by the clock, and a run of tests takes its time."""
    made_at.cache_clear()
    token.cache_clear()


_KEYS = {
    "a": ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    "b": ("ES256", ec.generate_private_key(ec.SECP256R1())),
    "nobody": ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
}


@cache
def jwks(issuer: str) -> str:
    """The key set of an issuer."""
    algorithm, key = _KEYS[issuer]
    found = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
    return json.dumps({"keys": [{**found, "kid": issuer, "alg": algorithm, "use": "sig"}]})


def _signed(by: str = "a", kid: str | None = None, /, **claims: Any) -> str:
    """A token of issuer `a` with some claims changed; None takes one out."""
    now = made_at()
    issuer = by if by in ISSUERS else "a"
    full = {"iss": ISSUERS[issuer], "sub": "ann", "aud": "shop", "iat": now, "exp": now + LONG_S}
    full |= {"scope": "read write", "groups": ["staff", "dev"], "azp": "web", "org": {"id": "o1"}}
    payload = {name: value for name, value in (full | claims).items() if value is not None}
    algorithm, key = _KEYS[by]
    return jwt.encode(payload, key, algorithm, headers={"kid": kid or issuer})


def _parts(header: Any, payload: Any, signature: bytes = b"x" * 256) -> str:
    return ".".join(_encoded(part) for part in (header, payload, signature))


def _encoded(part: Any) -> str:
    data = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@cache
def token(kind: str) -> str:
    """A token of a kind."""
    now = made_at()
    full = {"iss": ISSUERS["a"], "sub": "ann", "exp": now + LONG_S}
    match kind:
        case "a" | "b":
            return _signed(kind)
        case "other subject":
            return _signed(sub="bob", groups=["guests"], azp="cli", org={"id": "o2"}, scope="read")
        case "several audiences":
            return _signed(aud=["other", "shop"])
        case "wrong audience":
            return _signed(aud="other")
        case "no audience":
            return _signed(aud=None)
        case "no subject":
            return _signed(sub=None)
        case "odd claims":
            return _signed(azp=7, groups="staff", org={"id": 1, "admin": True}, scope="  read ")
        case "expired":
            return _signed(exp=now - LONG_S)
        case "expired within the skew":
            return _signed(exp=now - 1)
        case "not yet":
            return _signed(nbf=now + LONG_S)
        case "soon":
            return _signed(nbf=now + 20)
        case "no expiry":
            return _signed(exp=None)
        case "of nobody":
            return _signed(iss="https://c.example")
        case "another's key":
            return _signed("nobody")
        case "unknown key":
            return _signed("a", "gone")
        case "changed":
            head, payload, signature = _signed().split(".")
            return ".".join((head, _encoded(full | {"sub": "root"}), signature))
        case "unsigned":
            return _parts({"alg": "none"}, full, b"")
        case "hmac":
            return jwt.encode(full, "k" * 32, "HS256", headers={"kid": "a"})
        case "two parts":
            return _signed().rpartition(".")[0]
        case "no token":
            return "garbage"
        case "no JSON":
            return _parts(b"{", b"}")
    raise KeyError(kind)


KINDS = (
    "a", "a", "a", "b", "b", "other subject", "other subject", "several audiences",
    "wrong audience", "no audience", "no subject", "odd claims", "expired",
    "expired within the skew", "not yet", "soon", "no expiry", "of nobody", "another's key",
    "unknown key", "changed", "unsigned", "hmac", "two parts", "no token", "no JSON",
)  # fmt: skip
"""Every kind, those that verify more often."""
