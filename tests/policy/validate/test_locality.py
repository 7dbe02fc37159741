"""Preferences among localities, and warm-up, as written."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service

EJECTS = {"outlierDetection": {"maxEjectionPercent": 100}}


def found(policy: dict) -> list[tuple[str, str, str]]:
    """Severity, field below loadBalancer, and message."""
    spec = {"host": "reviews", "trafficPolicy": policy}
    prefix = "spec.trafficPolicy.loadBalancer."
    return [
        (
            str(p.severity),
            p.field.removeprefix(prefix).removeprefix("localityLbSetting."),
            p.message,
        )
        for p in problems(service(), resource("DestinationRule", spec))
    ]


def locality(**setting) -> dict:
    """A policy with a locality setting, under which endpoints may be ejected."""
    return {"loadBalancer": {"localityLbSetting": setting}, **EJECTS}


@pytest.mark.parametrize(
    "policy",
    [
        locality(enabled=False),
        locality(failover=[{"from": "eu", "to": "us"}, {"from": "us", "to": "eu"}]),
        locality(failoverPriority=["topology.kubernetes.io/region", "version=v1"]),
        locality(distribute=[{"from": "eu/*", "to": {"eu/a": 70, "us/*": 30}}]),
        {"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "*", "to": {"*": 100}}]}}},
        {"loadBalancer": {"warmup": {"duration": "30s", "minimumPercent": 0, "aggression": 1}}},
        {"loadBalancer": {"simple": "ROUND_ROBIN", "warmupDurationSecs": "30s"}},
    ],
    ids=str,
)
def test_what_istio_takes_is_taken(policy):
    """Without a word."""
    assert found(policy) == []


FAILOVER = [{"from": "eu", "to": "us"}]
DISTRIBUTE = [{"from": "eu", "to": {"us": 100}}]


@pytest.mark.parametrize(
    ("policy", "severity", "field", "words"),
    [
        (locality(distribute=DISTRIBUTE, failover=FAILOVER), "error", "localityLbSetting", "both"),
        (
            locality(failover=FAILOVER, failoverPriority=["a"]),
            "warning",
            "failover",
            "not looked at beside failoverPriority",
        ),
        (locality(enabled=False, failover=FAILOVER), "warning", "enabled", "turns off failover"),
        (
            {"loadBalancer": {"localityLbSetting": {"failover": FAILOVER}}},
            "warning",
            "localityLbSetting",
            "without outlierDetection",
        ),
        (locality(failover=[{"from": "eu/a", "to": "us"}]), "error", "failover[0].from", "region"),
        (locality(failover=[{"from": "eu", "to": "*"}]), "error", "failover[0].to", "region"),
        (locality(failover=[{"from": "eu", "to": "eu"}]), "error", "failover[0]", "both eu"),
        (
            locality(failover=[*FAILOVER, {"from": "eu", "to": "ap"}]),
            "error",
            "failover[1].from",
            "already",
        ),
        (locality(failoverPriority=["a b"]), "error", "failoverPriority[0]", "no label"),
        (locality(distribute=[{"to": {"us": 100}}]), "error", "distribute[0].from", "missing"),
        (locality(distribute=[{"from": "eu"}]), "error", "distribute[0].to", "empty"),
        (
            locality(distribute=[{"from": "*/a", "to": {"us": 100}}]),
            "error",
            "distribute[0].from",
            "only be the last part",
        ),
        (
            locality(distribute=[{"from": "eu", "to": {"us": 60}}]),
            "error",
            "distribute[0].to",
            "add up to 60",
        ),
        (
            locality(distribute=[{"from": "eu", "to": {"us": 50, "us/a": 50}}]),
            "error",
            "distribute[0].to",
            "overlap",
        ),
        (
            locality(distribute=[{"from": "eu", "to": {"us": 101, "ap": -1}}]),
            "error",
            "distribute[0].to",
            "1 to 100",
        ),
        (
            locality(distribute=[*DISTRIBUTE, {"from": "eu/a", "to": {"us": 100}}]),
            "error",
            "distribute[1].from",
            "distribute[0] is from eu already",
        ),
        ({"loadBalancer": {"warmup": {"duration": "0s"}}}, "error", "warmup.duration", "short"),
        (
            {"loadBalancer": {"warmup": {"duration": "1s", "minimumPercent": 101}}},
            "error",
            "warmup.minimumPercent",
            "0 to 100",
        ),
        (
            {"loadBalancer": {"warmup": {"duration": "1s", "aggression": 0.5}}},
            "error",
            "warmup.aggression",
            "even growth",
        ),
        (
            {"loadBalancer": {"simple": "RANDOM", "warmup": {"duration": "1s"}}},
            "warning",
            "warmup",
            "changes nothing",
        ),
        (
            {"loadBalancer": {"warmupDurationSecs": "1s", "warmup": {"duration": "1s"}}},
            "warning",
            "warmupDurationSecs",
            "not looked at",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(policy, severity, field, words):
    """With what to write instead."""
    [first, *_] = found(policy)
    assert first[0] == severity
    assert first[1].removeprefix("spec.trafficPolicy.loadBalancer.") == field
    assert words in first[2]


def test_ejection_may_be_the_destinations_and_the_setting_the_subsets():
    """A subset inherits what it leaves out."""
    spec = {
        "host": "reviews",
        "trafficPolicy": EJECTS,
        "subsets": [
            {
                "name": "v1",
                "labels": {"version": "v1"},
                "trafficPolicy": {"loadBalancer": {"localityLbSetting": {"failover": FAILOVER}}},
            }
        ],
    }
    assert problems(service(), resource("DestinationRule", spec)) == []


def test_the_meshs_own_setting_is_checked_too():
    """At its own place."""
    spec = {"localityLbSetting": {"failover": [{"from": "eu", "to": "eu"}]}}
    mesh = resource("MeshConfig", spec, "mesh", "istio-system", "meshware.dev/v1alpha1")
    [problem] = problems(mesh)
    assert problem.field == "spec.localityLbSetting.failover[0]"


@pytest.mark.parametrize(
    ("pool", "severity", "field", "words"),
    [
        ({"tcp": {"maxConnections": -1}}, "error", "tcp.maxConnections", "above 0"),
        ({"tcp": {"maxConnections": 0}}, "warning", "tcp.maxConnections", "no limit"),
        (
            {"http": {"http1MaxPendingRequests": 5}},
            "warning",
            "http.http1MaxPendingRequests",
            "tcp.maxConnections too",
        ),
        (
            {"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": -5}},
            "error",
            "http.http1MaxPendingRequests",
            "above 0",
        ),
    ],
)
def test_limits_on_connections(pool, severity, field, words):
    """Those that are none are told."""
    [(told, at, message)] = found({"connectionPool": pool})
    assert told == severity
    assert at == f"spec.trafficPolicy.connectionPool.{field}"
    assert words in message
