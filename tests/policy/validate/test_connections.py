"""connectionPool as written: ranges, and what nobody wants."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service

PREFIX = "spec.trafficPolicy.connectionPool."


def found(**pool) -> list[tuple[str, str, str]]:
    """Severity, field below connectionPool, and message."""
    spec = {"host": "reviews", "trafficPolicy": {"connectionPool": pool}}
    told = problems(service(), resource("DestinationRule", spec))
    return [(str(p.severity), p.field.removeprefix(PREFIX), p.message) for p in told]


@pytest.mark.parametrize(
    "pool",
    [
        {"tcp": {"idleTimeout": "4s", "maxConnectionDuration": "1ms"}},
        {"http": {"idleTimeout": "1ms", "maxRequestsPerConnection": 1}},
        {"tcp": {"tcpKeepalive": {}}},
        {"tcp": {"tcpKeepalive": {"probes": 127, "time": "9h", "interval": "1s"}}},
        {"http": {"h2UpgradePolicy": "DO_NOT_UPGRADE", "useClientProtocol": True}},
        {"http": {"h2UpgradePolicy": "DEFAULT", "maxConcurrentStreams": 100}},
        {"http": {"maxRequestsPerConnection": 0}},
    ],
    ids=str,
)
def test_what_can_be_is_taken(pool):
    """Without a word."""
    assert found(**pool) == []


@pytest.mark.parametrize(
    ("pool", "field", "words"),
    [
        ({"tcp": {"idleTimeout": "0.1ms"}}, "tcp.idleTimeout", "0s for no limit"),
        ({"http": {"idleTimeout": "0s"}}, "http.idleTimeout", "0s in tcp.idleTimeout"),
        ({"tcp": {"maxConnectionDuration": "0s"}}, "tcp.maxConnectionDuration", "at least 1ms"),
        (
            {"tcp": {"tcpKeepalive": {"time": "0s"}}},
            "tcp.tcpKeepalive.time",
            "at least 1ms",
        ),
        (
            {"tcp": {"tcpKeepalive": {"interval": "10h"}}},
            "tcp.tcpKeepalive.interval",
            "32767s",
        ),
        ({"tcp": {"tcpKeepalive": {"probes": 128}}}, "tcp.tcpKeepalive.probes", "1 to 127"),
        ({"tcp": {"tcpKeepalive": {"probes": -1}}}, "tcp.tcpKeepalive.probes", "1 to 127"),
        (
            {"http": {"maxRequestsPerConnection": -1}},
            "http.maxRequestsPerConnection",
            "above 0",
        ),
        ({"http": {"maxConcurrentStreams": -1}}, "http.maxConcurrentStreams", "above 0"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(pool, field, words):
    """With a remedy."""
    [(severity, where, message)] = found(**pool)
    assert (severity, where) == ("error", field)
    assert words in message


@pytest.mark.parametrize(
    ("pool", "severity", "field", "words"),
    [
        ({"tcp": {"idleTimeout": "5s"}}, "info", "tcp.idleTimeout", "remove it for 4s"),
        ({"tcp": {"idleTimeout": "0s"}}, "info", "tcp.idleTimeout", "remove it for 4s"),
        ({"http": {"idleTimeout": "1h"}}, "info", "http.idleTimeout", "remove it for 4s"),
        (
            {"tcp": {"tcpKeepalive": {"time": "500ms"}}},
            "warning",
            "tcp.tcpKeepalive.time",
            "counts as 1s",
        ),
        (
            {"tcp": {"tcpKeepalive": {"interval": "2.5s"}}},
            "warning",
            "tcp.tcpKeepalive.interval",
            "counts as 2s",
        ),
    ],
    ids=str,
)
def test_what_is_better_known_is_told(pool, severity, field, words):
    """And taken."""
    [(told, where, message)] = found(**pool)
    assert (told, where) == (severity, field)
    assert words in message


def test_an_upgrade_to_http2_changes_nothing():
    """And nothing is ignored in silence."""
    [(severity, field, message)] = found(http={"h2UpgradePolicy": "UPGRADE"})
    assert (severity, field) == ("warning", "http.h2UpgradePolicy")
    assert "clients speak HTTP/1.1" in message
