"""Identity and proof tokens: together they tell who makes this very call, and no other."""

from __future__ import annotations

import json

import pytest
from cheaply import cheaply, raised
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hostile_tokens import hostile
from hypothesis import given
from hypothesis import strategies as st
from tokens import CALLER, NOW, OWN, TokenWorld, encoded, signed

from meshware.errors import TokenError
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import new_key
from meshware.identity.jwk import WIT_SVID, public_jwk
from meshware.identity.spiffe import SpiffeID
from meshware.identity.wimse import (
    KnownWorkloads,
    Received,
    mint_proof,
    mint_wit,
    verify_proof,
    verify_wit,
)

WORLD = TokenWorld()
WIT = WORLD.wit()
PROOF = WORLD.proof(WIT)
HERE = Received(method="GET", target="/a?b=1", path="/a", query="b=1")


def verify(wit: str = WIT, proof: str = PROOF, request: Received = HERE, now: float = NOW, **more):
    return verify_proof(
        wit,
        proof,
        more.pop("bundles", WORLD.bundles),
        audience=OWN,
        request=request,
        now=now,
        **more,
    )


def claims_of(token: str) -> dict:
    from base64 import urlsafe_b64decode

    part = token.split(".")[1]
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


PROOF_CLAIMS = claims_of(PROOF)


def proof_with(**changed) -> str:
    """A proof of these claims, rightly signed; None: it is not there."""
    claims = {n: v for n, v in {**PROOF_CLAIMS, **changed}.items() if v is not None}
    return signed(WORLD.workload_key, {"alg": "ES256", "typ": "wpt+jwt"}, claims)


def test_what_is_minted_is_verified():
    """The caller is known until the first of the two ends."""
    found = verify()
    assert (found.caller.id, found.caller.until, found.jti) == (CALLER, NOW + 30, "p")
    assert found.until == NOW + 40
    late = NOW + 3600 + 15  # of the identity token's own end: its leeway is longer
    assert verify(proof=WORLD.proof(WIT, now=late), now=late).caller.until == NOW + 3600


def test_clocks_may_be_40_seconds_apart():
    """Whichever is ahead; no more, for so long must a proof be remembered."""
    assert verify(now=NOW + 39).caller.id == CALLER
    assert verify(now=NOW - 40).caller.id == CALLER
    for now in (NOW + 40, NOW - 41):
        with pytest.raises(TokenError):
            verify(now=now)


def test_the_tokens_are_as_the_drafts_say():
    """Header and claims; no audience in the identity token, no private key anywhere."""
    header = json.loads(_part(WIT, 0))
    assert header == {"kid": "wit", "typ": "wit+jwt", "alg": "ES256"}
    claims = claims_of(WIT)
    assert set(claims) == {"iss", "sub", "iat", "nbf", "exp", "jti", "cnf"}
    assert set(claims["cnf"]["jwk"]) == {"kty", "crv", "x", "y", "alg"}
    assert json.loads(_part(PROOF, 0)) == {"typ": "wpt+jwt", "alg": "ES256"}
    assert set(PROOF_CLAIMS) == {"aud", "exp", "jti", "wth", "htm", "tgt"}


def _part(token: str, number: int) -> bytes:
    from base64 import urlsafe_b64decode

    part = token.split(".")[number]
    return urlsafe_b64decode(part + "=" * (-len(part) % 4))


