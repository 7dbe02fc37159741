"""What an issuer's server answers, read strictly: a key set that can be used, or nothing.

An answer that is garbage, empty, or gives away what is secret counts as no answer, so that it can
never take the place of good keys. What is kept of a good one is what verifies, and nothing else:
certificates, comments and keys of other kinds stay out of policy.

Source: RFC 7517, 5; OpenID Connect Discovery 1.0, 3 and 4.3.
"""

from __future__ import annotations

import json
from typing import Any

from meshware.errors import TokenError
from meshware.identity.jose import strict_json
from meshware.identity.jwk import JWT_SVID, read_jwk

__all__ = ["keys_address", "usable_keys"]

MOST_KEYS = 100
"""More than any issuer has at a time; each is read whenever policy changes."""

_USES = frozenset({None, "sig", JWT_SVID})
_LONGEST_ID = 256  # no token names a longer one
_LONGEST_KEY = 2500  # characters; an RSA key of 8,192 bits has 1,700
_SECRET = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_KEPT = ("kty", "kid", "use", "alg", "crv", "x", "y", "n", "e")


def usable_keys(data: bytes) -> str:
    """Return the keys of a key set that can verify, as a key set: the same for the same keys.

    Args:
        data: JSON, as fetched.

    Raises:
        TokenError: it is no key set, has none that can be used, or has a key's secret parts.
    """
    document = strict_json(data, "key set")
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise TokenError('the answer is no key set: it has no "keys"')
    if len(keys) > MOST_KEYS:
        raise TokenError(f"the key set has more than {MOST_KEYS} keys")
    found: list[str] = []
    for key in keys:
        if not isinstance(key, dict):
            raise TokenError("the key set has a key that is no object")
        if key.get("kty") == "oct" or not _SECRET.isdisjoint(key):
            raise TokenError(
                "the key set has a secret or private key, which everybody could read; replace "
                "that key at its issuer, and publish its public half alone"
            )
        try:
            parsed = read_jwk(key)
        except TokenError:
            continue  # of another kind or use, or too weak: nobody is believed by it
        kept = {name: key[name] for name in _KEPT if name in key}
        written = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        is_short = len(written) <= _LONGEST_KEY and len(parsed.id or "") <= _LONGEST_ID
        if parsed.use in _USES and is_short:
            found.append(written)
    if not found:
        raise TokenError("the key set has no key that can verify a token")
    return f'{{"keys":[{",".join(sorted(set(found)))}]}}'


def keys_address(data: bytes, issuer: str) -> str:
    """Return where an OpenID configuration says that the keys are.

    Args:
        data: JSON, as fetched.
        issuer: whose it must be, to the letter.

    Raises:
        TokenError: it is no configuration, or another issuer's.
    """
    document: Any = strict_json(data, "OpenID configuration")
    if not isinstance(document, dict):
        raise TokenError("the OpenID configuration is no object")
    if document.get("issuer") != issuer:
        raise TokenError("the OpenID configuration is of another issuer than the rule's")
    address = document.get("jwks_uri")
    if not isinstance(address, str) or not address:
        raise TokenError("the OpenID configuration has no jwks_uri")
    return address
