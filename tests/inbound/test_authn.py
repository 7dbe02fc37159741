"""End users' tokens: who is behind a call, and what the answer is when nobody can be believed."""

from __future__ import annotations

import pytest
from inbound_world import policy, request, status_of, to
from user_world import (
    GOOD,
    HEADER,
    ISSUER,
    NOW,
    OTHER,
    URI,
    admitted,
    answer,
    bearer,
    jwk,
    jwks,
    refused,
    rule,
    token,
    user_mesh,
)

from meshware.inbound.passage import Admission, Denial


def test_a_good_token_says_who_is_behind_a_call():
    """In the call, for rules, and in the event; the token itself is taken away."""
    mesh = user_mesh(rule())
    passage = admitted(mesh, bearer(token(azp="app", scope="read write")))
    assert passage.request_principal == f"{ISSUER}/alice"
    assert passage.call.principal == f"{ISSUER}/alice"
    assert passage.call.claims["scope"] == "read write"
    assert "authorization" in passage.remove
    passage.finish(200)
    assert mesh.events[0].request_principal == f"{ISSUER}/alice"


def test_a_call_without_a_token_is_nobodys_and_passes():
    """Whether it has to be somebody's is for the authorization rules."""
    passage = admitted(user_mesh(rule()), ("authorization", "Basic YTpi"))
    assert passage.call.principal is None
    assert not passage.call.claims
    assert "authorization" not in passage.remove


@pytest.mark.parametrize("name", ["ec", "p384", "p521", "rsa", "ed"])
def test_each_kind_of_key_verifies(name):
    """An elliptic curve fixes the algorithm."""
    assert admitted(user_mesh(rule(jwks=jwks(name))), bearer(token(name)))


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"])
def test_an_rsa_key_takes_its_family_unless_it_names_one(algorithm):
    """`alg` in the key set is the only one then."""
    made = token("rsa", algorithm=algorithm)
    assert admitted(user_mesh(rule(jwks=jwks("rsa"))), bearer(made))
    named = user_mesh(rule(jwks=jwks(jwk("rsa", alg="PS384"))))
    assert status_of(named, request(headers=[bearer(made)])) == (
        200 if algorithm == "PS384" else 401
    )


MALFORMED = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
KID = "Jwks doesn't have key to match kid or alg from Jwt"
AUDIENCE = "Audiences in Jwt are not allowed"

REFUSALS = {
    "two parts": ("a.b", 401, MALFORMED),
    "four parts": (token() + ".x", 401, MALFORMED),
    "no token behind the prefix": (" ", None, None),
    "17 KiB": (token(x="y" * 17_000), 401, MALFORMED),
    "header no base64": ("?.e30.x", 401, "Jwt header is an invalid Base64url encoded"),
    "header no JSON": (token(header="x"), 401, "Jwt header is an invalid JSON"),
    "no alg": (
        token(header={}),
        401,
        "Jwt header [alg] field is required and must be a string",
    ),
    "alg none": (token(header={"alg": "none"}), 401, "Jwt header [alg] is not supported"),
    "alg HS256": (token(header={"alg": "HS256"}), 401, "Jwt header [alg] is not supported"),
    "kid a number": (
        token(header={"alg": "ES256", "kid": 1}),
        401,
        "Jwt header [kid] field is not a string",
    ),
    "claims no base64": (
        f"{token().split('.')[0]}.?.x",
        401,
        "Jwt payload is an invalid Base64url encoded",
    ),
    "claims no JSON": (token(claims="{"), 401, "Jwt payload is an invalid JSON"),
    "signature no base64": (
        token().rsplit(".", 1)[0] + ".?",
        401,
        "Jwt signature is an invalid Base64url encoded",
    ),
    "iss a number": (token(iss=7), 401, "Jwt payload [iss] field is not a string"),
    "sub a list": (token(sub=["alice"]), 401, "Jwt payload [sub] field is not a string"),
    "jti a number": (token(jti=7), 401, "Jwt payload [jti] field is not a string"),
    "exp a text": (token(exp="1"), 401, "Jwt payload [exp] field is not an integer"),
    "exp true": (token(exp=True), 401, "Jwt payload [exp] field is not an integer"),
    "iat a text": (token(iat="1"), 401, "Jwt payload [iat] field is not an integer"),
    "nbf negative": (
        token(nbf=-1),
        401,
        "Jwt payload [nbf] field is not a positive 64 bit integer",
    ),
    "aud a number": (
        token(aud=7),
        401,
        "Jwt payload [aud] field is not a string or string list",
    ),
    "aud with a number": (
        token(aud=["us", 7]),
        401,
        "Jwt payload [aud] field is not a string or string list",
    ),
    "another issuer": (token(iss=OTHER), 401, "Jwt issuer is not configured"),
    "an issuer's prefix": (token(iss=ISSUER[:-1]), 401, "Jwt issuer is not configured"),
    "no issuer": (token(iss=None), 401, "Jwt issuer is not configured"),
    "expired": (token(exp=NOW - 60), 401, "Jwt is expired"),
    "not yet": (token(nbf=NOW + 61), 401, "Jwt not yet valid"),
    "no exp": (token(exp=None), 401, "Jwt verification fails"),
    "another audience": (token(aud="them"), 403, AUDIENCE),
    "part of an audience": (token(aud="https://us"), 403, AUDIENCE),
    "audiences in one text": (token(aud="us them"), 403, AUDIENCE),
    "no audience": (token(aud=None), 403, AUDIENCE),
    "an unknown kid": (token(header={"alg": "ES256", "kid": "new"}, aud="us"), 401, KID),
    "another algorithm": (token("rsa", header={"alg": "RS256", "kid": "ec"}, aud="us"), 401, KID),
    "another's key": (token("mallory", header=HEADER, aud="us"), 401, "Jwt verification fails"),
    "expired, of another issuer": (
        token(iss=OTHER, exp=1),
        401,
        "Jwt issuer is not configured",
    ),
    "expired, for others": (token(exp=1, aud="them"), 401, "Jwt is expired"),
    "for others, badly signed": (token("mallory", header=HEADER, aud="them"), 403, AUDIENCE),
}


