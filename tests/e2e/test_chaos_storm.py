"""A service that answers nothing but 503: retries add little to its load, and it passes.

The retries at one time are at most a fifth of the requests under way, themselves included. Of four
first tries there is one second one, then: 1.25 attempts for each request, and never more.
"""

from __future__ import annotations

import time

import pytest
from chaos import CLUSTER, IS_LONG, PATIENCE_S, echoes, loaded, orders
from client_drivers import DRIVERS
from client_world import route

from meshware.testing import TestMesh

pytestmark = pytest.mark.alone

STORM_S = 30.0 if IS_LONG else 6.0
AT_ONCE = 60
THREADS = -(-AT_ONCE // len(DRIVERS))
RULE = route("timeout: 10s, retries: {attempts: 3, retryOn: 5xx, backoff: 5ms}")
BUDGET = "retryBudget: {percent: 20}"
EJECTING = (
    "outlierDetection: {consecutive5xxErrors: 5, interval: 100ms, baseEjectionTime: 100ms, "
    "maxEjectionPercent: 100}"
)


@pytest.mark.parametrize(
    ("outlier", "storm_s"), [("", STORM_S), (", " + EJECTING, STORM_S / 4)], ids=["", "ejecting"]
)
def test_a_storm_of_503_is_not_made_worse_and_passes(outlier, storm_s):
    """Over every client at once, through one budget; nobody has to do anything for the end of it.

    Answers take a while, so that as many requests as there are callers are under way.
    """
    with echoes(2) as (a, b):
        mesh = TestMesh([orders(a, b, policy=BUDGET + outlier), RULE])
        state = mesh.ledger.cluster(CLUSTER)
        with loaded(mesh, threads=THREADS, target="/30/1/0", pause_s=0.005) as outcomes:
            until = time.monotonic() + PATIENCE_S
            while len(outcomes) < 2 * AT_ONCE:  # every connection is there
                assert time.monotonic() < until
                time.sleep(0.01)
            for place in (a, b):
                place.tell("status 503")
            began_at = time.monotonic()
            most_at_once = 0
            while time.monotonic() < began_at + storm_s:
                most_at_once = max(most_at_once, state.retries())
                time.sleep(0.02)
            ended_at = time.monotonic()
            for place in (a, b):
                place.tell("status 200")
            # An ejection is longer by a tenth of a second each time, as long as the storm lasts.
            well_at = time.monotonic() + 1.0 + (storm_s if outlier else 0.0)
            while time.monotonic() < well_at + 0.5:
                time.sleep(0.01)

        storm = [o for o in outcomes if began_at <= o.began_at < ended_at]
        well = [o for o in outcomes if o.began_at >= well_at]
        assert {o.status for o in storm if o.ended_at < ended_at} == {503}
        assert {o.driver for o in storm} == {driver.name for driver in DRIVERS}
        assert most_at_once <= 0.2 * THREADS * len(DRIVERS)
        attempts = sum(o.attempts for o in storm)
        assert attempts <= 1.25 * len(storm)
        if outlier:
            assert "UH" in {o.flags for o in storm}, "nobody was ejected"
        else:
            assert attempts > len(storm), "nothing was tried again"
            refused = sum(o.flags == "UO" for o in storm)
            assert refused > len(storm) / 2, "the budget was not needed"
        assert well and {(o.status, o.attempts) for o in well} == {(200, 1)}
        assert a.count + b.count == sum(o.attempts for o in outcomes), "attempts that nobody tells"
