"""Mirrors, each by itself and with what they lead to."""

from __future__ import annotations

import pytest
from policy_check import problems, routes, service, to


def found(route: dict) -> list[tuple[str, str, str]]:
    """Severity, field below the route, and message of what is wrong with it."""
    prefix = "spec.http[0]"
    return [
        (str(p.severity), p.field.removeprefix(prefix).lstrip("."), p.message)
        for p in problems(service(), service("shadow"), routes({**to(), **route}))
    ]


SHADOW = {"mirror": {"host": "shadow"}}


@pytest.mark.parametrize(
    "route",
    [
        SHADOW,
        {**SHADOW, "mirrorPercentage": {"value": 0.5}},
        {**SHADOW, "mirrorPercent": 100},
        {"mirrors": [{"destination": {"host": "shadow", "port": {"number": 9080}}}]},
    ],
    ids=str,
)
def test_what_istio_takes_is_taken(route):
    """Without a word."""
    assert found(route) == []


@pytest.mark.parametrize(
    ("route", "severity", "field", "words"),
    [
        ({**SHADOW, "mirrors": []}, "error", "mirrors", "both set"),
        ({"mirrorPercentage": {"value": 5}}, "error", "mirrorPercentage", "which is not there"),
        ({"mirrorPercent": 5}, "error", "mirrorPercent", "which is not there"),
        ({**SHADOW, "mirrorPercent": 101}, "error", "mirrorPercent", "0 to 100"),
        ({**SHADOW, "mirror_percent": -1}, "error", "mirror_percent", "0 to 100"),
        (
            {**SHADOW, "mirrorPercentage": {"value": 5}, "mirrorPercent": 6},
            "warning",
            "mirrorPercent",
            "not looked at beside mirrorPercentage",
        ),
        ({**SHADOW, "mirrorPercentage": {"value": 0}}, "warning", "mirror", "no call is copied"),
        ({"mirror": {"host": "nobody"}}, "error", "mirror.host", "no ServiceEntry has the host"),
        ({"mirror": {"host": "a b"}}, "error", "mirror.host", "host is 'a b'"),
        (
            {"mirrors": [{"destination": {"host": "shadow", "subset": "v9"}}]},
            "error",
            "mirrors[0].destination.subset",
            "defines subset 'v9'",
        ),
        (
            {"mirror": {"host": "shadow", "port": {"number": 1}}},
            "error",
            "mirror.port.number",
            "has no port 1",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(route, severity, field, words):
    """With what to write instead."""
    [(told, at, message)] = [problem for problem in found(route) if problem[0] != "info"]
    assert (told, at) == (severity, field)
    assert words in message