OTHER_KEY = new_key()
OTHER_WIT = mint_wit(WORLD.wit_key, "wit", CALLER, OTHER_KEY, now=NOW, jti="o")
BOUND = {
    "another method": {"proof": WORLD.proof(WIT, method="POST")},
    "the method in another case": {"proof": WORLD.proof(WIT, method="get")},
    "another path": {"proof": WORLD.proof(WIT, target="/b?b=1")},
    "another query": {"proof": WORLD.proof(WIT, target="/a?b=2")},
    "no query": {"proof": WORLD.proof(WIT, target="/a")},
    "a longer query": {"proof": WORLD.proof(WIT, target="/a?b=1&c=2")},
    "the same path, spelled otherwise": {"proof": WORLD.proof(WIT, target="/%61?b=1")},
    "the path with dots": {"proof": WORLD.proof(WIT, target="/x/../a?b=1")},
    "a host in the target": {"proof": WORLD.proof(WIT, target="http://orders/a?b=1")},
    "another audience": {"proof": WORLD.proof(WIT, audience=OWN + "x")},
    "the trust domain for audience": {"proof": WORLD.proof(WIT, audience="spiffe://example.org")},
    "two audiences": {"proof": proof_with(aud=[OWN, "spiffe://example.org/ns/a/sa/b"])},
    "no audience": {"proof": proof_with(aud=None)},
    "an object for audience": {"proof": proof_with(aud={OWN: 1})},
    "another key": {"proof": WORLD.proof(WIT, key=OTHER_KEY)},
    "the authority's key": {"proof": WORLD.proof(WIT, key=WORLD.wit_key)},
    "another identity token": {"proof": WORLD.proof(OTHER_WIT)},
    "another identity token of its own key": {"wit": OTHER_WIT},
    "the identity token for proof": {"proof": WIT},
    "the proof for identity token": {"wit": PROOF},
    "nothing for proof": {"proof": ""},
    "nothing for identity token": {"wit": ""},
    "no wth": {"proof": proof_with(wth=None)},
    "wth of nothing": {"proof": proof_with(wth="")},
    "wth a list": {"proof": proof_with(wth=[PROOF_CLAIMS["wth"]])},
    "wth of other letters": {"proof": proof_with(wth=PROOF_CLAIMS["wth"].swapcase())},
    "no htm": {"proof": proof_with(htm=None)},
    "htm a list": {"proof": proof_with(htm=["GET"])},
    "no tgt": {"proof": proof_with(tgt=None)},
    "tgt empty": {"proof": proof_with(tgt="")},
    "tgt a number": {"proof": proof_with(tgt=1)},
    "tgt of 9 KiB": {"proof": proof_with(tgt="/a?" + "b" * 9000)},
    "no jti": {"proof": proof_with(jti=None)},
    "jti empty": {"proof": proof_with(jti="")},
    "jti a number": {"proof": proof_with(jti=1)},
    "jti of 1 KiB": {"proof": proof_with(jti="x" * 1024)},
    "a bound transaction token": {"proof": proof_with(tth="x")},
    "another bound token": {"proof": proof_with(oth={"authorization": "x"})},
    "a life of an hour": {"proof": WORLD.proof(WIT, life_s=3600)},
}
_identity = {"alg": "ES256", "kid": "wit", "typ": "wit+jwt"}
for _name, _token in hostile(WORLD.wit_key, _identity, WORLD.wit_claims()):
    BOUND[f"identity: {_name}"] = {"wit": _token, "proof": WORLD.proof(_token)}
for _name, _token in hostile(
    WORLD.workload_key, {"alg": "ES256", "kid": "w", "typ": "wpt+jwt"}, PROOF_CLAIMS
):
    if _name not in ("kid of nobody", "kid a path", "kid SQL"):  # a proof's kid names nothing
        BOUND[f"proof: {_name}"] = {"proof": _token}
