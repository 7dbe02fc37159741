"""Outlier detection as written: ranges, and what would never happen."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service


def found(endpoints: int = 2, **outlier) -> list[tuple[str, str, str]]:
    """Severity, field below outlierDetection, and message."""
    listed = [{"address": f"10.0.0.{n + 1}"} for n in range(endpoints)]
    spec = {"host": "reviews", "trafficPolicy": {"outlierDetection": outlier}}
    told = problems(service(endpoints=listed), resource("DestinationRule", spec))
    prefix = "spec.trafficPolicy.outlierDetection"
    return [(str(p.severity), p.field.removeprefix(prefix).lstrip("."), p.message) for p in told]


@pytest.mark.parametrize(
    "outlier",
    [
        {"maxEjectionPercent": 50},
        {"maxEjectionPercent": 100, "consecutive5xxErrors": 1, "interval": "1s"},
        {"maxEjectionPercent": 100, "consecutiveGatewayErrors": 3, "minHealthPercent": 30},
        {
            "maxEjectionPercent": 100,
            "splitExternalLocalOriginErrors": True,
            "consecutiveLocalOriginFailures": 2,
        },
    ],
    ids=str,
)
def test_what_can_happen_is_taken(outlier):
    """Without a word."""
    assert found(**outlier) == []


def test_ten_endpoints_are_enough_for_the_default():
    """`{}` turns it on, with ten percent."""
    assert found(10) == []
    [(severity, field, message)] = found(9)
    assert (severity, field) == ("warning", "maxEjectionPercent")
    assert message.endswith("write at least 12")


@pytest.mark.parametrize(
    ("outlier", "field", "words"),
    [
        ({"interval": "0.1ms"}, "interval", "at least 1ms"),
        ({"baseEjectionTime": "0s"}, "baseEjectionTime", "at least 1ms"),
        ({"consecutive5xxErrors": -1}, "consecutive5xxErrors", "0 for off"),
        ({"minHealthPercent": 101}, "minHealthPercent", "0 to 100"),
        ({"maxEjectionPercent": 101}, "maxEjectionPercent", "0 to 100"),
    ],
    ids=str,
)
def test_what_is_out_of_range_is_refused(outlier, field, words):
    """With a remedy."""
    [(severity, where, message)] = found(**{"maxEjectionPercent": 100, **outlier})
    assert (severity, where) == ("error", field)
    assert words in message


@pytest.mark.parametrize(
    ("outlier", "field", "words"),
    [
        ({"maxEjectionPercent": 0}, "maxEjectionPercent", "counts as not written"),
        ({"consecutiveLocalOriginFailures": 3}, "consecutiveLocalOriginFailures", "only beside"),
        ({"consecutiveGatewayErrors": 5}, "consecutiveGatewayErrors", "eject first"),
        ({"consecutive5xxErrors": 0}, "", "nobody is ever ejected"),
    ],
    ids=str,
)
def test_what_has_no_effect_is_doubted(outlier, field, words):
    """Istio takes it as it stands."""
    told = found(20, **{"maxEjectionPercent": 100, **outlier})
    assert [(severity, where) for severity, where, m in told if words in m] == [("warning", field)]
