"""Endpoints that come and go under load: no call fails but as the documentation says.

Every client calls at once, over one mesh, and shares its ledger with all the others.
"""

from __future__ import annotations

import time
from collections import Counter

import pytest
from chaos import PATIENCE_S, call, echoes, in_use, loaded, orders
from client_drivers import DRIVERS
from client_world import every_driver, route

from meshware.testing import TestMesh

pytestmark = pytest.mark.alone

FLAPS = 14
EVERY_S = 0.1
NO_RETRIES = route("timeout: 10s, retries: {attempts: 0}")
ON_CONNECT_FAILURE = route("timeout: 10s, retries: {attempts: 10, retryOn: connect-failure}")
EJECTING = (
    ", outlierDetection: {consecutive5xxErrors: 1, interval: 100ms, baseEjectionTime: 200ms, "
    "maxEjectionPercent: 100}"
)


def test_policy_that_moves_the_endpoints_all_the_time_fails_no_call():
    """Each call goes by one version of it, and those under way end where they began."""
    with echoes(2) as (a, b):
        mesh = TestMesh([orders(a), NO_RETRIES])
        with loaded(mesh) as outcomes:
            for flap in range(FLAPS):
                time.sleep(EVERY_S)
                mesh.apply([orders((b, a)[flap % 2]), NO_RETRIES])
        assert {(o.status, o.flags, o.is_right) for o in outcomes} == {(200, "-", True)}
        assert {(o.driver, o.endpoint) for o in outcomes} == {
            (driver.name, place.key) for driver in DRIVERS for place in (a, b)
        }
        assert a.count + b.count == len(outcomes)


def test_an_endpoint_that_refuses_connections_now_and_then_fails_no_call():
    """A retry on `connect-failure` finds the other one, whatever was to be sent."""
    with echoes(2) as (a, b):
        mesh = TestMesh([orders(a, b), ON_CONNECT_FAILURE])
        with loaded(mesh) as outcomes:
            for flap in range(FLAPS):
                place = (a, b)[flap % 2]
                place.tell("down")
                time.sleep(EVERY_S)
                place.tell("up")
        assert {(o.status, o.flags, o.is_right) for o in outcomes} == {(200, "-", True)}
        again = Counter(o.driver for o in outcomes if o.attempts > 1)
        assert set(again) == {driver.name for driver in DRIVERS}, "some never met a refusal"
        assert a.count + b.count == len(outcomes), "something was sent twice"


def test_without_retries_a_lost_endpoint_is_the_meshs_own_503():
    """Its connections are reset under the calls; only behind the headers it is an exception."""
    with echoes(2) as (a, b):
        mesh = TestMesh([orders(a, b), NO_RETRIES])
        with loaded(mesh, target="/5/1/0") as outcomes:
            for flap in range(10 * FLAPS):
                # Whether a call is under way just then is chance, on a busy machine more than ever.
                if flap >= FLAPS and {o.flags for o in outcomes if not o.error} >= {"UF", "UC"}:
                    break
                place = (a, b)[flap % 2]
                place.tell("cut")
                time.sleep(EVERY_S)
                place.tell("up")
        kinds = Counter((o.status, o.flags) for o in outcomes if not o.error)
        assert set(kinds) == {(200, "-"), (503, "UF"), (503, "UC")}, kinds
        assert kinds[200, "-"] > 100
        cut = [event for event in mesh.events if event.status == 200 and not event.complete]
        assert len([o for o in outcomes if o.error]) == len(cut)
        assert all(o.is_right and o.attempts == 1 for o in outcomes if not o.error)


@every_driver
@pytest.mark.parametrize("outlier", ["", EJECTING], ids=["", "ejecting"])
def test_when_all_endpoints_come_back_the_calls_do_too(driver, outlier):
    """By themselves, and soon; until then it is 503 at once: UF, and UH while all are ejected."""
    with echoes(2) as (a, b):
        policy = "loadBalancer: {simple: ROUND_ROBIN}" + outlier
        rule = route("timeout: 10s, retries: {attempts: 1, retryOn: 5xx}")
        mesh = TestMesh([orders(a, b, policy=policy), rule])
        with driver.client(mesh) as client:
            assert [call(client, "before").status for _ in range(4)] == [200] * 4
            for place in (a, b):
                place.tell("cut")
            began, seen = time.monotonic(), Counter()
            while time.monotonic() - began < 0.4:
                down = call(client, "down")
                assert down.status == 503, down
                seen[down.flags] += 1
            if outlier:
                assert "UH" in seen and {"UF,URX", "UF", "UC"} & set(seen), seen
            else:
                assert set(seen) <= {"UF,URX", "UC,URX"}, seen
            for place in (a, b):
                place.tell("up")
            began = time.monotonic()
            while (back := call(client, "back")).status != 200:
                assert back.status == 503
                assert time.monotonic() - began < 2.0, back  # out twice at most: 200 and 400 ms
            until = time.monotonic() + PATIENCE_S
            asked: set[str | None] = set()
            while asked != {a.key, b.key}:
                assert time.monotonic() < until, "one of them was not taken back"
                asked.add(call(client, "back").endpoint)
            assert in_use(mesh) == ""
