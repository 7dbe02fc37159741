"""Which calls are traced: the caller's decision where there is one, else chance."""

from __future__ import annotations

from random import Random

from meshware.policy.telemetry_plan import TracingPlan
from meshware.trace import TraceContext

__all__ = ["is_sampled"]


def is_sampled(parent: TraceContext | None, plan: TracingPlan | None, rng: Random) -> bool:
    """Decide whether a call is sampled.

    Args:
        parent: what the caller, or whatever runs around the call, says; None: nothing.
        plan: None: no trace is begun.
        rng: drawn from where nobody has decided.
    Source: Istio Telemetry, `randomSamplingPercentage`; Envoy, "Tracing".
    """
    if plan is None:
        return False
    if parent is not None and parent.is_sampled is not None:
        return parent.is_sampled
    if not plan.is_reported:  # nothing is told of this call, so nothing is asked of others
        return False
    return plan.sampling_ratio > 0 and rng.random() < plan.sampling_ratio
