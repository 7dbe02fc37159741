"""What rules ask of the end user: principals, audiences, presenters, claims, in both polarities."""

from __future__ import annotations

from typing import Any

import pytest

from meshware.inbound.authz import decide
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    Condition,
    From,
    Rule,
    Source,
)
from meshware.policy.inbound_facts import EndUser, Facts
from meshware.policy.inbound_rules import NamedPolicy, compile_inbound
from meshware.policy.user_matchers import claim_path

ISSUER = "https://issuer.example/realm"


def user(issuer: str = ISSUER, subject: str = "ann", **claims: Any) -> EndUser:
    """An end user with a verified token."""
    audiences = claims.pop("aud", ())
    presenter = claims.pop("azp", None)
    return EndUser(
        principal=f"{issuer}/{subject}",
        audiences=audiences,
        presenter=presenter,
        claims={"iss": issuer, "sub": subject, **claims},
    )


def is_allowed(action: str, rule: Rule, whom: EndUser | None) -> bool:
    """Decide a call by one rule."""
    spec = AuthorizationPolicySpec(action=action, rules=(rule,))  # type: ignore[arg-type]
    facts = Facts(
        method="GET",
        authority="app",
        headers=lambda _: (),
        source_ip="192.0.2.1",
        destination_ip=None,
        port=80,
        user=whom,
    )
    rules = compile_inbound([NamedPolicy(namespace="default", name="p", spec=spec)])
    return decide(rules, facts, ("/",)).is_allowed


def source(**fields: tuple[str, ...]) -> Rule:
    """A rule of one source."""
    return Rule(from_=(From(source=Source(**fields)),))


def when(key: str, *values: str, unless: tuple[str, ...] | None = None) -> Rule:
    """A rule of one condition."""
    return Rule(when=(Condition(key=key, values=values or None, not_values=unless),))


WHO = [
    ("the whole", f"{ISSUER}/ann", user(), True),
    ("another subject", f"{ISSUER}/bob", user(), False),
    ("another issuer", "https://other/ann", user(), False),
    ("any", "*", user(), True),
    ("any, of nobody", "*", None, False),
    ("any, without a subject", "*", EndUser(claims={"iss": ISSUER}), False),
    ("any, with an empty subject", "*", user(subject=""), False),
    ("all of an issuer", f"{ISSUER}/*", user(), True),
    ("all of another issuer", "https://issuer.example/*", user(), False),
    ("an issuer is no prefix", "https://issuer.example/*", user(subject="realm/x"), False),
    ("a subject of any issuer", "*/ann", user(), True),
    ("another subject of any issuer", "*/bob", user(), False),
    ("the end of a subject", "*nn", user(), True),
    ("the end of a principal is no end of a subject", "*alm/x", user(), False),
    ("the beginning of an issuer", "https://*", user(issuer="https://", subject="x"), False),
    ("an issuer by its beginning", "htt*", user(), True),
    ("the beginning of a subject", f"{ISSUER}/a*", user(), True),
    ("another beginning", f"{ISSUER}/b*", user(), False),
    ("the end of an issuer and a subject", "*realm/ann", user(), True),
    ("a star in a subject", "*/*", user(), False),
    ("a star in a subject that has one", "*/*", user(subject="*"), True),
    ("no slash", "ann", user(), False),
    ("taken apart at the last slash", f"{ISSUER}/a/b", user(f"{ISSUER}/a", "b"), True),
]


@pytest.mark.parametrize(
    ("value", "whom", "is_meant"), [row[1:] for row in WHO], ids=[row[0] for row in WHO]
)
def test_a_request_principal_is_issuer_and_subject(value, whom, is_meant):
    """As a source, as a condition, in all four polarities."""
    rules = [
        (source(request_principals=(value,)), source(not_request_principals=(value,))),
        (when("request.auth.principal", value), when("request.auth.principal", unless=(value,))),
    ]
    for wanted, unwanted in rules:
        assert is_allowed("ALLOW", wanted, whom) is is_meant
        assert is_allowed("DENY", wanted, whom) is not is_meant
        assert is_allowed("ALLOW", unwanted, whom) is not is_meant
        assert is_allowed("DENY", unwanted, whom) is is_meant


def test_a_subject_with_a_slash_is_refused_where_its_principal_is_written_out():
    """Istio means nobody by it; whoever writes it in a DENY policy means this one."""
    whom, value = user(subject="spiffe://a/b"), f"{ISSUER}/spiffe://a/b"
    assert not is_allowed("DENY", source(request_principals=(value,)), whom)
    assert not is_allowed("ALLOW", source(not_request_principals=(value,)), whom)
    assert not is_allowed("ALLOW", source(request_principals=(value,)), whom)
    assert not is_allowed("DENY", source(not_request_principals=(value,)), whom)
    assert is_allowed("ALLOW", source(request_principals=(f"{ISSUER}/*",)), whom)