_jwk = public_jwk(WORLD.workload_key)
for _name, _cnf in {
    "missing": None,
    "a text": "x",
    "empty": {},
    "a list": [_jwk],
    "only a kid": {"kid": "x"},
    "a URL of keys": {"jku": "http://attacker.example/", "jwk": _jwk},
    "a thumbprint alone": {"x5t#S256": "x"},
    "jwk a text": {"jwk": json.dumps(_jwk)},
    "jwk null": {"jwk": None},
    "jwk without alg": {"jwk": {n: v for n, v in _jwk.items() if n != "alg"}},
    "alg none": {"jwk": {**_jwk, "alg": "none"}},
    "alg HS256": {"jwk": {**_jwk, "alg": "HS256"}},
    "alg of another curve": {"jwk": {**_jwk, "alg": "ES384"}},
    "alg a list": {"jwk": {**_jwk, "alg": ["ES256"]}},
    "a secret": {"jwk": {"kty": "oct", "k": "AAAA", "alg": "HS256"}},
    "a private key": {"jwk": {**_jwk, "d": "AAAA"}},
    "a point off the curve": {"jwk": {**_jwk, "y": encoded(bytes(31) + b"\x01")}},
    "the point at infinity": {"jwk": {**_jwk, "x": encoded(bytes(32)), "y": encoded(bytes(32))}},
    "a short coordinate": {"jwk": {**_jwk, "x": encoded(bytes(31))}},
    "a number for a coordinate": {"jwk": {**_jwk, "x": 1}},
    "for encryption": {"jwk": {**_jwk, "use": "enc"}},
    "weak RSA": {"jwk": public_jwk(rsa.generate_private_key(65537, 1024))},
    "an RSA exponent without end": {
        "jwk": {"kty": "RSA", "n": "_" * 342, "e": "_" * 3000, "alg": "RS256"}
    },
    "an RSA modulus of 64 Kibit": {
        "jwk": {"kty": "RSA", "n": "_" * 10922, "e": "AQAB", "alg": "RS256"}
    },
    "an even RSA modulus": {
        "jwk": {"kty": "RSA", "n": encoded(b"\xff" * 255 + b"\xfe"), "e": "AQAB", "alg": "RS256"}
    },
}.items():
    _token = signed(WORLD.wit_key, _identity, WORLD.wit_claims(cnf=_cnf))
    BOUND[f"cnf: {_name}"] = {"wit": _token, "proof": WORLD.proof(_token)}
for _name, _key, _head in (
    ("by the key of JWT-SVIDs", WORLD.jwt_key, {**_identity, "kid": "jwt"}),
    ("by a partner's key", WORLD.other_key, _identity),
    ("by the workload itself", WORLD.workload_key, _identity),
    ("without kid", WORLD.wit_key, {"alg": "ES256", "typ": "wit+jwt"}),
):
    _token = signed(_key, _head, WORLD.wit_claims())
    BOUND[f"identity: {_name}"] = {"wit": _token, "proof": WORLD.proof(_token)}
_token = signed(WORLD.wit_key, _identity, WORLD.wit_claims(aud=OWN))
BOUND["identity: with an audience"] = {"wit": _token, "proof": WORLD.proof(_token)}


@pytest.mark.parametrize("given_", BOUND.values(), ids=BOUND)
def test_a_call_that_is_not_the_one_signed_for_has_no_caller(given_):
    """With the declared exception, within 50 ms of CPU, and nothing of the tokens in the text."""
    caught = cheaply(lambda: raised(TokenError, lambda: verify(**given_)))
    assert not any(part and part in str(caught) for part in WIT.split("."))


def test_there_are_more_than_240_of_them():
    """120 for each kind of token."""
    assert len(BOUND) > 240


TARGETS = [
    # sent, the server's target, path and query
    ("/a?b=1", "/a?b=1", "/a", "b=1"),
    ("/a?b=1", "/a", "/a", "b=1"),  # ASGI: raw_path is without the query
    ("/a?b=1", None, "/a", "b=1"),  # waitress
    ("/a", "/a", "/a", ""),
    ("/a?", "/a?", "/a", ""),
    ("/%C3%A9%2F", None, "/\u00e9/", ""),
    ("/%FF", None, "/\udcff", ""),
    ("/a?b=%20", None, "/a", "b=%20"),
    ("/a?b?c", "/a?b?c", "/a", None),
    ("/a#x", "/a", "/a", ""),
]


@pytest.mark.parametrize(("sent", "target", "path", "query"), TARGETS)
def test_the_target_is_compared_as_far_as_a_server_tells_it(sent, target, path, query):
    """Some servers give the raw target, some a part, some only the decoded path."""
    request = Received(method="GET", target=target, path=path, query=query)
    assert verify(proof=WORLD.proof(WIT, target=sent), request=request).caller.id == CALLER


