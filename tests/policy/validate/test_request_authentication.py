"""RequestAuthentications: what a slip is told as, before it lets anybody in or out."""

from __future__ import annotations

import pytest
from policy_check import problems, resource
from user_world import ISSUER, jwk, jwks, rule

from meshware.policy.jwt_rules import NamedAuthentication, compile_user_rules
from meshware.policy.load import load_text

API = "security.istio.io/v1"
WORKLOAD = resource("WorkloadGroup", {"metadata": {"labels": {"app": "a"}}, "template": {}})


def found(*rules, **spec):
    """(severity, field, message) of what is told."""
    text = resource("RequestAuthentication", {"jwtRules": list(rules), **spec}, api=API)
    return [(str(one.severity), one.field, one.message) for one in problems(text, WORKLOAD)]


GOOD = [
    rule(),
    rule(jwks=None, jwksUri="https://issuer.example/keys"),
    rule(jwks=None, jwks_uri="https://issuer.example:8443/keys"),
    rule(jwks=None),  # found by the issuer's own address
    rule(issuer="me@example.com"),
    rule(audiences=["a", "b"], timeout="10ms", spaceDelimitedClaims=["groups"]),
    rule(fromHeaders=[{"name": "x-a", "prefix": "Token "}, {"name": "x-a", "prefix": "Other "}]),
    rule(fromParams=["token"], fromCookies=["__Host-jwt"]),
    rule(
        outputPayloadToHeader="X-Payload",
        outputClaimToHeaders=[{"header": "x-sub", "claim": "sub"}, {"header": "x", "claim": "a.b"}],
        forwardOriginalToken=True,
    ),
]


@pytest.mark.parametrize("one", GOOD, ids=range(len(GOOD)))
def test_what_is_right_is_told_nothing_of(one):
    """And compiles."""
    assert found(one) == []
    loaded = load_text(resource("RequestAuthentication", {"jwtRules": [one]}, api=API))
    spec = loaded.resources[0].spec
    named = NamedAuthentication(namespace="default", name="it", spec=spec)
    assert compile_user_rules([named], lambda _: None)


RULE = "spec.jwtRules[0]"
BAD = {
    "no issuer": (rule(issuer=None), "issuer", "a rule needs an issuer"),
    "an empty issuer": (rule(issuer=""), "issuer", "a rule needs an issuer"),
    "keys twice": (rule(jwksUri="https://a/b"), "jwks", "write one of them"),
    "two addresses": (
        rule(jwks=None, jwksUri="https://a/b", jwks_uri="https://a/b"),
        "jwks",
        "write one of them",
    ),
    "an address that is none": (
        rule(jwks=None, jwksUri="issuer/keys"),
        "jwksUri",
        "begins with https://",
    ),
    "another scheme": (
        rule(jwks=None, jwksUri="file:///etc/keys"),
        "jwksUri",
        "begins with https://",
    ),
    "no host": (
        rule(jwks=None, jwksUri="https:///keys"),
        "jwksUri",
        "neither a name nor an IP address",
    ),
    "a bad port": (rule(jwks=None, jwksUri="https://a:x/keys"), "jwksUri", "cannot be read"),
    "an empty address": (rule(jwks=None, jwksUri=""), "jwksUri", "no address"),
    "an issuer without keys": (rule(issuer="me", jwks=None), "issuer", "give jwksUri or jwks"),
    "keys that are no JSON": (rule(jwks="hello"), "jwks", "cannot be used"),
    "empty keys": (rule(jwks=""), "jwks", "cannot be used"),
    "no key": (rule(jwks='{"keys": []}'), "jwks", "not 1 to 100 keys"),
    "a symmetric key": (rule(jwks=jwks({"kty": "oct", "k": "AA"})), "jwks", "holds a secret"),
    "a private key": (rule(jwks=jwks({**jwk("ec"), "d": "AA"})), "jwks", "holds a secret"),
    "no audience": (rule(audiences=[]), "audiences", "an empty list"),
    "an empty audience": (rule(audiences=["a", ""]), "audiences[1]", "this is empty"),
    "no place": (rule(fromHeaders=[]), "fromHeaders", "an empty list"),
    "no name of a header": (
        rule(fromHeaders=[{"name": ""}]),
        "fromHeaders[0].name",
        "no name of a header",
    ),
    "a pseudo header": (
        rule(fromHeaders=[{"name": ":path"}]),
        "fromHeaders[0].name",
        "no name of a header",
    ),
    "a place that has a meaning": (
        rule(fromHeaders=[{"name": "Host"}]),
        "fromHeaders[0].name",
        "a meaning of its own",
    ),
    "an underscore": (rule(fromHeaders=[{"name": "x_a"}]), "fromHeaders[0].name", "underscore"),
    "a prefix with a comma": (
        rule(fromHeaders=[{"name": "x", "prefix": "a,"}]),
        "fromHeaders[0].prefix",
        "without a comma",
    ),
    "a prefix of a blank": (
        rule(fromHeaders=[{"name": "x", "prefix": " "}]),
        "fromHeaders[0].prefix",
        "cannot stand before",
    ),
    "a header twice": (
        rule(fromHeaders=[{"name": "x"}, {"name": "X"}]),
        "fromHeaders[1]",
        "there twice",
    ),
    "an empty parameter": (rule(fromParams=[""]), "fromParams[0]", "this is empty"),
    "an empty cookie": (rule(fromCookies=[""]), "fromCookies[0]", "this is empty"),
    "a cookie with a blank": (rule(fromCookies=["a b"]), "fromCookies[0]", "cannot name a cookie"),
    "an empty claim": (
        rule(spaceDelimitedClaims=[""]),
        "spaceDelimitedClaims[0]",
        "this is empty",
    ),
    "an output that is none": (
        rule(outputPayloadToHeader="x payload"),
        "outputPayloadToHeader",
        "cannot be a header",
    ),
    "an output with an underscore": (
        rule(outputPayloadToHeader="x_payload"),
        "outputPayloadToHeader",
        "cannot be a header",
    ),
    "an output by which others decide": (
        rule(outputPayloadToHeader="Host"),
        "outputPayloadToHeader",
        "a meaning of its own",
    ),
    "an output of the mesh's": (
        rule(outputPayloadToHeader="x-envoy-user"),
        "outputPayloadToHeader",
        "a meaning of its own",
    ),
    "an output where tokens stand": (
        rule(outputPayloadToHeader="X-A", fromHeaders=[{"name": "x-a"}]),
        "outputPayloadToHeader",
        "where tokens stand",
    ),
    "an output twice": (
        rule(outputPayloadToHeader="x", outputClaimToHeaders=[{"header": "X", "claim": "sub"}]),
        "outputClaimToHeaders[0].header",
        "set twice",
    ),
    "an output of nothing": (
        rule(outputClaimToHeaders=[{"header": "x", "claim": "a..b"}]),
        "outputClaimToHeaders[0].claim",
        "names no claim",
    ),
    "a short time-out": (rule(timeout="0.1ms"), "timeout", "at least 1ms"),
}


