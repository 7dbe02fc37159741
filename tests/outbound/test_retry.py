"""Which outcomes are tried again, and after how long."""

from __future__ import annotations

from random import Random

import pytest
from outbound_world import GARBLED, REFUSED, RESET, TIMED_OUT, answered

from meshware.call import Failure, FailureKind
from meshware.outbound.retry import backoff_s, wants_retry
from meshware.policy.routes import DEFAULT_RETRY_ON, RetryRule


def rule(on: str, *, backoff: float = 0.025) -> RetryRule:
    """Return a rule with these words and codes."""
    words = on.split(",")
    return RetryRule(
        retries=2,
        per_try_timeout_s=None,
        on=frozenset(word for word in words if not word.isdigit()),
        statuses=frozenset(int(word) for word in words if word.isdigit()),
        backoff_s=backoff,
        skip_tried=True,
    )


UNSENT_RESET = Failure(FailureKind.RESET, sent=False)
TLS = Failure(FailureKind.TLS, sent=False)


@pytest.mark.parametrize(
    ("on", "outcome", "wanted"),
    [
        ("5xx", answered(500), True),
        ("5xx", answered(599), True),
        ("5xx", answered(499), False),
        ("5xx", answered(200), False),
        ("5xx", REFUSED, True),
        ("5xx", RESET, True),
        ("5xx", TIMED_OUT, True),
        ("5xx", GARBLED, True),
        ("gateway-error", answered(500), False),
        ("gateway-error", answered(502), True),
        ("gateway-error", answered(503), True),
        ("gateway-error", answered(504), True),
        ("gateway-error", RESET, True),
        ("reset", RESET, True),
        ("reset", TIMED_OUT, True),
        ("reset", answered(503), False),
        ("connect-failure", REFUSED, True),
        ("connect-failure", TLS, True),
        ("connect-failure", RESET, False),
        ("connect-failure", TIMED_OUT, False),
        ("reset-before-request", UNSENT_RESET, True),
        ("reset-before-request", RESET, False),
        ("retriable-4xx", answered(409), True),
        ("retriable-4xx", answered(404), False),
        ("retriable-status-codes", answered(503), False),
        ("retriable-status-codes,418", answered(418), True),
        ("5xx", answered(503, x_envoy_ratelimited="true"), False),
        ("envoy-ratelimited", answered(429, x_envoy_ratelimited="true"), True),
        ("unavailable", answered(200, grpc_status="14"), True),
        ("unavailable", answered(200, grpc_status="13"), False),
        ("cancelled", answered(200, grpc_status="1"), True),
        ("deadline-exceeded", answered(200, grpc_status="4"), True),
        ("resource-exhausted", answered(200, grpc_status="8"), True),
        ("internal", answered(200, grpc_status="13"), True),
        (DEFAULT_RETRY_ON, REFUSED, True),
        (DEFAULT_RETRY_ON, answered(503), False),
        (DEFAULT_RETRY_ON, TIMED_OUT, False),
        (DEFAULT_RETRY_ON, answered(200, grpc_status="14"), True),
    ],
)
def test_retry_on(on, outcome, wanted):
    """Source: Istio `retryOn`, Envoy `x-envoy-retry-on` and `x-envoy-retry-grpc-on`."""
    assert wants_retry(rule(on), outcome) is wanted


@pytest.mark.parametrize(
    ("retry", "ceiling"), [(1, 0.025), (2, 0.075), (3, 0.175), (4, 0.25), (9, 0.25)]
)
def test_the_wait_is_drawn_below_a_doubling_ceiling(retry, ceiling):
    """Full jitter: anywhere from 0 up to (2^n - 1) times the base, capped at ten times it."""
    rng = Random(5)
    waits = [backoff_s(rule("5xx"), retry, rng) for _ in range(2000)]
    assert 0 <= min(waits) < 0.05 * ceiling
    assert 0.95 * ceiling < max(waits) < ceiling
