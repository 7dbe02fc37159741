"""How much a cluster takes at once, of requests and of retries: connectionPool and retryBudget.

Source: Istio ConnectionPoolSettings, TrafficPolicy.RetryBudget; Envoy circuit breakers. As there, a
0 counts as not written, limits are those of one process, and a cluster is one subset of a service.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshware.policy.document.destination_rule import ConnectionPoolSettings, RetryBudget

__all__ = ["Budget", "Limits", "compile_budget", "compile_limits"]

_PERCENT, _LEAST = 20.0, 3  # Envoy, RetryBudget


@dataclass(frozen=True, slots=True)
class Budget:
    """How many retries may run at once, by the requests that do."""

    ratio: float  # of the active requests, 0..1
    least: int  # this many always may


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be going on at once. None: as much as there is."""

    requests: int | None
    retries: int | None
    budget: Budget | None  # in place of `retries`
    connections: int | None = None  # of HTTP/1.1, so requests under way; more of them wait
    pending: int | None = None  # requests that wait


_NONE = Limits(None, None, None)


def compile_limits(pool: ConnectionPoolSettings | None, budget: RetryBudget | None) -> Limits:
    """Return the limits of a cluster."""
    http = pool.http if pool is not None else None
    tcp = pool.tcp if pool is not None else None
    if http is None and tcp is None and budget is None:
        return _NONE
    return Limits(
        requests=(http.http2_max_requests if http else None) or None,
        retries=(http.max_retries if http else None) or None,
        budget=compile_budget(budget),
        connections=(tcp.max_connections if tcp else None) or None,
        pending=(http.http1_max_pending_requests if http else None) or None,
    )


def compile_budget(written: RetryBudget | None) -> Budget | None:
    """Return how many retries may run at once; None: nothing is said."""
    if written is None:
        return None
    percent = _PERCENT if written.percent is None else written.percent
    least = written.min_retry_concurrency
    return Budget(percent / 100, _LEAST if least is None else least)
