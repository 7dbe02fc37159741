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
from meshware.identity.jwks import verifying_keys

__all__ = ["keys_address", "usable_keys"]

_LONGEST_ID = 256  # no token names a longer one
_LONGEST_KEY = 2500  # characters; an RSA key of 8,192 bits has 1,700
_KEPT = ("kty", "kid", "use", "alg", "crv", "x", "y", "n", "e")


def usable_keys(data: bytes) -> str:
    """Return the keys of a key set that can verify, as a key set: the same for the same keys.

    Args:
        data: JSON, as fetched.

    Raises:
        TokenError: it is no key set, has none that can be used, or has a key's secret parts.
    """
    document = strict_json(data, "key set")
    try:
        verifying, _ = verifying_keys(document)
    except TokenError as error:
        raise TokenError(f"the answer is no key set to believe: {error}") from error
    found: set[str] = set()
    for key, parsed in verifying:
        kept = {name: key[name] for name in _KEPT if name in key}
        written = json.dumps(kept, sort_keys=True, separators=(",", ":"))
        if len(written) <= _LONGEST_KEY and len(parsed.id or "") <= _LONGEST_ID:
            found.add(written)
    if not found:
        raise TokenError("the key set has no key that can verify a token")
    return f'{{"keys":[{",".join(sorted(found))}]}}'


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
