"""Public keys as JSON (RFC 7517), read strictly, and what each may have signed.

A key fixes its algorithms: an elliptic curve has one, an RSA key those of its family or the one
that it names. What a token says of its algorithm only has to fit; it never chooses. Ed25519 is for
end users' tokens: those of workloads are never read with it (`identity.jose.ALGORITHMS`).

Source: RFC 7517, 7518, 8037; SPIFFE Trust Domain and Bundle 4.2.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import get_default_algorithms

from meshware.errors import TokenError
from meshware.identity.jose import (
    Token,
    base64url,
    from_base64url,
    strict_json,
)

if TYPE_CHECKING:
    from meshware.identity.bundle import Bundle
    from meshware.identity.svid import PrivateKey

__all__ = [
    "JWT_SVID",
    "WIT_SVID",
    "PublicKey",
    "algorithm_of",
    "has_secret",
    "keys_of",
    "public_jwk",
    "read_jwk",
    "sign",
    "thumbprint",
    "verify_by_bundle",
]

JWT_SVID = "jwt-svid"
WIT_SVID = "wit-svid"
"""The `use` of a key in a bundle; one of another use vouches for nothing here."""

_CURVES: dict[str, tuple[str, int, type[ec.EllipticCurve]]] = {
    "P-256": ("ES256", 32, ec.SECP256R1),
    "P-384": ("ES384", 48, ec.SECP384R1),
    "P-521": ("ES512", 66, ec.SECP521R1),
}
_ED25519 = ("Ed25519", "EdDSA", 32)  # curve, algorithm, bytes of a key
_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
_LEAST_RSA_BITS, _MOST_RSA_BITS = 2048, 8192
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MOST_KEYS = 16  # that are tried for a token which names none
_BY_NAME = get_default_algorithms()

AnyPublicKey: TypeAlias = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that may verify.

    Attributes:
        id: `kid`; None: it has none.
        use: as written; None: it says nothing.
        algorithms: what it may have signed with.
        thumbprint: names it (RFC 7638).
    """

    key: AnyPublicKey = field(repr=False)
    algorithms: frozenset[str]
    thumbprint: str
    id: str | None = None
    use: str | None = None

    def verifies(self, token: Token) -> bool:
        """Say whether it signed a token."""
        name = token.algorithm
        if name not in self.algorithms:
            return False
        algorithm = _BY_NAME[name]
        return bool(algorithm.verify(token.signed, self.key, token.signature))


def read_jwk(jwk: Mapping[str, Any]) -> PublicKey:
    """Return the key of a JSON object.

    Raises:
        TokenError: it is no public key for signatures, a weak one, or also a private one.
    """
    if has_secret(jwk):
        raise TokenError("a public key has parts of a private one")
    kind, named, key_id, use = (_text(jwk, name) for name in ("kty", "alg", "kid", "use"))
    operations = jwk.get("key_ops", ["verify"])
    if use == "enc" or not isinstance(operations, list) or "verify" not in operations:
        raise TokenError("a key is not for signatures")
    key: AnyPublicKey
    try:
        if kind == "EC":
            algorithm, size, curve = _CURVES[_text(jwk, "crv") or ""]
            x, y = _uint(jwk, "x", size), _uint(jwk, "y", size)
            key = ec.EllipticCurvePublicNumbers(x, y, curve()).public_key()
            algorithms = frozenset({algorithm})
        elif kind == "RSA":
            modulus, exponent = _uint(jwk, "n"), _uint(jwk, "e")
            if not _LEAST_RSA_BITS <= modulus.bit_length() <= _MOST_RSA_BITS:
                raise TokenError(f"an RSA key has not {_LEAST_RSA_BITS} to {_MOST_RSA_BITS} bits")
            if exponent.bit_length() > 32:  # a long one costs whoever verifies
                raise TokenError("an RSA key has an exponent that nobody needs")
            key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
            algorithms = _RSA
        elif kind == "OKP":
            curve_name, algorithm, size = _ED25519
            if _text(jwk, "crv") != curve_name:
                raise TokenError("a key is of a curve that is not supported")
            data = from_base64url(_text(jwk, "x") or "", "x")
            if len(data) != size:
                raise TokenError("a key has another length than its curve")
            key = Ed25519PublicKey.from_public_bytes(data)
            algorithms = frozenset({algorithm})
        else:
            raise TokenError("a key is none of EC, RSA and OKP")
    except (KeyError, ValueError) as error:
        raise TokenError("a key is not one that can be read") from error
    if named is not None:
        algorithms &= {named}
        if not algorithms:
            raise TokenError("a key names an algorithm that it cannot have")
    return PublicKey(key, algorithms, thumbprint(key), key_id, use)


