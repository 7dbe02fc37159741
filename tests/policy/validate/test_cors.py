"""corsPolicy as written."""

from __future__ import annotations

import pytest
from policy_check import problems, routes, service, to

GOOD = {"allowOrigins": [{"exact": "https://shop.example.com"}]}


def found(cors: dict) -> list[tuple[str, str, str]]:
    """Severity, field below corsPolicy, and message."""
    prefix = "spec.http[0].corsPolicy"
    return [
        (str(p.severity), p.field.removeprefix(prefix).lstrip("."), p.message)
        for p in problems(service(), routes({**to(), "corsPolicy": cors}))
    ]


@pytest.mark.parametrize(
    "cors",
    [
        GOOD,
        {"allowOrigins": [{"exact": "*"}]},
        {"allowOrigins": [{"regex": r"https://[a-z]+\.example\.com"}], "allowCredentials": True},
        {"allowOrigins": [{"prefix": "https://shop.example.com/"}]},
        {"allowOrigin": ["https://shop.example.com"], "maxAge": "24h"},
        {**GOOD, "allowMethods": ["*"], "allowHeaders": ["x-a"], "exposeHeaders": ["x-b"]},
        {**GOOD, "unmatchedPreflights": "IGNORE"},
    ],
    ids=str,
)
def test_what_istio_takes_is_taken(cors):
    """Without a word."""
    assert found(cors) == []


@pytest.mark.parametrize(
    ("cors", "severity", "field", "words"),
    [
        ({}, "error", "", "allows no origin"),
        ({**GOOD, "allowOrigin": ["*"]}, "error", "allowOrigin", "both set"),
        ({"allowOrigins": [{}]}, "error", "allowOrigins[0]", "asks for nothing"),
        ({"allowOrigins": [{"regex": "("}]}, "error", "allowOrigins[0].regex", "cannot be used"),
        (
            {"allowOrigins": [{"exact": "shop.example.com"}]},
            "warning",
            "allowOrigins[0]",
            "write its scheme",
        ),
        (
            {"allowOrigins": [{"prefix": "https://shop.example.com"}]},
            "warning",
            "allowOrigins[0]",
            "https://shop.example.com.evil.test too",
        ),
        (
            {"allowOrigins": [{"exact": "*"}], "allowCredentials": True},
            "warning",
            "allowCredentials",
            "with the user's cookies",
        ),
        ({**GOOD, "allowMethods": ["GE T"]}, "error", "allowMethods[0]", "no name"),
        ({**GOOD, "allowMethods": ["TRACE"]}, "warning", "allowMethods[0]", "no browser"),
        ({**GOOD, "allowHeaders": ["*", "x-a"]}, "warning", "allowHeaders[0]", "stands alone"),
        ({**GOOD, "exposeHeaders": ["a,b"]}, "error", "exposeHeaders[0]", "no name"),
        ({**GOOD, "maxAge": "1.5s"}, "error", "maxAge", "whole seconds"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(cors, severity, field, words):
    """With what to write instead."""
    [(told, at, message)] = found(cors)
    assert (told, at) == (severity, field)
    assert words in message


def test_who_may_not_speak_for_a_service_is_told():
    """Their routes hold for their own calls, their corsPolicy for nobody."""
    full = "reviews.default.svc.cluster.local"
    rule = routes({**to(full), "corsPolicy": GOOD}, host=full, namespace="other")
    told = [p for p in problems(service(), rule) if p.field.endswith("corsPolicy")]
    assert [str(p.severity) for p in told] == ["warning"]
    assert "VirtualServices of default or istio-system" in told[0].message
    at_root = routes({**to(full), "corsPolicy": GOOD}, host=full, namespace="istio-system")
    assert not [p for p in problems(service(), at_root) if p.field.endswith("corsPolicy")]
