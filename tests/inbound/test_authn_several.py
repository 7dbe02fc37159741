"""Several rules, and several tokens: who it is, and what must hold for all."""

from __future__ import annotations

import pytest
from user_world import (
    AT_X,
    AT_Y,
    BOB,
    GOOD,
    OTHER,
    OTHERS,
    PLACES,
    PLAIN,
    THEIRS,
    admitted,
    answer,
    authentication,
    bearer,
    refused,
    rule,
    token,
    user_mesh,
)

from meshware.inbound.passage import Admission, Denial

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
