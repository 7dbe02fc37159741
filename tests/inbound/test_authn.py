"""End users' tokens: who is behind a call, and what the answer is when nobody can be believed."""

from __future__ import annotations

import json

import pytest
from inbound_world import policy, request, status_of, to
from user_world import (
    CLAIMS,
    ISSUER,
    NOW,
    OTHER,
    authentication,
    bearer,
    jwk,
    jwks,
    rule,
    token,
    user_mesh,
)

from meshware.inbound.passage import Admission, Denial

URI = "https://issuer.example/keys"


def answer(mesh, *headers, target="/", **more):
    """What the gate makes of a request with these headers."""
    return mesh.gate.admit(request(target, headers=headers, **more))


def admitted(mesh, *headers, **more) -> Admission:
    passage = answer(mesh, *headers, **more)
    assert isinstance(passage, Admission), passage
    return passage


def refused(mesh, *headers, **more) -> tuple[int, str]:
    passage = answer(mesh, *headers, **more)
    assert isinstance(passage, Denial), passage
    return passage.status, passage.body


# --- one token ------------------------------------------------------------------------------------


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
HEADER = {"alg": "ES256", "kid": "ec"}

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


# --- keys -----------------------------------------------------------------------------------------


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


# --- where tokens stand ---------------------------------------------------------------------------

GOOD, BOB = token(), token(sub="bob")
PLACES = rule(
    fromHeaders=[{"name": "X-Token", "prefix": "Value "}, {"name": "x-plain"}],
    fromParams=["token", "second"],
    fromCookies=["session"],
)
PLAIN = rule()

FOUND = {
    "authorization": (PLAIN, [bearer(GOOD)], "/", "alice"),
    "the default parameter": (PLAIN, [], f"/?access_token={GOOD}", "alice"),
    "a parameter with an encoded name": (PLAIN, [], f"/?a=b&access%5Ftoken={GOOD}", "alice"),
    "a parameter with an encoded dot": (
        PLAIN,
        [],
        "/?access_token=" + GOOD.replace(".", "%2E"),
        "alice",
    ),
    "a parameter in another case": (PLAIN, [], f"/?Access_Token={GOOD}", None),
    "a parameter that is empty": (PLAIN, [], "/?access_token=", 401),
    "a parameter twice": (PLAIN, [], f"/?access_token={GOOD}&access_token={GOOD}", 401),
    "a parameter twice, once encoded": (
        PLAIN,
        [],
        f"/?access_token={GOOD}&access%5ftoken={GOOD}",
        401,
    ),
    "no defaults beside others": (PLACES, [bearer(GOOD)], f"/?access_token={GOOD}", None),
    "a header with a prefix": (PLACES, [("x-token", f"Value {GOOD}")], "/", "alice"),
    "another prefix": (PLACES, [("x-token", f"Other {GOOD}")], "/", None),
    "no prefix": (PLACES, [("x-token", GOOD)], "/", None),
    "a header without a prefix": (PLACES, [("x-plain", f"  {GOOD}\t")], "/", "alice"),
    "an empty header": (PLACES, [("x-plain", "")], "/", 401),
    "a parameter": (PLACES, [], f"/?token={GOOD}", "alice"),
    "a cookie": (PLACES, [("cookie", f"a=b; session={GOOD}; c=d")], "/", "alice"),
    "a quoted cookie": (PLACES, [("cookie", f'session="{GOOD}"')], "/", "alice"),
    "a cookie in a line of its own": (
        PLACES,
        [("cookie", "a=b"), ("cookie", f"session={GOOD}")],
        "/",
        "alice",
    ),
    "a cookie twice": (PLACES, [("cookie", f"session={GOOD}; session={GOOD}")], "/", 401),
    "a cookie twice in two lines": (
        PLACES,
        [("cookie", f"session={GOOD}"), ("cookie", f"session={GOOD}")],
        "/",
        401,
    ),
    "a cookie behind a comma": (PLACES, [("cookie", f"a=b,session={GOOD}")], "/", 401),
    "another cookie with a comma": (
        PLACES,
        [("cookie", f"a=b,c; session={GOOD}")],
        "/",
        "alice",
    ),
    "two lines": (PLAIN, [bearer(GOOD), bearer(GOOD)], "/", 401),
    "two lines, one of another scheme": (
        PLAIN,
        [("authorization", "Basic YTpi"), bearer(GOOD)],
        "/",
        401,
    ),
    "two lines as WSGI joins them": (
        PLAIN,
        [("authorization", f"Basic YTpi,Bearer {GOOD}")],
        "/",
        401,
    ),
    "two tokens as WSGI joins them": (
        PLAIN,
        [("authorization", f"Bearer {GOOD}, Bearer {GOOD}")],
        "/",
        401,
    ),
    "a comma behind the token": (PLAIN, [("authorization", f"Bearer {GOOD},")], "/", 401),
    "two lines of another scheme": (
        PLAIN,
        [("authorization", "Basic YTpi"), ("authorization", "Basic YTpi")],
        "/",
        None,
    ),
    "the scheme in lower case": (PLAIN, [("authorization", f"bearer {GOOD}")], "/", 401),
    "the scheme in capitals": (PLAIN, [("authorization", f"BEARER {GOOD}")], "/", 401),
    "a tab behind the scheme": (PLAIN, [("authorization", f"Bearer\t{GOOD}")], "/", 401),
    "a blank of Unicode before the scheme": (
        PLAIN,
        [("authorization", f"\xa0bearer {GOOD}")],
        "/",
        401,
    ),
    "two blanks behind the scheme": (PLAIN, [("authorization", f"Bearer  {GOOD}")], "/", 401),
    "the scheme further behind": (PLAIN, [("authorization", f"Basic Bearer {GOOD}")], "/", 401),
    "the scheme alone": (PLAIN, [("authorization", "Bearer")], "/", None),
    "a word that begins like the scheme": (PLAIN, [("authorization", "Bearers x")], "/", None),
}


