"""Whether an attempt is made again, and after how long.

Two questions, kept apart: does policy want another try (`wants_retry`, Istio's `retryOn`), and may
this request be sent again at all (`may_repeat`, ours: Envoy does not ask). Both must say yes.
"""

from __future__ import annotations

from random import Random

from meshware.call import Answer, Failure, FailureKind, HeaderLookup, RequestHead
from meshware.policy.routes import RetryRule

__all__ = ["UNCONNECTED", "backoff_s", "is_idempotent", "is_safe", "may_repeat", "wants_retry"]

# RFC 9110, 9.2.2.
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

UNCONNECTED = frozenset({FailureKind.CONNECT, FailureKind.CONNECT_TIMEOUT, FailureKind.TLS})
"""Failures before there was a connection."""

# Envoy: `5xx` and `gateway-error` take every reset and per-try time-out as well.
_ANY_FAILURE = frozenset({"5xx", "gateway-error", "reset"})

# Envoy, "x-envoy-retry-grpc-on": looked up in the response's headers, never in trailers.
_GRPC = {
    "cancelled": "1",
    "deadline-exceeded": "4",
    "resource-exhausted": "8",
    "internal": "13",
    "unavailable": "14",
}

_BACKOFF_CAP = 10  # Envoy: the longest interval is ten times the base


def wants_retry(rule: RetryRule, outcome: Answer | Failure) -> bool:
    """Say whether policy wants another try after this outcome. Source: Istio `retryOn`."""
    if isinstance(outcome, Failure):
        return _wants_after_failure(rule, outcome)
    return _wants_after_answer(rule, outcome.status, outcome.headers)


def _wants_after_failure(rule: RetryRule, failure: Failure) -> bool:
    on = rule.on
    if not on.isdisjoint(_ANY_FAILURE):
        return True
    if failure.kind in UNCONNECTED:
        return "connect-failure" in on or "reset-before-request" in on
    return "reset-before-request" in on and not failure.sent


def _wants_after_answer(rule: RetryRule, status: int, headers: HeaderLookup) -> bool:
    on = rule.on
    is_wanted = _is_named(rule, status)
    if not is_wanted and not on.isdisjoint(_GRPC):
        found = headers("grpc-status")
        is_wanted = bool(found) and any(_GRPC.get(word) == found[0] for word in on)
    if not is_wanted and "envoy-ratelimited" not in on:
        return False  # the usual answer, and no more headers are looked up for it
    if headers("x-envoy-ratelimited"):
        return "envoy-ratelimited" in on
    return is_wanted


def _is_named(rule: RetryRule, status: int) -> bool:
    on = rule.on
    if status >= 500:
        if "5xx" in on or ("gateway-error" in on and status in (502, 503, 504)):
            return True
    elif status == 409 and "retriable-4xx" in on:
        return True
    return status in rule.statuses


def is_idempotent(method: str) -> bool:
    """Say whether a method is safe to repeat by its definition. Source: RFC 9110, 9.2.2."""
    return method in _IDEMPOTENT


def is_safe(method: str, declared: bool | None) -> bool:
    """Say whether a request is safe to repeat: by a ServicePolicy's word, else by its method."""
    return is_idempotent(method) if declared is None else declared


def may_repeat(head: RequestHead, declared: bool | None, outcome: Answer | Failure) -> bool:
    """Say whether a request may be sent again after this outcome.

    A request of which no byte was sent may, whatever it is. Else it must be safe to repeat,
    declared so by a ServicePolicy or by its method, and its body must still be there.
    """
    if isinstance(outcome, Failure) and not outcome.sent:
        return True
    return is_safe(head.method, declared) and head.replayable


def backoff_s(rule: RetryRule, retry: int, rng: Random) -> float:
    """Return the wait before a retry, in seconds: full jitter over a doubling interval.

    Args:
        rule: whose `backoff_s` is the base.
        retry: 1 for the first.
        rng: the source of chance.
    Source: Envoy, `JitteredExponentialBackOffStrategy`.
    """
    ceiling: float = min((2**retry - 1) * rule.backoff_s, _BACKOFF_CAP * rule.backoff_s)
    return rng.random() * ceiling
