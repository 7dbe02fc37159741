"""JWT-SVIDs: the right ones name their bearer; hostile ones name nobody, whoever signed them."""

from __future__ import annotations

import pytest
from cheaply import cheaply, raised
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hostile_tokens import hostile
from hypothesis import example, given
from hypothesis import strategies as st
from tokens import CALLER, NOW, OWN, TokenWorld, signed

from meshware.errors import TokenError
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.jwk import JWT_SVID, WIT_SVID, public_jwk, sign
from meshware.identity.jwt_svid import mint_jwt_svid, verify_jwt_svid

WORLD = TokenWorld()
HEADER = {"alg": "ES256", "kid": "jwt", "typ": "JWT"}
CLAIMS = {"sub": str(CALLER), "aud": [OWN], "exp": NOW + 60, "iat": NOW}


def verify(token: str, bundles: Bundles = WORLD.bundles, now: float = NOW):
    return verify_jwt_svid(token, bundles, audience=OWN, now=now)


def test_what_is_minted_is_verified():
    """Until it ends, with a minute for clocks that differ."""
    token = mint_jwt_svid(WORLD.jwt_key, "jwt", CALLER, audience=OWN, now=NOW, jti="x")
    found = verify(token)
    assert (found.id, found.until) == (CALLER, NOW + 300)
    assert verify(token, now=NOW + 359).id == CALLER
    with pytest.raises(TokenError, match="expired"):
        verify(token, now=NOW + 360)
    with pytest.raises(TokenError, match="future"):
        verify(token, now=NOW - 61)


@pytest.mark.parametrize(
    "claims",
    [
        CLAIMS,
        {**CLAIMS, "aud": OWN},
        {**CLAIMS, "aud": ["other", OWN]},
        {**CLAIMS, "exp": NOW + 0.5},
        {**CLAIMS, "nbf": NOW + 60, "jti": "x", "iss": "https://spire", "x": {"y": [1, "\u2603"]}},
        {"sub": str(CALLER), "aud": OWN, "exp": NOW + 3600},
    ],
)
def test_right_tokens_of_other_makers_are_verified(claims):
    """SPIRE's, for one: what the standard does not forbid may stand in it."""
    assert verify(signed(WORLD.jwt_key, HEADER, claims)).id == CALLER


@pytest.mark.parametrize("header", [{"alg": "ES256"}, {"alg": "ES256", "typ": "JOSE"}])
def test_kid_and_typ_may_be_missing(header):
    """JWT-SVID 2.2, 2.3: then each key of the trust domain is tried."""
    assert verify(signed(WORLD.jwt_key, header, CLAIMS)).id == CALLER


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=["ES384", "ES512", "PS256"],
)
def test_keys_of_other_kinds_verify(key):
    """Each with the algorithms that it may have."""
    bundles = Bundles([Bundle("example.org", (), tokens=(public_jwk(key, kid="k", use=JWT_SVID),))])
    assert verify(sign(key, {"kid": "k"}, CLAIMS), bundles).id == CALLER


AUDIENCES = {
    "missing": {},
    "null": {"aud": None},
    "empty": {"aud": ""},
    "an empty list": {"aud": []},
    "another": {"aud": "spiffe://example.org/ns/shop/sa/other"},
    "ours and more letters": {"aud": OWN + "x"},
    "the beginning of ours": {"aud": OWN[:-1]},
    "the trust domain": {"aud": "spiffe://example.org"},
    "in another case": {"aud": OWN.upper()},
    "with a slash behind": {"aud": OWN + "/"},
    "a number beside ours": {"aud": [OWN, 1]},
    "a list within": {"aud": [[OWN]]},
    "an object": {"aud": {OWN: 1}},
    "an empty one beside ours": {"aud": [OWN, ""]},
    "a hundred": {"aud": [OWN] * 100},
    "a star": {"aud": "*"},
}
CASES = dict(hostile(WORLD.jwt_key, HEADER, CLAIMS))
for _name, _changed in AUDIENCES.items():
    _claims = {name: value for name, value in CLAIMS.items() if name != "aud"}
    CASES[f"aud {_name}"] = signed(WORLD.jwt_key, HEADER, {**_claims, **_changed})