def has_secret(jwk: Mapping[str, Any]) -> bool:
    """Say whether a JSON object holds what its owner alone should have."""
    return jwk.get("kty") == "oct" or not _PRIVATE.isdisjoint(jwk)


def public_jwk(key: PrivateKey, **members: str) -> dict[str, str]:
    """Return the public half of a key as a JSON object, with `alg` and other members."""
    public = key.public_key()
    return {**_required(public), "alg": algorithm_of(key), **members}


def algorithm_of(key: PrivateKey) -> str:
    """Return what a key signs with here."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "PS256"
    return {size: name for name, size, _ in _CURVES.values()}[(key.curve.key_size + 7) // 8]


def thumbprint(key: AnyPublicKey) -> str:
    """Return the SHA-256 thumbprint of a key (RFC 7638), in base64url."""
    canonical = json.dumps(_required(key), sort_keys=True, separators=(",", ":"))
    return base64url(hashlib.sha256(canonical.encode()).digest())


def sign(key: PrivateKey, header: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
    """Return a token; `alg` is the key's, whatever the header says."""
    algorithm = algorithm_of(key)
    parts = [
        base64url(json.dumps(part, separators=(",", ":")).encode())
        for part in ({**header, "alg": algorithm}, claims)
    ]
    signed = ".".join(parts)
    return f"{signed}.{base64url(_BY_NAME[algorithm].sign(signed.encode(), key))}"


def keys_of(bundle: Bundle, use: str) -> tuple[PublicKey, ...]:
    """Return the keys of a bundle that are of this use and can be used; others vouch for nothing.

    Source: SPIFFE Trust Domain and Bundle 4.2.2: what is not understood is passed over.
    """
    wanted = [key for key in bundle.tokens if key.get("use") == use]
    return _read_all(json.dumps(wanted, sort_keys=True, default=repr))


def verify_by_bundle(token: Token, bundle: Bundle, use: str) -> PublicKey:
    """Return the key of a bundle that signed a token.

    Raises:
        TokenError: none of this use did.
    """
    keys = keys_of(bundle, use)
    if token.key_id is not None:
        keys = tuple(key for key in keys if key.id == token.key_id)
    for key in keys[:_MOST_KEYS]:
        if key.verifies(token):
            return key
    raise TokenError("no key of its trust domain has signed it")


@lru_cache(maxsize=64)  # by what they are: a bundle that changes gets others
def _read_all(keys: str) -> tuple[PublicKey, ...]:
    found = []
    for jwk in strict_json(keys.encode(), "bundle"):
        try:
            found.append(read_jwk(jwk))
        except TokenError:
            continue  # the daemon has told its operator; nobody is believed by it
    return tuple(found)


def _required(key: AnyPublicKey) -> dict[str, str]:
    if isinstance(key, Ed25519PublicKey):
        data = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
        return {"kty": "OKP", "crv": _ED25519[0], "x": base64url(data)}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return {"kty": "RSA", "n": _written(numbers.n), "e": _written(numbers.e)}
    size = (key.curve.key_size + 7) // 8
    name = next(name for name, (_, bytes_, _) in _CURVES.items() if bytes_ == size)
    point = key.public_numbers()
    return {
        "kty": "EC",
        "crv": name,
        "x": base64url(point.x.to_bytes(size, "big")),
        "y": base64url(point.y.to_bytes(size, "big")),
    }


def _written(value: int) -> str:
    return base64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def _uint(jwk: Mapping[str, Any], name: str, size: int | None = None) -> int:
    data = from_base64url(_text(jwk, name) or "", name)
    if size is not None and len(data) != size:
        raise TokenError("a key has a coordinate of another length than its curve")
    return int.from_bytes(data, "big")


def _text(jwk: Mapping[str, Any], name: str) -> str | None:
    value = jwk.get(name)
    if value is not None and not isinstance(value, str):
        raise TokenError(f"the {name} of a key is no text")
    return value
