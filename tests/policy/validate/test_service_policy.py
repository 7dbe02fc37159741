"""ServicePolicies as written: what a rule may say."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service


def found(*rules: dict) -> list[tuple[str, str, str]]:
    """Severity, field, and message of what is wrong with rules for `reviews`."""
    spec = {"hosts": ["reviews"], "http": list(rules)}
    text = resource("ServicePolicy", spec, api="meshware.dev/v1alpha1")
    return [(str(p.severity), p.field, p.message) for p in problems(service(), text)]


@pytest.mark.parametrize(
    "rule",
    [
        {"safeToRepeat": True},
        {"retryBudget": {"percent": 10, "minRetryConcurrency": 0}},
        {"deadline": "1ms"},
        {"replayBufferBytes": 0},
        {"match": [{"method": {"exact": "POST"}}], "safeToRepeat": False, "deadline": "30s"},
    ],
    ids=str,
)
def test_what_a_rule_may_say(rule):
    """Without a word."""
    assert found(rule) == []


@pytest.mark.parametrize(
    ("rule", "field", "words"),
    [
        ({}, "spec.http[0]", "this rule says nothing"),
        ({"match": [{"port": 80}]}, "spec.http[0]", "this rule says nothing"),
        ({"replayBufferBytes": -1}, "spec.http[0].replayBufferBytes", "from 0"),
        ({"replayBufferBytes": 2**25}, "spec.http[0].replayBufferBytes", "hold in memory"),
        ({"deadline": "0s"}, "spec.http[0].deadline", "too short"),
        (
            {"retryBudget": {"minRetryConcurrency": -1}},
            "spec.http[0].retryBudget.minRetryConcurrency",
            "0 or a number above",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(rule, field, words):
    """With what to write instead."""
    [(severity, at, message)] = found(rule)
    assert (severity, at) == ("error", field)
    assert words in message


def test_a_rule_behind_one_that_takes_all_is_told():
    """The first that accepts a call counts, for everything."""
    [(severity, at, message)] = found({"deadline": "1s"}, {"safeToRepeat": True})
    assert (severity, at) == ("warning", "spec.http[1]")
    assert "http[0] takes all" in message