def test_a_token_is_required_by_denying_those_without():
    """The idiom of Istio's users."""
    rule = source(not_request_principals=("*",))
    assert not is_allowed("DENY", rule, None)
    assert is_allowed("DENY", rule, user())


CLAIMS = [
    ("a text", "g", "admin", user(g="admin"), True),
    ("another text", "g", "admin", user(g="guest"), False),
    ("absent", "g", "admin", user(), False),
    ("nobody", "g", "admin", None, False),
    ("one of a list", "g", "admin", user(g=["guest", "admin"]), True),
    ("none of a list", "g", "admin", user(g=["guest"]), False),
    ("an empty list", "g", "*", user(g=[]), False),
    ("a list with other things", "g", "admin", user(g=[1, None, {"admin": 1}, "admin"]), True),
    ("by its beginning", "g", "ad*", user(g=["admin"]), True),
    ("by its end", "g", "*min", user(g=["admin"]), True),
    ("present", "g", "*", user(g="x"), True),
    ("present and empty", "g", "*", user(g=""), False),
    ("a number", "g", "1", user(g=1), False),
    ("a truth value", "g", "true", user(g=True), False),
    ("a number is not present", "g", "*", user(g=1), False),
    ("nothing", "g", "*", user(g=None), False),
    ("words are no list", "g", "admin", user(g="guest admin"), False),
    ("within", "a][b", "x", user(a={"b": "x"}), True),
    ("a list within", "a][b", "x", user(a={"b": ["w", "x"]}), True),
    ("deep within", "a][b][c", "x", user(a={"b": {"c": "x"}}), True),
    ("within a text", "a][b", "x", user(a="x"), False),
    ("within a list", "a][b", "x", user(a=[{"b": "x"}]), False),
    ("the outer one alone", "a", "x", user(a={"b": "x"}), False),
    ("a dot is a character", "a.b", "x", user(**{"a.b": "x"}), True),
    ("a dot does not lead within", "a.b", "x", user(a={"b": "x"}), False),
    ("the issuer", "iss", ISSUER, user(), True),
]


@pytest.mark.parametrize(
    ("name", "value", "whom", "is_meant"),
    [row[1:] for row in CLAIMS],
    ids=[row[0] for row in CLAIMS],
)
def test_a_claim_is_a_text_or_a_list_with_one_that_fits(name, value, whom, is_meant):
    """In all four polarities; of what is absent `notValues` hold, as in Istio."""
    key = f"request.auth.claims[{name}]"
    assert is_allowed("ALLOW", when(key, value), whom) is is_meant
    assert is_allowed("DENY", when(key, value), whom) is not is_meant
    assert is_allowed("ALLOW", when(key, unless=(value,)), whom) is not is_meant
    assert is_allowed("DENY", when(key, unless=(value,)), whom) is is_meant


@pytest.mark.parametrize(
    ("key", "value", "whom", "is_meant"),
    [
        ("audiences", "shop", user(aud=("bank", "shop")), True),
        ("audiences", "sh*", user(aud=("shop",)), True),
        ("audiences", "shop", user(aud=("bank",)), False),
        ("audiences", "*", user(), False),
        ("audiences", "shop", None, False),
        ("presenter", "cli", user(azp="cli"), True),
        ("presenter", "cli", user(azp="web"), False),
        ("presenter", "*", user(), False),
        ("presenter", "*", None, False),
    ],
)
def test_audiences_and_presenter_are_the_tokens(key, value, whom, is_meant):
    """Any audience of the token will do."""
    key = f"request.auth.{key}"
    assert is_allowed("ALLOW", when(key, value), whom) is is_meant
    assert is_allowed("DENY", when(key, value), whom) is not is_meant
    assert is_allowed("ALLOW", when(key, unless=(value,)), whom) is not is_meant
    assert is_allowed("DENY", when(key, unless=(value,)), whom) is is_meant


def test_values_and_not_values_must_both_hold():
    """One of the first, none of the second."""
    rule = when("request.auth.claims[g]", "team-*", unless=("team-out",))
    assert is_allowed("ALLOW", rule, user(g=["team-a"]))
    assert not is_allowed("ALLOW", rule, user(g=["team-a", "team-out"]))
    assert not is_allowed("ALLOW", rule, user(g=["other"]))


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("request.auth.claims[a]", ("a",)),
        ("request.auth.claims[a][b.c][d]", ("a", "b.c", "d")),
        ("request.auth.claims[a b]", ("a b",)),
        ("request.auth.claims", None),
        ("request.auth.claims[]", None),
        ("request.auth.claims[a]x", None),
        ("request.auth.claims[a[b]]", None),
        ("xrequest.auth.claims[a]", None),
        ("request.headers[a]", None),
    ],
)
def test_a_key_names_its_claim(key, path):
    """From the outermost to the innermost."""
    assert claim_path(key) == path
