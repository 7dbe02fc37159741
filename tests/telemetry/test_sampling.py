"""Which calls are sampled."""

from __future__ import annotations

import pytest

from meshware.policy.telemetry_plan import TracingPlan
from meshware.telemetry.sampling import is_sampled
from meshware.testing import ScriptedRandom
from meshware.trace import TraceContext


def plan(**fields):
    return TracingPlan(provider="otel", kind="opentelemetry", **fields)


def parent(is_sampled):
    return TraceContext("1" * 32, "2" * 16, is_sampled)


TENTH = plan(sampling_ratio=0.1)


@pytest.mark.parametrize(
    ("given", "by", "drawn", "then"),
    [
        (None, TENTH, [0.09], True),
        (None, TENTH, [0.1], False),
        (None, plan(sampling_ratio=1.0), [0.999], True),
        (None, plan(sampling_ratio=0.0), [], False),
        (None, None, [], False),
        (None, plan(sampling_ratio=1.0, is_reported=False), [], False),
        (parent(True), plan(sampling_ratio=0.0), [], True),
        (parent(False), plan(sampling_ratio=1.0), [], False),
        (parent(None), TENTH, [0.05], True),
        (parent(True), None, [], False),
    ],
)
def test_a_caller_decides_and_else_chance(given, by, drawn, then):
    """No chance is drawn where somebody has decided."""
    assert is_sampled(given, by, ScriptedRandom(drawn)) is then
