"""A token issuer's public keys (a JSON Web Key Set), and which of them has signed a token.

Three things may be wrong with a set, and they come to different ends:

1. It cannot be read, has no key, or holds a secret: a symmetric key, or a part of a private one.
   Then none of it is believed: whoever can read such a set can sign as its issuer.
2. A key of it cannot verify (an RSA key of 1,024 bits, one for encryption, an unknown curve): it is
   passed over, as RFC 7517 5 wants, and told.
3. A key of it has not signed the token.

Source: RFC 7517; Envoy, `jwt_verify_lib` (how a key is chosen).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from meshware.errors import TokenError
from meshware.identity.jose import ALGORITHMS, Token, strict_json
from meshware.identity.jwk import JWT_SVID, PublicKey, has_secret, read_jwk

__all__ = [
    "MAX_JWKS_CHARS",
    "USER_ALGORITHMS",
    "Jwks",
    "Skipped",
    "Signature",
    "read_jwks",
    "verifying_keys",
]

USER_ALGORITHMS = ALGORITHMS | {"EdDSA"}
"""What a token of an end user may be signed with. Envoy takes HMAC too; here nobody does."""

MAX_JWKS_CHARS = 256 * 1024
_MOST_KEYS = 100
_MOST_TRIED = 16  # for one token: what names no key must not cost a hundred verifications


class Skipped(NamedTuple):
    """A key that can verify nothing."""

    position: int  # in the set
    why: str


class Signature(NamedTuple):
    """Whether a key of a set has signed a token."""

    is_right: bool
    has_key: bool = True  # there is a key that could have, by its id and algorithm
    has_id: bool = True  # the id that the token names is in the set, or it names none


@dataclass(frozen=True, slots=True)
class Jwks:
    """The keys of one issuer that can verify."""

    keys: tuple[PublicKey, ...]
    skipped: tuple[Skipped, ...] = ()

    def check(self, token: Token) -> Signature:
        """Say whether one of the keys has signed a token.

        A key and a token that both have an id must have the same. Of its algorithms a key knows.
        """
        kid, algorithm = token.key_id, token.algorithm
        keys = self.keys
        if kid:
            keys = tuple([key for key in keys if key.id is None or key.id == kid])
        fitting = [key for key in keys if algorithm in key.algorithms][:_MOST_TRIED]
        for key in fitting:
            if key.verifies(token):
                return Signature(True)
        has_id = not kid or any(key.id == kid for key in keys)
        return Signature(False, bool(fitting), has_id)


def read_jwks(text: str) -> Jwks:
    """Return the keys of a set.

    Raises:
        TokenError: none of it may be believed; the text says why, for whoever wrote or fetched it.
    """
    if len(text) > MAX_JWKS_CHARS:
        raise TokenError(f"it is longer than {MAX_JWKS_CHARS} characters")
    try:
        found = strict_json(text.encode("utf-8"), "text")
    except UnicodeEncodeError as error:
        raise TokenError("it is not Unicode") from error
    verifying, skipped = verifying_keys(found)
    return Jwks(tuple(key for _, key in verifying), tuple(skipped))


def verifying_keys(
    document: object,
) -> tuple[list[tuple[Mapping[str, Any], PublicKey]], list[Skipped]]:
    """Return the keys of a set that can verify, as written and as read, and what is passed over.

    Args:
        document: JSON, parsed.

    Raises:
        TokenError: none of it may be believed.
    """
    if not isinstance(document, dict) or "keys" not in document:
        raise TokenError("it is no JSON object with the member keys")
    written = document["keys"]
    if not isinstance(written, list):
        raise TokenError("its keys are no list")
    if not 0 < len(written) <= _MOST_KEYS:
        raise TokenError(f"it has not 1 to {_MOST_KEYS} keys")
    verifying: list[tuple[Mapping[str, Any], PublicKey]] = []
    skipped: list[Skipped] = []
    for index, jwk in enumerate(written):
        if not isinstance(jwk, Mapping):
            skipped.append(Skipped(index, "a key is no object"))
            continue
        if has_secret(jwk):
            raise TokenError(
                f"keys[{index}] holds a secret (a symmetric key, or a part of a private one), "
                "which whoever can read it could sign with; replace that key at its issuer, and "
                "publish its public half alone"
            )
        try:
            key = read_jwk(jwk)
        except TokenError as error:
            skipped.append(Skipped(index, str(error)))
            continue
        if key.use in (None, "sig", JWT_SVID):
            verifying.append((jwk, key))
        else:
            skipped.append(Skipped(index, "a key is for another use"))
    return verifying, skipped
