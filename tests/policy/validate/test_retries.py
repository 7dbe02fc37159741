"""Retries, of routes and of the mesh."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, routes, service, to

WORLD = service()
PATH = "spec.http[0].retries"


def of_route(retries, timeout=None):
    """Return the problems of a route with these retries."""
    limit = {} if timeout is None else {"timeout": timeout}
    return problems(WORLD, routes({**to(), **limit, "retries": retries}))


@pytest.mark.parametrize(
    ("retries", "timeout"),
    [
        ({"attempts": 0}, None),
        ({"attempts": 2}, "10s"),
        ({"attempts": 2, "perTryTimeout": "5s", "retryOn": "5xx"}, "10s"),
        ({"attempts": 2, "perTryTimeout": "5s", "retryOn": "5xx"}, "0s"),
        ({"attempts": 2, "retryOn": "gateway-error,connect-failure,refused-stream"}, None),
        ({"attempts": 2, "retryOn": "retriable-status-codes,503,429"}, None),
        ({"attempts": 2, "retryOn": "503"}, None),
        ({"attempts": 2, "retryOn": "cancelled,deadline-exceeded,internal,unavailable"}, None),
        ({"attempts": 2, "retryOn": ""}, None),
        ({"attempts": 2, "backoff": "10ms", "retryIgnorePreviousHosts": False}, None),
    ],
    ids=str,
)
def test_good_retries_have_no_problem(retries, timeout):
    """Source: Istio HTTPRetry."""
    assert of_route(retries, timeout) == []


@pytest.mark.parametrize(
    ("retries", "field", "message"),
    [
        ({}, "attempts", "attempts is missing"),
        ({"retryOn": "5xx"}, "attempts", "attempts is missing"),
        ({"attempts": -1}, "attempts", "write 0 for no retry"),
        ({"attempts": 0, "retryOn": "5xx"}, "attempts", "remove retryOn"),
        (
            {"attempts": 0, "perTryTimeout": "1s", "backoff": "1s"},
            "attempts",
            "remove perTryTimeout and backoff",
        ),
        ({"attempts": 1, "perTryTimeout": "0s"}, "perTryTimeout", "at least 1ms"),
        ({"attempts": 1, "backoff": "0.9ms"}, "backoff", "at least 1ms"),
        ({"attempts": 1, "retryOn": "5xxx"}, "retryOn", "did you mean 5xx?"),
        ({"attempts": 1, "retryOn": "gateway_error"}, "retryOn", "did you mean gateway-error?"),
        ({"attempts": 1, "retryOn": "5XX"}, "retryOn", "did you mean 5xx?"),
        ({"attempts": 1, "retryOn": "whenever"}, "retryOn", "write some of"),
        ({"attempts": 1, "retryOn": "5xx,"}, "retryOn", "empty word"),
        ({"attempts": 1, "retryOn": "5xx, 503"}, "retryOn", "write '5xx,503'"),
        ({"attempts": 1, "retryOn": "599"}, "retryOn", "neither a condition nor an HTTP status"),
        ({"attempts": 1, "retryOn": "0"}, "retryOn", "neither a condition nor an HTTP status"),
    ],
    ids=str,
)
def test_retries_that_contradict_themselves_are_errors(retries, field, message):
    """Istio, ValidateHTTPRetry; what it reads as no retry at all is refused here."""
    [problem] = of_route(retries)
    assert brief([problem]) == [("error", "IST0106", f"{PATH}.{field}")]
    assert message in problem.message


@pytest.mark.parametrize(
    ("retries", "timeout", "severity", "field"),
    [
        (
            {"attempts": 1, "perTryTimeout": "5s", "retryOn": "5xx"},
            "5s",
            "warning",
            "perTryTimeout",
        ),
        ({"attempts": 1, "perTryTimeout": "9s"}, "5s", "warning", "perTryTimeout"),
        ({"attempts": 1, "perTryTimeout": "1s"}, "5s", "info", "perTryTimeout"),
        ({"attempts": 1, "perTryTimeout": "1s", "retryOn": "503"}, None, "info", "perTryTimeout"),
        ({"attempts": 1, "retryOn": "retriable-status-codes"}, None, "warning", "retryOn"),
        ({"attempts": 1, "retryOn": "retriable-headers"}, None, "info", "retryOn"),
        ({"attempts": 1, "retryOn": "5xx,http3-post-connect-failure"}, None, "info", "retryOn"),
    ],
    ids=str,
)
def test_retries_that_do_less_than_they_say_are_told(retries, timeout, severity, field):
    """Envoy does not look at a per-try limit above the total one, and retries few of them."""
    assert brief(of_route(retries, timeout)) == [(severity, "IST0133", f"{PATH}.{field}")]


def test_the_meshs_default_retries_are_checked_alike():
    """They stand in MeshConfig and apply to every route without its own."""
    text = resource(
        "MeshConfig",
        {"defaultHttpRetryPolicy": {"attempts": 1, "retryOn": "5yy"}},
        "mesh",
        "istio-system",
        "meshware.dev/v1alpha1",
    )
    assert brief(problems(text)) == [("error", "IST0106", "spec.defaultHttpRetryPolicy.retryOn")]