@pytest.mark.parametrize(("one", "headers", "target", "expected"), FOUND.values(), ids=FOUND)
def test_a_token_is_found_where_policy_says(one, headers, target, expected):
    """A name: the token is good; a status: it is refused; None: there is none."""
    passage = answer(user_mesh(one), *headers, target=target)
    if isinstance(expected, int):
        assert isinstance(passage, Denial)
        assert passage.status == expected
    else:
        assert isinstance(passage, Admission), passage.reason
        assert passage.call.claims.get("sub") == expected


def test_the_query_that_the_app_sees_counts():
    """Servers hand it over apart from the path."""
    head = request("/")
    head.query = f"access_token={GOOD}"
    passage = user_mesh(rule()).gate.admit(head)
    assert isinstance(passage, Admission)
    assert passage.request_principal == f"{ISSUER}/alice"


# --- several rules and tokens ---------------------------------------------------------------------

OTHERS = rule(issuer=OTHER, jwks=jwks("other"))
THEIRS = token("other", iss=OTHER, sub="carol")
AT_X = {"fromHeaders": [{"name": "x-a"}]}
AT_Y = {"fromHeaders": [{"name": "x-b"}]}

SEVERAL = {
    "the second rule's token": ([PLAIN, OTHERS], [bearer(THEIRS)], "/", "carol"),
    "an unknown issuer": ([PLAIN, OTHERS], [bearer(token(iss="x"))], "/", 401),
    "two good tokens of one issuer": ([PLAIN], [bearer(GOOD)], f"/?access_token={BOB}", "alice"),
    "a good and a bad one": ([PLAIN], [bearer(GOOD)], "/?access_token=x", 401),
    "a bad and a good one": ([PLAIN], [bearer("x")], f"/?access_token={GOOD}", 401),
    "two issuers at shared places": (
        [PLAIN, OTHERS],
        [bearer(GOOD)],
        f"/?access_token={THEIRS}",
        401,
    ),
    "two issuers at places of their own": (
        [{**PLAIN, **AT_X}, {**OTHERS, **AT_Y}],
        [("x-b", THEIRS), ("x-a", GOOD)],
        "/",
        "alice",
    ),
    "a bad one at a place of the other rule": (
        [{**PLAIN, **AT_X}, {**OTHERS, **AT_Y}],
        [("x-b", "x"), ("x-a", GOOD)],
        "/",
        401,
    ),
    "the other's token at a place of the one": (
        [{**PLAIN, **AT_X}, {**OTHERS, **AT_Y}],
        [("x-a", THEIRS)],
        "/",
        401,
    ),
    "a bad one where nobody looks": (
        [{**PLAIN, **AT_X}],
        [bearer("x"), ("x-a", GOOD)],
        "/",
        "alice",
    ),
    "one issuer for two audiences, the first": (
        [rule(audiences=["us"]), rule(audiences=["them"])],
        [bearer(token(aud="us"))],
        "/",
        "alice",
    ),
    "one issuer for two audiences, the second": (
        [rule(audiences=["us"]), rule(audiences=["them"])],
        [bearer(token(aud="them"))],
        "/",
        "alice",
    ),
    "one issuer for two audiences, neither": (
        [rule(audiences=["us"]), rule(audiences=["them"])],
        [bearer(token(aud="x"))],
        "/",
        403,
    ),
    "the second issuer for another audience": (
        [PLAIN, {**OTHERS, "audiences": ["us"]}],
        [bearer(token("other", iss=OTHER, aud="them"))],
        "/",
        403,
    ),
    "headers come before parameters and cookies": (
        [PLACES],
        [("cookie", f"session={BOB}"), ("x-plain", GOOD)],
        f"/?token={BOB}",
        "alice",
    ),
    "headers by their names": (
        [rule(fromHeaders=[{"name": "x-b"}, {"name": "x-a"}])],
        [("x-b", BOB), ("x-a", GOOD)],
        "/",
        "alice",
    ),
}