@pytest.mark.parametrize(("one", "field", "words"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_an_error(one, field, words):
    """Once, at its field, with what to write."""
    [(severity, where, message)] = found(one)
    assert (severity, where) == ("error", f"{RULE}.{field}")
    assert words in message


DOUBTS = {
    "a weak key": (rule(jwks=jwks("rsa-weak", "ec")), "jwks", "keys[0] is passed over"),
    "a key for encryption": (rule(jwks=jwks("ec", jwk("rsa", use="enc"))), "jwks", "keys[1]"),
    "any issuer": (
        rule(issuer=None, jwks=None, jwksUri="https://a/b"),
        "issuer",
        "a token may name any",
    ),
    "an audience twice": (rule(audiences=["a", "a"]), "audiences[1]", "there twice"),
}


@pytest.mark.parametrize(("one", "field", "words"), DOUBTS.values(), ids=DOUBTS)
def test_what_is_doubtful_is_a_warning(one, field, words):
    """The policy is taken."""
    [(severity, where, message)] = found(one)
    assert (severity, where) == ("warning", f"{RULE}.{field}")
    assert words in message


def test_a_set_without_a_usable_key_is_told_twice():
    """Each key, and that none is left."""
    told = found(rule(jwks=jwks("rsa-weak")))
    assert [severity for severity, _, _ in told] == ["warning", "warning"]
    assert "no key is left" in told[1][2]


def test_a_policy_without_rules_is_a_warning():
    """It changes nothing."""
    [(severity, where, _)] = found()
    assert (severity, where) == ("warning", "spec.jwtRules")


@pytest.mark.parametrize(
    ("spec", "severity", "field"),
    [
        ({"selector": {"matchLabels": {"app": "*"}}}, "error", "spec.selector.matchLabels[app]"),
        ({"selector": {"matchLabels": {"app": "b"}}}, "warning", "spec.selector.matchLabels"),
        ({"selector": {}}, "warning", "spec.selector"),
    ],
    ids=str,
)
def test_whom_it_is_for_is_checked_as_elsewhere(spec, severity, field):
    """A selector that selects nobody leaves a door as it was."""
    assert [(one[0], one[1]) for one in found(rule(), **spec)] == [(severity, field)]


def test_no_key_is_in_what_is_told():
    """Not of the public ones either: messages go to logs and reports."""
    secret = jwk("ec")["x"]
    for _, _, message in found(rule(jwks=jwks({**jwk("ec"), "d": "hush"}))):
        assert secret not in message
        assert "hush" not in message


def test_an_issuer_may_stand_in_two_policies_of_one_name_only_once():
    """As with any other kind."""
    one = resource("RequestAuthentication", {"jwtRules": [rule()]}, api=API)
    [problem] = problems(one, one, WORKLOAD)
    assert problem.field == "metadata.name"
    assert ISSUER not in problem.message
