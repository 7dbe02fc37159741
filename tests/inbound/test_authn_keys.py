"""Which key of an issuer has signed a token, and what is said when none has."""

from __future__ import annotations

import pytest
from inbound_world import request, status_of
from user_world import (
    HEADER,
    OTHER,
    URI,
    admitted,
    bearer,
    jwk,
    jwks,
    refused,
    rule,
    token,
    user_mesh,
)


def test_without_fetched_keys_a_token_is_refused_and_none_passes():
    """TestMesh fetches nothing. An unknown issuer is told first."""
    mesh = user_mesh(rule(jwks=None, jwksUri=URI))
    assert refused(mesh, bearer(token())) == (401, "Jwks remote fetch is failed")
    assert refused(mesh, bearer(token(iss=OTHER))) == (401, "Jwt issuer is not configured")
    assert admitted(mesh)


def test_without_usable_keys_a_token_is_refused():
    """A weak key is passed over, and then none is left."""
    mesh = user_mesh(rule(jwks=jwks("rsa-weak")))
    made = token("rsa-weak", algorithm="RS256")
    assert refused(mesh, bearer(made)) == (401, "Jwks doesn't have any valid public key")


@pytest.mark.parametrize(
    ("keys", "header", "is_good"),
    [
        (["other", "ec"], {"alg": "ES256"}, True),
        ([jwk("other", kid=None), jwk("ec", kid=None)], {"alg": "ES256", "kid": "any"}, True),
        ([jwk("ec", kid=None)], {"alg": "ES256", "kid": ""}, True),
        ([jwk("other", kid="ec"), "ec"], HEADER, True),
        (["other"], {"alg": "ES256"}, False),
        ([jwk("other", kid="ec"), jwk("ec", kid="other")], HEADER, False),
        ([jwk("ec", use="enc"), "other"], HEADER, False),
        ([jwk("ec", use="x509-svid"), "other"], HEADER, False),
        ([jwk("ec", use="sig")], HEADER, True),
        ([jwk("ec", key_ops=["sign"]), "other"], HEADER, False),
        ([*(jwk(f"n{number}", kid=None) for number in range(16)), "ec"], {"alg": "ES256"}, False),
        ([*(jwk(f"n{number}") for number in range(16)), "ec"], HEADER, True),
    ],
    ids=[
        "by its algorithm",
        "keys without kid",
        "an empty kid",
        "two of one kid",
        "another key",
        "kids exchanged",
        "for encryption",
        "of another use",
        "for signatures",
        "for signing alone",
        "behind sixteen without kid",
        "behind sixteen of other kids",
    ],
)
def test_which_key_is_tried(keys, header, is_good):
    """The one that the token names; those without an id; at most 16 for one token."""
    mesh = user_mesh(rule(jwks=jwks(*keys)))
    status = status_of(mesh, request(headers=[bearer(token(header=header))]))
    assert status == (200 if is_good else 401)