@pytest.mark.parametrize(("rules", "headers", "target", "expected"), SEVERAL.values(), ids=SEVERAL)
def test_several_rules_and_tokens(rules, headers, target, expected):
    """Every token must be good, and one rule must believe all of its own; it says who it is."""
    for order in (rules, rules[::-1]):
        passage = answer(user_mesh(*order), *headers, target=target)
        if isinstance(expected, int):
            assert isinstance(passage, Denial)
            assert passage.status == expected
        else:
            assert isinstance(passage, Admission), passage.reason
            assert passage.call.claims["sub"] == expected


def test_rules_of_several_policies_count_together():
    """Of the mesh, the namespace and the workload, as in Istio."""
    elsewhere = authentication(OTHERS, name="mesh", namespace="istio-system")
    mesh = user_mesh(PLAIN, also=(elsewhere,))
    assert admitted(mesh, bearer(GOOD)).call.claims["sub"] == "alice"
    assert admitted(mesh, bearer(THEIRS)).call.claims["sub"] == "carol"


def test_a_policy_for_other_workloads_says_nothing_here():
    """By its selector, or its namespace."""
    selecting = authentication(PLAIN, selector={"matchLabels": {"app": "other"}})
    for one in (selecting, authentication(PLAIN, namespace="other")):
        mesh = user_mesh(OTHERS, also=({**one, "metadata": {**one["metadata"], "name": "b"}},))
        assert refused(mesh, bearer(GOOD))[1] == "Jwt issuer is not configured"


# --- what the app gets ----------------------------------------------------------------------------


def test_the_token_is_taken_away_unless_it_is_forwarded():
    """Out of headers; in the query and in cookies it stays."""
    assert "x-plain" in admitted(user_mesh(PLACES), ("x-plain", GOOD)).remove
    kept = user_mesh({**PLACES, "forwardOriginalToken": True})
    assert "x-plain" not in admitted(kept, ("x-plain", GOOD)).remove
    passage = admitted(user_mesh(PLACES), ("cookie", f"session={GOOD}"), target=f"/?token={GOOD}")
    assert "cookie" not in passage.remove
    assert passage.path is None


def test_each_token_is_taken_away_by_the_rule_that_believes_it():
    """Also those that do not say who it is."""
    mesh = user_mesh({**PLAIN, **AT_X, "forwardOriginalToken": True}, {**OTHERS, **AT_Y})
    passage = admitted(mesh, ("x-b", THEIRS), ("x-a", GOOD))
    assert "x-b" in passage.remove
    assert "x-a" not in passage.remove


OUTPUTS = rule(
    outputPayloadToHeader="X-Payload",
    outputClaimToHeaders=[
        {"header": f"x-{claim.replace('.', '-')}", "claim": claim}
        for claim in (
            "sub",
            "n",
            "f",
            "b",
            "neg",
            "deep.er",
            "list",
            "deep",
            "gone",
            "e",
            "u",
            "nl",
        )
    ],
)


