"""What is picked of calls and traces, and what came since."""

from __future__ import annotations

import pytest

from meshware.dashboard.listing import calls_of, cursor, since_of, traces_of, wanted


def call(seen: int, **said) -> dict:
    """A call, as the console tells it."""
    return {
        "seen": seen, "namespace": "shop", "workload": "web", "direction": "inbound",
        "service": None, "host": "web", "reason": "rbac_access_denied", "policy": "shop/doors",
        "flags": "-", "exception": None,
    } | said  # fmt: skip


OUT = call(3, direction="outbound", service="orders.shop.svc.cluster.local:80", host="orders",
           reason="response_timeout", policy=None, flags="UT")  # fmt: skip
CALLS = [OUT, call(2, namespace="jobs", workload="nightly"), call(1, exception="ValueError")]


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ({}, [3, 2, 1]), ({"namespace": "jobs"}, [2]), ({"service": "web"}, [3, 1]),
        ({"service": "shop/web"}, [3, 1]), ({"service": "orders"}, [3]),
        ({"service": "orders.shop.svc.cluster.local"}, [3]), ({"service": "nobody"}, []),
        ({"reason": "UT"}, [3]), ({"reason": "DOORS"}, [2, 1]), ({"reason": "valueerror"}, [1]),
        ({"direction": "outbound"}, [3]), ({"limit": "2"}, [3, 2]),
    ],
    ids=str,
)  # fmt: skip
def test_calls_are_picked_by_who_and_why(asked, seen):
    want = wanted(asked)
    assert [each["seen"] for each in calls_of(CALLS, want, 0)] == seen


@pytest.mark.parametrize(
    "asked",
    [
        {"limit": "0"}, {"limit": "1001"}, {"limit": "x"}, {"limit": "٣"}, {"direction": "up"},
        {"service": "x" * 301}, {"since": "x" * 301},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_asked_is_said(asked):
    assert isinstance(wanted(asked), str)


def test_what_came_since_is_told_by_a_cursor():
    assert since_of(cursor("abc", 2), "abc") == 2
    assert [each["seen"] for each in calls_of(CALLS, wanted({}), 2)] == [3]


@pytest.mark.parametrize("text", ["", "abc", "abc.", "abc.x", "xyz.2", "abc.-1", "abc." + "9" * 40])
def test_a_cursor_of_another_life_means_everything(text):
    assert since_of(text, "abc") == 0


def test_traces_are_picked_by_who_took_part_and_by_failure():
    traces = [
        {"seen": 2, "is_failed": True, "services": ["shop/orders", "shop/web"]},
        {"seen": 1, "is_failed": False, "services": ["jobs/nightly"]},
    ]

    def seen(**asked: str) -> list[int]:
        return [each["seen"] for each in traces_of(traces, wanted(asked), 0)]

    assert seen() == [2, 1]
    assert seen(errors="1") == [2]
    assert seen(errors="0") == [2, 1]
    assert seen(namespace="jobs") == [1]
    assert seen(service="orders") == seen(service="shop/orders") == [2]
    assert [each["seen"] for each in traces_of(traces, wanted({}), 1)] == [2]