@pytest.mark.parametrize(("text", "status", "body"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_envoys(text, status, body):
    """Status, body and challenge, and the order of the questions."""
    mesh = user_mesh(rule(audiences=["us"]))
    passage = answer(mesh, bearer(text), target="/a/b?c=d", host="shop.com:81")
    if status is None:
        assert isinstance(passage, Admission)
        return
    assert isinstance(passage, Denial)
    assert (passage.status, passage.body) == (status, body)
    assert dict(passage.headers) == {
        "content-type": "text/plain",
        "www-authenticate": 'Bearer realm="http://shop.com:81/a/b", error="invalid_token"',
    }
    assert passage.reason == f"jwt_authn_access_denied{{{body.replace(' ', '_')}}}"


def test_the_leeway_is_a_minute():
    """Of clocks, at both ends."""
    mesh = user_mesh(rule())
    assert admitted(mesh, bearer(token(exp=NOW - 59, nbf=NOW + 60)))


def test_the_answer_quotes_no_path_that_ends_the_quotation():
    """Whatever a caller writes; and 256 characters of it at the most."""
    passage = answer(user_mesh(rule()), bearer("x"), target='/"\\é' + "a" * 400, paths=('/"\\é',))
    realm = dict(passage.headers)["www-authenticate"]
    assert realm.startswith('Bearer realm="http://app/%22/%E9aaa')
    assert realm.count('"') == 4
    assert realm.isascii()
    assert len(realm) < 320


@pytest.mark.parametrize("aud", ["us", ["us"], ["them", "us"]])
def test_one_of_the_audiences_will_do(aud):
    """A text or a list; without `audiences` in the rule any."""
    assert admitted(user_mesh(rule(audiences=["we", "us"])), bearer(token(aud=aud)))
    assert admitted(user_mesh(rule()), bearer(token(aud=aud)))


def test_a_rule_without_issuer_takes_any():
    """Its keys alone say whose tokens are good; its tokens need not even name one."""
    mesh = user_mesh(rule(issuer=None, jwksUri=URI, jwks=None))
    assert refused(mesh, bearer(token())) == (401, "Jwks remote fetch is failed")


@pytest.mark.parametrize("missing", ["iss", "sub"])
def test_without_issuer_or_subject_there_is_no_principal(missing):
    """`iss/sub` needs both; claims are there all the same."""
    made = token(**{missing: None})
    mesh = user_mesh(rule(issuer=ISSUER))
    if missing == "iss":
        assert refused(mesh, bearer(made))[0] == 401
    else:
        assert admitted(mesh, bearer(made)).call.principal is None
        assert admitted(mesh, bearer(made)).call.claims["iss"] == ISSUER


def test_a_browsers_question_about_origins_bypasses_tokens_and_nothing_else():
    """It bears none of its own accord; rules decide it all the same."""
    headers = [("origin", "https://a"), ("access-control-request-method", "GET"), bearer("x")]
    assert admitted(user_mesh(rule()), *headers, method="OPTIONS").call.principal is None
    for left_out in range(2):
        some = [header for index, header in enumerate(headers) if index != left_out]
        assert refused(user_mesh(rule()), *some, method="OPTIONS")[0] == 401
    assert refused(user_mesh(rule()), *headers)[0] == 401
    denying = user_mesh(rule(), also=(policy("DENY", to(methods=["OPTIONS"])),))
    assert refused(denying, *headers, method="OPTIONS")[0] == 403


def test_tokens_come_before_the_rules_and_after_the_form():
    """401 where rules would deny as well; 400 where the request could mean two things."""
    mesh = user_mesh(rule(), also=(policy("DENY", {}),))
    assert refused(mesh, bearer("x"))[0] == 401
    assert refused(mesh, bearer("x"), target="/%00")[0] == 400
    assert refused(mesh, bearer(GOOD))[0] == 403


def test_a_call_that_rules_deny_tells_whose_it_was():
    """For the log and for `explain`."""
    mesh = user_mesh(rule(), also=(policy("DENY", {}),))
    passage = answer(mesh, bearer(GOOD))
    assert isinstance(passage, Denial)
    assert passage.request_principal == f"{ISSUER}/alice"
