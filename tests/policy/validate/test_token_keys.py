"""Addresses of keys that can be seen to lead nowhere, or where nobody may be sent."""

from __future__ import annotations

import pytest

from meshware.policy.load import load_text
from meshware.policy.problems import Severity
from tests.support.policy_check import resource

SECURITY, OURS = "security.istio.io/v1", "meshware.dev/v1alpha1"


def config(**jwks):
    return resource("MeshConfig", {"jwks": jwks}, "mesh", "istio-system", OURS)


def users(*rules, name="users"):
    return resource("RequestAuthentication", {"jwtRules": list(rules)}, name, api=SECURITY)


def keys_at(uri, **more):
    return users({"issuer": "https://id.example.com", "jwksUri": uri, **more})


def errors(text):
    found = load_text(text).problems
    return [problem for problem in found if problem.severity is Severity.ERROR]


@pytest.mark.parametrize(
    "text",
    [
        keys_at("https://id.example.com/keys"),
        keys_at("https://8.8.8.8/keys"),
        users({"issuer": "https://id.example.com/realms/a"}),
        users({"issuer": "a", "jwksUri": "https://id.example.com/k?v=1"}),
        keys_at("http://plain/keys") + config(allowedHttpHosts=["PLAIN"]),
        keys_at("https://10.0.0.5:8443/k") + config(allowedInternalHosts=["10.0.0.5"]),
        keys_at("https://[::1]/k") + config(allowedInternalHosts=["::1"]),
        config(allowedInternalHosts=["keycloak", "id.internal."], caFile="/etc/ca.pem"),
        users(
            {"issuer": "a", "jwksUri": "https://id.example.com/k"},
            {"issuer": "b", "jwksUri": "https://id.example.com/k", "timeout": "9s"},
        ),
    ],
)
def test_what_can_be_fetched_is_good_policy(text):
    """Where a name leads is seen when it is fetched."""
    assert errors(text) == []


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (keys_at("https://user:secret@id.example.com/"), "spec.jwtRules[0].jwksUri", "a user"),
        (keys_at("https://id.example.com/#k"), "spec.jwtRules[0].jwksUri", "fragment"),
        (keys_at("http://id.example.com/keys"), "spec.jwtRules[0].jwksUri", "allowedHttpHosts"),
        (keys_at("https://127.0.0.1/keys"), "spec.jwtRules[0].jwksUri", "allowedInternalHosts"),
        (
            keys_at("https://10.0.0.5/k") + config(allowedInternalHosts=["10.0.0.6"]),
            "spec.jwtRules[0].jwksUri",
            "a private address",
        ),
        (keys_at("https://169.254.169.254/"), "spec.jwtRules[0].jwksUri", "metadata"),
        (
            users({"issuer": "http://id.example.com"}),
            "spec.jwtRules[0].issuer",
            "allowedHttpHosts",
        ),
        (
            users({"issuer": "https://id.example.com"}, {"issuer": "https://id.example.com/"}),
            "spec.jwtRules[1].issuer",
            "write both in the same way",
        ),
        (
            users(
                {"issuer": "https://a.example.com"},
                {
                    "issuer": "b",
                    "jwksUri": "https://a.example.com/.well-known/openid-configuration",
                },
            ),
            "spec.jwtRules[1].jwksUri",
            "no key set",
        ),
        (
            config(allowedInternalHosts=["https://id.internal"]),
            "spec.jwks.allowedInternalHosts[0]",
            "without https://",
        ),
        (
            config(allowedHttpHosts=["ok", "id.internal:8080"]),
            "spec.jwks.allowedHttpHosts[1]",
            "without https://, port",
        ),
        (
            config(allowedInternalHosts=["*.internal"]),
            "spec.jwks.allowedInternalHosts[0]",
            "one by one",
        ),
        (
            config(allowedInternalHosts=["169.254.169.254"]),
            "spec.jwks.allowedInternalHosts[0]",
            "never fetched",
        ),
        (config(caFile="ca.pem"), "spec.jwks.caFile", "absolute"),
    ],
)
def test_what_cannot_be_fetched_refuses_the_policy(text, field, words):
    """With the place and a remedy."""
    assert any(each.field == field and words in each.message for each in errors(text)), errors(text)


def test_a_query_is_in_no_message():
    """It may hold what is for nobody else."""
    [problem] = errors(keys_at("https://127.0.0.1/keys?token=hush"))
    assert "hush" not in problem.message