@pytest.mark.parametrize(
    ("sent", "target", "path", "query"),
    [
        ("/a?b=1", None, "/a", ""),
        ("/a", None, "/a", "b=1"),
        ("/a", None, "/b", ""),
        ("/a%2Fb", "/a/b", "/a/b", ""),
        ("/a?b=1", "/a", "/a", None),
        ("//a", None, "/a", ""),
    ],
)
def test_what_a_server_tells_and_was_not_signed_is_another_target(sent, target, path, query):
    """A proxy in between that rewrites paths is one as well."""
    request = Received(method="GET", target=target, path=path, query=query)
    with pytest.raises(TokenError, match="another target"):
        verify(proof=WORLD.proof(WIT, target=sent), request=request)


@pytest.mark.parametrize(
    "key",
    [ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)],
    ids=["ES384", "PS256"],
)
def test_a_workload_may_have_a_key_of_another_kind(key):
    """The algorithm of the proof is the one that `cnf` names."""
    wit = mint_wit(WORLD.wit_key, "wit", CALLER, key, now=NOW, jti="x")
    proof = mint_proof(wit, key, audience=OWN, method="GET", target="/a?b=1", now=NOW, jti="x")
    assert verify(wit, proof).caller.id == CALLER


def test_a_partner_speaks_for_its_own_workloads():
    """One bundle for each trust domain, never merged."""
    theirs = SpiffeID.parse("spiffe://partner.net/ns/a/sa/b")
    wit = mint_wit(WORLD.other_key, "wit", theirs, OTHER_KEY, now=NOW, jti="x")
    assert verify(wit, WORLD.proof(wit, key=OTHER_KEY)).caller.id == theirs
    wit = mint_wit(WORLD.other_key, "wit", CALLER, OTHER_KEY, now=NOW, jti="x")
    with pytest.raises(TokenError, match="no key of its trust domain"):
        verify(wit, WORLD.proof(wit, key=OTHER_KEY))


def test_identity_tokens_that_were_verified_end_with_themselves_and_with_their_key():
    """Remembering one must not keep it alive."""
    known = KnownWorkloads(most=2)
    assert verify(known=known).caller.id == CALLER
    assert verify(known=known).caller.id == CALLER
    late = NOW + 3660
    with pytest.raises(TokenError, match="expired"):
        verify(proof=WORLD.proof(WIT, now=late), now=late, known=known)
    fresh = Bundles(
        [Bundle("example.org", (), (), (public_jwk(new_key(), kid="wit", use=WIT_SVID),))]
    )
    with pytest.raises(TokenError, match="no key"):
        verify(bundles=fresh, known=known)
    for number in range(5):  # more than it remembers
        wit = mint_wit(WORLD.wit_key, "wit", CALLER, OTHER_KEY, now=NOW, jti=str(number))
        assert verify(wit, WORLD.proof(wit, key=OTHER_KEY), known=known).caller.id == CALLER
    assert verify(known=known).caller.id == CALLER


def test_what_is_known_proves_nothing_alone():
    """A copy of the identity token with a proof by another key stays refused."""
    known = KnownWorkloads()
    verify(known=known)
    with pytest.raises(TokenError, match="another key"):
        verify(proof=WORLD.proof(WIT, key=OTHER_KEY), known=known)


@given(st.text(max_size=200), st.text(max_size=200))
def test_no_texts_do_anything_else_than_be_refused(wit, proof):
    """No exception but the declared one."""
    known = KnownWorkloads()
    for pair in ((wit, proof), (WIT, proof), (wit, PROOF)):
        with pytest.raises(TokenError):
            verify(*pair, known=known)


@given(st.text(max_size=40), st.text(max_size=40), st.one_of(st.none(), st.text(max_size=20)))
def test_no_request_does_either(path, method, query):
    """Whatever a server makes of what it got."""
    for target in (None, path):
        try:
            verify(request=Received(method=method, target=target, path=path, query=query))
        except TokenError:
            pass


def test_an_identity_token_names_a_key_and_no_caller():
    """`verify_wit` gives a type of its own, which nobody takes for a caller."""
    assert verify_wit(WIT, WORLD.bundles, NOW).id == CALLER
    assert not hasattr(verify_wit(WIT, WORLD.bundles, NOW), "caller")