def test_claims_reach_the_app_in_headers():
    """Texts, numbers and truth values as Envoy writes them; lists and objects do not."""
    made = token(
        n=2**53 + 1,
        f=1.5,
        b=True,
        neg=-3,
        deep={"er": "x"},
        list=["a"],
        e="",
        u="é",
        nl="a\r\nb: c",
    )
    added = dict(admitted(user_mesh(OUTPUTS), bearer(made)).add)
    added.pop("x-request-id")
    assert added == {
        "x-payload": made.split(".")[1],
        "x-sub": "alice",
        "x-n": "9007199254740993",
        "x-f": "1.500000",
        "x-b": "true",
        "x-neg": "-3.000000",
        "x-deep-er": "x",
        "x-u": "é".encode().decode("latin-1"),
    }


@pytest.mark.parametrize("number", [10**400, 1e300, 2**64, -(10**400)], ids=str)
def test_a_number_beyond_all_bounds_is_no_reason_to_fail(number):
    """It may be left out; the call goes on."""
    assert admitted(user_mesh(OUTPUTS), bearer(token(n=number)))


@pytest.mark.parametrize("how", ["with a token", "without", "a browser's question"])
def test_what_callers_send_in_those_headers_never_reaches_the_app(how):
    """Else anybody could say it of themselves."""
    headers = [("x-payload", "forged"), ("X-Sub", "root")]
    method = "GET"
    if how == "with a token":
        headers.append(bearer(token(sub=None)))
    elif how != "without":
        method = "OPTIONS"
        headers += [("origin", "https://a"), ("access-control-request-method", "GET")]
    passage = admitted(user_mesh(OUTPUTS), *headers, method=method)
    assert {"x-payload", "x-sub"} <= set(passage.remove)
    assert "x-sub" not in dict(passage.add)


@pytest.mark.parametrize("name", ["x_sub", "x_plain", "X_Payload"])
def test_a_twin_with_an_underscore_is_refused(name):
    """CGI-style code takes it for the header itself."""
    both = {**OUTPUTS, "fromHeaders": [{"name": "x-plain"}]}
    assert refused(user_mesh(both), (name, "x"))[0] == 400


# --- around it ------------------------------------------------------------------------------------


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


# --- what is remembered ---------------------------------------------------------------------------


def count(mesh, monkeypatch) -> list[int]:
    """Counts the signatures that are looked at from here on."""
    from meshware.identity.jwk import PublicKey

    calls: list[int] = []
    real = PublicKey.verifies
    monkeypatch.setattr(PublicKey, "verifies", lambda own, one: calls.append(1) or real(own, one))
    return calls


def test_a_token_is_verified_once_and_its_end_is_kept(monkeypatch):
    """A clock that goes on ends it, whoever remembers it."""
    mesh = user_mesh(rule())
    calls = count(mesh, monkeypatch)
    made = token(exp=NOW + 100, nbf=NOW)
    for _ in range(3):
        assert admitted(mesh, bearer(made))
    assert len(calls) == 1
    mesh.clock.advance(159)
    assert admitted(mesh, bearer(made))
    mesh.clock.advance(1)
    assert refused(mesh, bearer(made)) == (401, "Jwt is expired")
    mesh.clock.advance(-300)
    assert refused(mesh, bearer(made)) == (401, "Jwt not yet valid")
    assert len(calls) == 1


def test_a_bad_token_is_not_remembered(monkeypatch):
    """Nobody fills the memory without a key."""
    mesh = user_mesh(rule())
    calls = count(mesh, monkeypatch)
    for _ in range(2):
        assert refused(mesh, bearer(token("mallory", header=HEADER)))
    assert len(calls) == 2
    assert not mesh.gate._users._tokens._young


def test_the_memory_is_bounded(monkeypatch):
    """By number and by size: what was not used for long goes."""
    from meshware.inbound import user_tokens

    monkeypatch.setattr(user_tokens, "_MOST_REMEMBERED", 4)
    mesh = user_mesh(rule())
    calls = count(mesh, monkeypatch)
    for number in range(20):
        assert admitted(mesh, bearer(token(sub=f"user-{number}")))
        assert admitted(mesh, bearer(GOOD))
    assert len(calls) <= 22  # the one that is used stays
    memory = mesh.gate._users._tokens
    assert len(memory._young) <= 4 >= len(memory._old)
    monkeypatch.setattr(user_tokens, "_MOST_REMEMBERED_CHARS", 1)
    for number in range(3):
        assert admitted(mesh, bearer(token(sub=f"other-{number}")))
        assert len(memory._young) <= 2