CASES["an identity token"] = WORLD.wit()
CASES["signed by the key of identity tokens"] = signed(WORLD.wit_key, HEADER, CLAIMS)
CASES["signed by a partner"] = signed(WORLD.other_key, HEADER, CLAIMS)
CASES["signed by a workload"] = signed(WORLD.workload_key, HEADER, CLAIMS)


@pytest.mark.parametrize("token", CASES.values(), ids=CASES)
def test_a_hostile_token_is_refused_and_soon(token):
    """With the declared exception, within 50 ms of CPU, and nothing of it in the text."""
    caught = cheaply(lambda: raised(TokenError, lambda: verify(token)))
    assert not token[:40].strip() or token[:40] not in str(caught)


def test_there_are_more_than_120_hostile_tokens():
    """Of each kind of token; see `test_wimse` for the others."""
    assert len(CASES) > 120


@pytest.mark.parametrize(
    "changed",
    [
        {"use": "sig"},
        {"use": WIT_SVID},
        {"use": "x509-svid"},
        {"use": "enc"},
        {"kty": "oct", "k": "AAAA"},
        {"kty": "OKP"},
        {"crv": "P-384"},
        {"crv": "secp256k1"},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": "none"},
        {"x": "AAAA"},
        {"x": ""},
        {"y": "A" * 43},
        {"d": "AAAA"},
        {"key_ops": ["sign"]},
        {"kid": "other"},
    ],
    ids=str,
)
def test_a_key_that_may_not_verify_verifies_nothing(changed):
    """A bundle with such a key is passed over as if the key were not there."""
    jwk = {**public_jwk(WORLD.jwt_key, kid="jwt", use=JWT_SVID), **changed}
    with pytest.raises(TokenError, match="no key"):
        verify(
            signed(WORLD.jwt_key, HEADER, CLAIMS), Bundles([Bundle("example.org", (), (), (jwk,))])
        )


def test_weak_rsa_keys_verify_nothing():
    """1,024 bits, as PyJWT takes them with a warning."""
    key = rsa.generate_private_key(65537, 1024)
    jwk = public_jwk(key, kid="k", use=JWT_SVID)
    bundles = Bundles([Bundle("example.org", (), (), (jwk,))])
    with pytest.raises(TokenError, match="no key"):
        verify(sign(key, {"kid": "k"}, CLAIMS), bundles)


def test_without_keys_nothing_verifies():
    """Never a key that somebody ships: no keys, no identity."""
    token = signed(WORLD.jwt_key, HEADER, CLAIMS)
    for bundles in (Bundles(), Bundles([Bundle("example.org", ())])):
        with pytest.raises(TokenError):
            verify(token, bundles)


_right = signed(WORLD.jwt_key, HEADER, CLAIMS)
_bytes = st.binary(max_size=300).map(lambda data: data.decode("latin-1"))
_parts = st.lists(st.one_of(_bytes, st.sampled_from(_right.split("."))), max_size=4)


@given(st.one_of(st.text(max_size=300), _parts.map(".".join)))
@example("a.b.c")
def test_no_text_does_anything_else_than_be_read_or_refused(token):
    """No exception but the declared one."""
    try:
        assert verify(token).id == CALLER
    except TokenError:
        pass


_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(
    st.dictionaries(st.sampled_from([*HEADER, "crit", "x5c", "x"]), _json, max_size=5),
    st.dictionaries(st.sampled_from([*CLAIMS, "nbf", "jti", "cnf"]), _json, max_size=6),
)
def test_no_json_that_is_rightly_signed_does_either(header, claims):
    """A trust domain's own authority may go wrong too, or be a partner's."""
    token = signed(WORLD.jwt_key, {**HEADER, **header}, {**CLAIMS, **claims})
    try:
        assert verify(token).id == CALLER
    except TokenError:
        pass
