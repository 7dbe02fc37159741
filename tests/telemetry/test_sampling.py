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
        (parent(True), plan(is_reported=False), [], False),
        (parent(True), plan(sampling_ratio=0.0), [], True),
        (parent(False), plan(sampling_ratio=1.0), [], False),
        (parent(None), TENTH, [0.05], True),
        (parent(True), None, [], False),
    ],
)
def test_a_caller_decides_and_else_chance(given, by, drawn, then):
    """No chance is drawn where somebody has decided."""
    assert is_sampled(given, by, ScriptedRandom(drawn)) is then


def request_id(first="00000000", version="4"):
    return f"{first}-1111-{version}222-8333-444444444444"


FEW = f"{999:08x}"  # the first tenth of ten thousand
MORE = f"{1000:08x}"


@pytest.mark.parametrize(
    ("ids", "by", "drawn", "then"),
    [
        ([request_id(FEW)], TENTH, [], True),
        ([request_id(MORE)], TENTH, [], False),
        ([request_id(f"{10_999:08X}")], TENTH, [], True),
        ([request_id(MORE, "9")], TENTH, [], True),
        ([request_id(MORE, "a")], TENTH, [], True),
        ([request_id(MORE, "B")], TENTH, [], True),
        ([request_id(MORE, "7")], TENTH, [], False),
        ([request_id(MORE)], plan(sampling_ratio=1.0), [], True),
        ([request_id("00000000")], plan(sampling_ratio=0.0), [], False),
        ([request_id(MORE, "9")], plan(is_reported=False), [], False),
        ([request_id(MORE, "9")], plan(sampling_ratio=0.1, uses_request_id=False), [0.5], False),
        (["order-17"], TENTH, [0.05], True),
        (["order-17"], TENTH, [0.5], False),
        ([request_id(MORE, "9")] * 2, TENTH, [0.5], False),
        ([request_id(MORE) + "\n"], TENTH, [0.05], True),
    ],
)
def test_a_request_id_says_the_same_to_all_services(ids, by, drawn, then):
    """What is no UUID says nothing, and two say nothing either."""
    assert is_sampled(None, by, ScriptedRandom(drawn), ids) is then


@pytest.mark.parametrize("decided", [True, False])
def test_a_trace_context_counts_over_a_request_id(decided):
    """It is the newer word."""
    ids = [request_id(MORE if decided else FEW)]
    assert is_sampled(parent(decided), TENTH, ScriptedRandom([]), ids) is decided
