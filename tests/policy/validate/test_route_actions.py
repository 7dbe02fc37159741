"""Faults, redirects and direct responses, each by itself."""

from __future__ import annotations

import pytest
from policy_check import problems, routes, service, to


def found(route: dict) -> list[tuple[str, str, str]]:
    """Severity, field below the route, and message of what is wrong with it."""
    prefix = "spec.http[0]"
    return [
        (str(p.severity), p.field.removeprefix(prefix).lstrip("."), p.message)
        for p in problems(service(), routes(route))
    ]


ALWAYS = {"percentage": {"value": 100}}


@pytest.mark.parametrize(
    "route",
    [
        {"redirect": {"uri": "/new", "redirectCode": 308}},
        {"redirect": {"derivePort": "FROM_REQUEST_PORT"}},
        {"redirect": {"scheme": "https", "authority": "shop.test:8443"}},
        {"directResponse": {"status": 404}},
        {"directResponse": {"status": 200, "body": {"bytes": "AAA="}}},
        {**to(), "fault": {"delay": {"fixedDelay": "1ms", **ALWAYS}}},
        {**to(), "fault": {"abort": {"httpStatus": 599, **ALWAYS}}},
        {**to(), "fault": {"abort": {"grpcStatus": "UNAVAILABLE", **ALWAYS}}},
    ],
    ids=str,
)
def test_what_istio_takes_is_taken(route):
    """Without a word."""
    assert found(route) == []


@pytest.mark.parametrize(
    ("route", "field", "words"),
    [
        ({**to(), "redirect": {"uri": "/new"}}, "", "route and redirect stand in one route"),
        ({"redirect": {"uri": "/n"}, "directResponse": {"status": 200}}, "", "redirect and direct"),
        ({"redirect": {}}, "redirect", "leads nowhere"),
        ({"redirect": {"uri": "/n", "redirectCode": 304}}, "redirect.redirectCode", "is 304"),
        ({"redirect": {"uri": "new"}}, "redirect.uri", "begins with a slash"),
        ({"redirect": {"uri": "/a b"}}, "redirect.uri", "percent-encoded"),
        ({"redirect": {"uri": "%PREFIX()%/x"}}, "redirect.uri", "for gateways"),
        ({"redirect": {"scheme": "ftp"}}, "redirect.scheme", "http or https"),
        ({"redirect": {"authority": "http://x"}}, "redirect.authority", "write a host"),
        ({"redirect": {"authority": "a\r\nb"}}, "redirect.authority", "write a host"),
        (
            {"redirect": {"port": 81, "derivePort": "FROM_REQUEST_PORT"}},
            "redirect.derivePort",
            "both set",
        ),
        ({"redirect": {"uri": "/n"}, "fault": {"abort": {"httpStatus": 500, **ALWAYS}}}, "fault",
         "answers at once"),
        ({"directResponse": {"status": 99}}, "directResponse.status", "200 to 599"),
        ({"directResponse": {"status": 600}}, "directResponse.status", "200 to 599"),
        (
            {"directResponse": {"status": 200, "body": {"string": "a", "bytes": "AAA="}}},
            "directResponse.body",
            "both set",
        ),
        (
            {"directResponse": {"status": 200, "body": {"bytes": "no!"}}},
            "directResponse.body.bytes",
            "not base64",
        ),
        (
            {"directResponse": {"status": 200, "body": {"string": "x" * (1024 * 1024 + 1)}}},
            "directResponse.body",
            "more than 1 MiB",
        ),
        ({**to(), "fault": {}}, "fault", "is empty"),
        ({**to(), "fault": {"delay": ALWAYS}}, "fault.delay", "no fixedDelay"),
        (
            {**to(), "fault": {"delay": {"fixedDelay": "0.1ms", **ALWAYS}}},
            "fault.delay.fixedDelay",
            "at least 1ms",
        ),
        ({**to(), "fault": {"abort": ALWAYS}}, "fault.abort", "needs httpStatus or grpcStatus"),
        (
            {**to(), "fault": {"abort": {"httpStatus": 500, "grpcStatus": "OK", **ALWAYS}}},
            "fault.abort",
            "and not both",
        ),
        (
            {**to(), "fault": {"abort": {"httpStatus": 700, **ALWAYS}}},
            "fault.abort.httpStatus",
            "200 to 599",
        ),
        (
            {**to(), "fault": {"abort": {"grpcStatus": "unavailable", **ALWAYS}}},
            "fault.abort.grpcStatus",
            "UNAVAILABLE",
        ),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
def test_what_cannot_be_carried_out_is_refused(route, field, words):
    """With its place and a remedy."""
    told = [(severity, where) for severity, where, message in found(route) if words in message]
    assert told == [("error", field)]


@pytest.mark.parametrize(
    ("route", "field", "words"),
    [
        ({**to(), "fault": {"delay": {"fixedDelay": "1s"}}}, "fault.delay", "never happens"),
        ({**to(), "fault": {"abort": {"httpStatus": 500}}}, "fault.abort", "never happens"),
        (
            {**to(), "fault": {"delay": {"fixedDelay": "1s", "percent": 5, **ALWAYS}}},
            "fault.delay.percent",
            "not looked at",
        ),
        ({"redirect": {"uri": "/n"}, "timeout": "5s"}, "timeout", "does nothing beside redirect"),
        (
            {"directResponse": {"status": 200, "body": {"string": "x" * 200_000}}},
            "directResponse.body",
            "more than 100 KiB",
        ),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_has_no_effect_is_doubted(route, field, words):
    """Istio takes it, and its author surely meant something else."""
    told = [(severity, where) for severity, where, message in found(route) if words in message]
    assert told == [("warning", field)]