CHANGED = {
    "a key is gone": rule(jwks=jwks("other")),
    "another key under its name": rule(jwks=jwks(jwk("other", kid="ec"))),
    "the issuer is another": rule(issuer=OTHER),
    "an audience is asked for": rule(audiences=["them"]),
}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_what_policy_takes_away_ends_what_is_remembered(changed):
    """At the next snapshot, and not with the token."""
    mesh = user_mesh(rule(audiences=["us"]))
    made = token(aud="us")
    assert admitted(mesh, bearer(made))
    mesh.apply([authentication(changed)])
    assert refused(mesh, bearer(made))[0] in (401, 403)
    mesh.apply([authentication(rule(audiences=["us"]))])
    assert admitted(mesh, bearer(made))


def test_a_changed_output_is_not_the_remembered_one():
    """The digest covers all that a rule makes of a token."""
    mesh = user_mesh(rule(outputPayloadToHeader="x-one"))
    assert "x-one" in dict(admitted(mesh, bearer(GOOD)).add)
    mesh.apply([authentication(rule(outputPayloadToHeader="x-two"))])
    assert "x-two" in dict(admitted(mesh, bearer(GOOD)).add)


def test_nothing_is_compiled_anew_where_nothing_changed():
    """A publish costs what it changes."""
    mesh = user_mesh(rule())
    before = mesh.cell.current.inbound.users
    mesh.apply([authentication(rule()), policy("ALLOW", {})])
    assert mesh.cell.current.inbound.users is before
    mesh.apply([authentication(rule(audiences=["us"])), policy("ALLOW", {})])
    assert mesh.cell.current.inbound.users is not before
    mesh.apply([policy("ALLOW", {})])
    assert mesh.cell.current.inbound.users is None


def test_an_app_cannot_change_what_others_find():
    """Claims are copies: a token's next call finds what its issuer signed."""
    mesh = user_mesh(rule())
    made = token(roles=["reader"], deep={"roles": ["reader"]})
    claims = admitted(mesh, bearer(made)).call.claims
    claims["roles"].append("admin")
    claims["deep"]["roles"].append("admin")
    with pytest.raises(TypeError):
        claims["sub"] = "root"
    again = admitted(mesh, bearer(made)).call.claims
    assert (again["roles"], again["deep"]) == (["reader"], {"roles": ["reader"]})
    assert json.loads(json.dumps(dict(again)))["sub"] == "alice"


def test_nothing_of_a_token_is_in_a_repr():
    """Of a call, an admission, a rule or a snapshot's part."""
    mesh = user_mesh(OUTPUTS)
    made = token(secret="hush")
    passage = admitted(mesh, bearer(made))
    texts = [repr(passage), repr(passage.call), repr(passage.call.claims), repr(mesh.gate._users)]
    texts.append(repr(mesh.cell.current.inbound))
    texts += [repr(known) for known in mesh.gate._users._tokens._young.values()]
    for text in texts:
        assert "hush" not in text
        assert made.split(".")[2] not in text
        assert made.split(".")[1] not in text


def test_rules_see_lists_where_texts_are_lists(monkeypatch):
    """`scope` and `permission` always, others by `spaceDelimitedClaims`; the app sees the text."""
    from meshware.inbound import gate

    seen = []
    real = gate.decide
    monkeypatch.setattr(
        gate,
        "decide",
        lambda rules, facts, *rest: seen.append(facts.user) or real(rules, facts, *rest),
    )
    mesh = user_mesh(rule(spaceDelimitedClaims=["groups"]))
    said = {"scope": "a  b", "permission": "c", "groups": "d e", "other": "f g", "aud": ["us"]}
    passage = admitted(mesh, bearer(token(**said, azp="app")))
    user = seen[0]
    assert (user.principal, user.audiences, user.presenter) == (f"{ISSUER}/alice", ("us",), "app")
    assert {name: user.claims[name] for name in said} == {
        "scope": ["a", "b"],
        "permission": ["c"],
        "groups": ["d", "e"],
        "other": "f g",
        "aud": ["us"],
    }
    assert passage.call.claims["scope"] == "a  b"
    assert user.until == CLAIMS["exp"]
