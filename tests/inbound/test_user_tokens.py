"""What is remembered of end users' tokens, and when it ends."""

from __future__ import annotations

import json

import pytest
from inbound_world import policy
from user_world import (
    CLAIMS,
    GOOD,
    HEADER,
    ISSUER,
    NOW,
    OTHER,
    OUTPUTS,
    admitted,
    authentication,
    bearer,
    jwk,
    jwks,
    refused,
    rule,
    token,
    user_mesh,
)


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
