"""Consistent hashing as written."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service


def found(**load_balancer) -> list[tuple[str, str, str]]:
    """Severity, field below loadBalancer, and message."""
    spec = {"host": "reviews", "trafficPolicy": {"loadBalancer": load_balancer}}
    prefix = "spec.trafficPolicy.loadBalancer"
    return [
        (str(p.severity), p.field.removeprefix(prefix).lstrip("."), p.message)
        for p in problems(service(), resource("DestinationRule", spec))
    ]


@pytest.mark.parametrize(
    "hashing",
    [
        {"httpHeaderName": "x-user"},
        {"httpQueryParameterName": "user", "maglev": {"tableSize": 5003}},
        {"useSourceIp": True, "ringHash": {"minimumRingSize": 2048}},
        {"httpCookie": {"name": "who", "ttl": "0s", "path": "/"}},
    ],
    ids=str,
)
def test_what_can_be_hashed_by_is_taken(hashing):
    """Without a word."""
    assert found(consistentHash=hashing) == []


@pytest.mark.parametrize(
    ("hashing", "field", "words"),
    [
        ({}, "", "nothing to hash by"),
        ({"httpHeaderName": "a", "useSourceIp": True}, "", "both set"),
        ({"httpHeaderName": "a b"}, "httpHeaderName", "no name of a header"),
        ({"httpCookie": {"name": "a;b", "ttl": "0s"}}, "httpCookie.name", "no name of a cookie"),
        (
            {"httpCookie": {"name": "a", "ttl": "0s", "path": "/; Secure"}},
            "httpCookie.path",
            "no cookie may",
        ),
        (
            {"httpCookie": {"name": "a", "ttl": "0s", "attributes": [{"name": "x\r\ny"}]}},
            "httpCookie.attributes[0]",
            "no attribute",
        ),
        ({"useSourceIp": True, "maglev": {"tableSize": 1000}}, "maglev.tableSize", "a prime"),
        (
            {"useSourceIp": True, "ringHash": {"minimumRingSize": 10**7}},
            "ringHash.minimumRingSize",
            "up to 65536",
        ),
        ({"useSourceIp": True, "ringHash": {}, "maglev": {}}, "", "ringHash and maglev"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_hashed_by_is_refused(hashing, field, words):
    """With its place and a remedy."""
    [(severity, where, message)] = found(consistentHash=hashing)
    assert (severity, where) == ("error", f"consistentHash.{field}".rstrip("."))
    assert words in message


def test_two_balancers_are_one_too_many():
    """`simple` is not looked at beside a hash, whichever was meant."""
    told = found(simple="RANDOM", consistentHash={"useSourceIp": True})
    assert [(severity, where) for severity, where, _ in told] == [("error", "")]


def test_a_cookie_that_is_never_made_needs_no_path():
    """Without ttl only the cookies that callers bring count."""
    told = found(consistentHash={"httpCookie": {"name": "a", "path": "/"}})
    assert [(severity, where) for severity, where, _ in told] == [
        ("warning", "consistentHash.httpCookie")
    ]
