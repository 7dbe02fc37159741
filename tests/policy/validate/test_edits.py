"""Header operations and rewrites, each by itself."""

from __future__ import annotations

import pytest
from policy_check import problems, routes, service, to


def found(route: dict) -> list[tuple[str, str, str]]:
    """Severity, field below the route, and message of what is wrong with it."""
    return [
        (str(p.severity), p.field.removeprefix("spec.http[0]."), p.message)
        for p in problems(service(), routes({**to(), **route}))
    ]


def request(**operations) -> dict:
    """A route with operations on requests."""
    return {"headers": {"request": operations}}


def matching(prefix: str, uri: str) -> dict:
    """A route that rewrites a prefix."""
    return {"match": [{"uri": {"prefix": prefix}}], "rewrite": {"uri": uri}}


@pytest.mark.parametrize(
    "route",
    [
        request(set={"x-a": "1", "Host": "a.test:8080"}, add={":authority": "b"}, remove=["x-b"]),
        request(set={"x-a": "100%% of %REQ(:path)% and %REQ(x-b?host)%"}),
        {"headers": {"response": {"set": {"cache-control": "no-store"}}}},
        matching("/api/", "/"),
        matching("/api", "/v2"),
        {"rewrite": {"authority": "a.test"}},
    ],
    ids=str,
)
def test_what_can_be_carried_out_is_taken(route):
    """Without a word."""
    assert found(route) == []


@pytest.mark.parametrize(
    ("route", "field", "words"),
    [
        (request(set={"a b": "1"}), "headers.request.set[a b]", "no name of a header"),
        (request(add={":path": "/"}), "headers.request.add[:path]", "no name of a header"),
        (request(set={"Content-Length": "5"}), "headers.request.set[Content-Length]", "break it"),
        (request(remove=["transfer-encoding"]), "headers.request.remove[0]", "break it"),
        (request(set={"a": "1\r\nb: 2"}), "headers.request.set[a]", "no header may"),
        (request(set={"host": "http://a"}), "headers.request.set[host]", "no host"),
        (request(set={"a": "50%"}), "headers.request.set[a]", "not applicable"),
        (request(set={"a": "%START_TIME%"}), "headers.request.set[a]", "'%START_TIME%'"),
        ({"rewrite": {}}, "rewrite", "changes nothing"),
        ({"rewrite": {"uri": "new"}}, "rewrite.uri", "begins with a slash"),
        ({"rewrite": {"uri": "/a?b=c"}}, "rewrite.uri", "without query"),
        ({"rewrite": {"authority": "a b"}}, "rewrite.authority", "write a host"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_cannot_be_carried_out_is_refused(route, field, words):
    """It would break the message, or go out as it stands."""
    [(severity, where, message)] = found(route)
    assert (severity, where) == ("error", field)
    assert words in message


@pytest.mark.parametrize(
    ("route", "words"),
    [
        (matching("/api", "/"), "with two slashes"),
        (matching("/api/", "/v2"), "without the slash between"),
        (request(remove=["Host"]), "cannot be removed"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_is_most_likely_a_slip_is_told(route, words):
    """Istio takes it as it stands."""
    [(severity, _, message)] = found(route)
    assert severity == "warning"
    assert words in message


@pytest.mark.parametrize(
    ("rewrite", "field", "words"),
    [
        ({"uriRegexRewrite": {"match": "/a(.*)", "rewrite": r"/b\1"}}, None, ""),
        ({"uriRegexRewrite": {"match": "/a", "rewrite": ""}}, None, ""),
        ({"uriRegexRewrite": {"rewrite": "/b"}}, "match", "match is missing"),
        ({"uriRegexRewrite": {"match": "/a"}}, "rewrite", "rewrite is missing"),
        ({"uriRegexRewrite": {"match": "(", "rewrite": "/b"}}, "match", "not closed"),
        ({"uriRegexRewrite": {"match": "a", "rewrite": r"\1"}}, "rewrite", "has no group"),
        ({"uriRegexRewrite": {"match": "a", "rewrite": "/b c"}}, "rewrite", "percent-encoded"),
        ({"uriRegexRewrite": {"match": "a", "rewrite": "/b?c"}}, "rewrite", "without query"),
        ({"uriRegexRewrite": {"match": "a", "rewrite": "/b"}, "uri": "/c"}, None, "both set"),
    ],
)
def test_a_rewrite_by_regular_expression(rewrite, field, words):
    """Both parts are there, and fit."""
    told = problems(service(), routes({**to(), "rewrite": rewrite}))
    if not words:
        assert told == []
        return
    [problem] = told
    base = "spec.http[0].rewrite."
    assert problem.field == base + (f"uriRegexRewrite.{field}" if field else "uri")
    assert words in problem.message
