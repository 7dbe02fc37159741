"""Key sets of token issuers: what is believed of one, passed over, or refused whole."""

from __future__ import annotations

import json
import time

import pytest
from user_world import jwk, jwks, key

from meshware.errors import TokenError
from meshware.identity.jose import base64url
from meshware.identity.jwks import read_jwks


def oct_key() -> dict[str, str]:
    """A symmetric key."""
    return {"kty": "oct", "k": "c2VjcmV0"}


REFUSED = {
    "nothing": "",
    "no JSON": "keys",
    "a list": "[]",
    "no keys": "{}",
    "keys an object": '{"keys": {}}',
    "an empty list": '{"keys": []}',
    "keys twice": '{"keys": [], "keys": []}',
    "101 keys": json.dumps({"keys": [{}] * 101}),
    "NaN": '{"keys": [NaN]}',
    "a byte-order mark": "\ufeff" + jwks("ec"),
    "a surrogate": '{"keys": ["\ud800"]}',
    "deep": '{"keys": ' + "[" * 100 + "]" * 100 + "}",
    "too long": jwks("ec") + " " * 300_000,
    "a symmetric key": jwks("ec", oct_key()),
    "a key with k": jwks({**jwk("ec"), "k": "AA"}),
    "a private EC key": jwks({**jwk("ec"), "d": "AA"}),
    "a private RSA key": jwks({**jwk("rsa"), "dp": "AA"}),
    "a private OKP key": jwks({**jwk("ed"), "d": "AA"}),
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_set_that_is_none_or_holds_a_secret_is_not_believed_at_all(text):
    """At once, and with nothing of its keys in the reason."""
    begin = time.thread_time()
    with pytest.raises(TokenError) as caught:
        read_jwks(text)
    assert time.thread_time() - begin < 0.5
    assert "c2VjcmV0" not in str(caught.value)


SKIPPED = {
    "a weak RSA key": jwk("rsa-weak"),
    "a huge RSA key": jwk("rsa", n=base64url(b"\xff" * 1025)),
    "an RSA exponent of 64 bits": jwk("rsa", e=base64url(b"\x01" * 8)),
    "for encryption": jwk("ec", use="enc"),
    "for certificates": jwk("ec", use="x509-svid"),
    "for signing": jwk("ec", key_ops=["sign"]),
    "another curve": jwk("ec", crv="secp256k1"),
    "Ed448": jwk("ed", crv="Ed448"),
    "X25519": jwk("ed", crv="X25519"),
    "a short OKP key": jwk("ed", x="AAAA"),
    "a point that is on no curve": jwk("ec", y="A" * 43),
    "no kty": jwk("ec", kty=None),
    "another kty": jwk("ec", kty="AKP"),
    "an HMAC algorithm": jwk("rsa", alg="HS256"),
    "alg none": jwk("rsa", alg="none"),
    "another curve's algorithm": jwk("ec", alg="ES384"),
    "a kid that is a number": jwk("ec", kid=7),
}


@pytest.mark.parametrize("one", SKIPPED.values(), ids=SKIPPED)
def test_a_key_that_cannot_verify_is_passed_over(one):
    """And told by its position; the others hold."""
    found = read_jwks(jwks("other", one, "rsa"))
    assert [skipped.position for skipped in found.skipped] == [1]
    assert [each.id for each in found.keys] == ["other", "rsa"]


def test_what_is_no_object_is_passed_over():
    """RFC 7517, 5."""
    found = read_jwks(json.dumps({"keys": ["x", jwk("ec")], "more": 1}))
    assert [each.id for each in found.keys] == ["ec"]
    assert found.skipped[0].position == 0


def test_each_kind_of_key_is_read():
    """With the algorithms that it may have signed with."""
    found = read_jwks(jwks("ec", "p384", "p521", "ed", "rsa", jwk("rsa", alg="PS256")))
    algorithms = [sorted(each.algorithms) for each in found.keys]
    assert algorithms[:4] == [["ES256"], ["ES384"], ["ES512"], ["EdDSA"]]
    assert len(algorithms[4]) == 6
    assert algorithms[5] == ["PS256"]
    assert repr(key("ec").public_key()) not in repr(found)
