"""What an issuer's server answers: the keys that can be used, or why it counts as no answer."""

from __future__ import annotations

import json

import pytest
from key_server import key_set, new_key

from meshware.errors import TokenError
from meshware.identity.fetched_keys import keys_address, usable_keys

A, B = new_key("a"), new_key("b")


def ids(data: bytes) -> list[str | None]:
    """The ids of what is kept."""
    return [key.get("kid") for key in json.loads(usable_keys(data))["keys"]]


def test_the_same_keys_are_the_same_text():
    """In whatever order and company they come."""
    with_more = {**B, "x5c": ["AAAA"], "x5t": "x", "key_ops": ["verify"], "note": "n" * 9999}
    assert usable_keys(key_set(A, B)) == usable_keys(key_set(with_more, A, A))
    assert set(json.loads(usable_keys(key_set(with_more)))["keys"][0]) == {
        "alg", "crv", "kid", "kty", "use", "x", "y",
    }  # fmt: skip


@pytest.mark.parametrize(
    "other",
    [
        {"kty": "other"},
        {},
        {**A, "use": "enc", "kid": "other"},
        {**A, "use": "wit-svid", "kid": "other"},
        {**A, "key_ops": ["sign"], "kid": "other"},
        {**A, "alg": "HS256", "kid": "other"},
        {**A, "alg": "none", "kid": "other"},
        {**A, "x": "AA", "kid": "other"},
        {**A, "kid": 7},
        {**A, "kid": "o" * 257},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "other"},
        {"kty": "RSA", "n": "A" * 100_000, "e": "AQAB", "kid": "other"},
    ],
)
def test_a_key_that_cannot_verify_is_left_out(other):
    """RFC 7517, 5: what is not understood is passed over."""
    assert ids(key_set(other, B)) == ["b"]
    with pytest.raises(TokenError, match="no key that can verify"):
        usable_keys(key_set(other))


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_a_secret_refuses_the_whole_set_and_is_not_repeated(member):
    """Whoever read it can sign as that issuer."""
    with pytest.raises(TokenError, match="holds a secret") as refused:
        usable_keys(key_set(A, {**B, member: "hush"}))
    assert "hush" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": null}',
        b'{"keys": []}',
        b'{"keys": [1]}',
        b'{"keys": [[]]}',
        b'{"keys": [], "keys": []}',
        b'\xef\xbb\xbf{"keys": []}',
        b'{"keys": [NaN]}',
        b"\xff",
        b"[" * 1_000_000,
        b'{"keys": [{"kty": "oct", "k": "AA"}]}',
        key_set(*[A] * 101),
    ],
    ids=range(15),
)
def test_garbage_is_no_key_set(data):
    """One kind of exception, whatever it is."""
    with pytest.raises(TokenError):
        usable_keys(data)


def test_a_configuration_says_where_keys_are():
    """For the issuer that asks, to the letter."""
    data = json.dumps({"issuer": "https://a", "jwks_uri": "https://a/k"}).encode()
    assert keys_address(data, "https://a") == "https://a/k"
    for issuer in ("https://a/", "https://A", "", "a"):
        with pytest.raises(TokenError, match="another issuer"):
            keys_address(data, issuer)


@pytest.mark.parametrize(
    "data",
    [b"[]", b"7", b'{"issuer": "https://a"}', b'{"issuer": "https://a", "jwks_uri": 7}', b"<html>"],
)
def test_garbage_is_no_configuration(data):
    """One kind of exception, whatever it is."""
    with pytest.raises(TokenError):
        keys_address(data, "https://a")
