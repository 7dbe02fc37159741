"""Which calls are traced: the caller's decision where there is one, else chance.

Request ids carry a decision between proxies that know no trace context, in the digit where a UUID
has its version; and since all services of one request see the same id, chance that is taken from it
is the same everywhere.

Source: Istio Telemetry, `randomSamplingPercentage` and `useRequestIdForTraceSampling`; Envoy,
"Tracing" and its UUID request id extension.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from meshware.policy.telemetry_plan import TracingPlan
from meshware.trace import TraceContext

__all__ = ["is_sampled"]

_UUID = re.compile(
    r"([0-9a-f]{8})-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}", re.I
)
_DECIDED = "9abAB"  # sampled, and forced by a service or a client; of a plain UUID it is 4
_PARTS = 10_000  # of a call's chance


def is_sampled(
    parent: TraceContext | None,
    plan: TracingPlan | None,
    rng: Random,
    request_ids: Sequence[str] = (),
) -> bool:
    """Decide whether a call is sampled.

    Args:
        parent: what the caller, or whatever runs around the call, says; None: nothing.
        plan: None: no trace is begun.
        rng: drawn from where nobody has decided.
        request_ids: the values of `x-request-id`.
    """
    if plan is None or not plan.is_reported:
        return False  # nothing is told of this call; what its caller has decided is carried on
    if parent is not None and parent.is_sampled is not None:
        return parent.is_sampled
    if plan.uses_request_id and len(request_ids) == 1:
        found = _UUID.fullmatch(request_ids[0])
        if found is not None:
            share = int(found[1], 16) % _PARTS
            return found[2] in _DECIDED or share < plan.sampling_ratio * _PARTS
    return plan.sampling_ratio > 0 and rng.random() < plan.sampling_ratio
