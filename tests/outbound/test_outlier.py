"""Outlier detection: who is taken out, for how long, and who never is."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from outbound_world import ONLY_SERVICE, RESET, TIMED_OUT, World, answered

from meshware.call import Deliver, Ended, FailureKind, Reply, Send
from meshware.outbound.outlier import OutlierState, eject_for_s, status_of
from meshware.policy.document.destination_rule import OutlierDetection
from meshware.policy.outlier_rule import OutlierRule, compile_outlier

A, B, C = "a", "b", "c"


def rule(**written) -> OutlierRule:
    """Istio's defaults, but for what is written, and everybody may be ejected."""
    found = compile_outlier(OutlierDetection(**{"max_ejection_percent": 100, **written}))
    assert found is not None
    return found


class Cluster:
    """Endpoints under one rule, and a clock."""

    def __init__(self, made: OutlierRule, *keys: str) -> None:
        self.rule, self.keys, self.now = made, frozenset(keys or (A, B)), 0.0
        self.state = OutlierState()
        self.out()  # the sweeps count from the first call

    def see(self, *outcomes: int | None, key: str = A) -> None:
        """Count outcomes: statuses, None for no answer."""
        for outcome in outcomes:
            if outcome is None:
                self.state.failed(key, self.keys, self.rule, self.now)
            else:
                self.state.answered(key, outcome, self.keys, self.rule, self.now)

    def out(self) -> set[str]:
        """Who is ejected now."""
        return set(self.state.ejected(self.keys, self.rule, self.now))


# --- what counts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "outcomes", "is_ejected"),
    [
        ({}, [500] * 5, True),
        ({}, [500] * 4, False),
        ({}, [500, 500, 200, 500, 500, 500], False),
        ({}, [500, 500, 404, 500, 500, 500, 500, 500], True),
        ({}, [501, 502, 503, 599, None], True),
        ({"consecutive_5xx_errors": 1}, [500], True),
        ({"consecutive_5xx_errors": 1}, [None], True),
        ({"consecutive_5xx_errors": 0}, [500] * 50, False),
        ({"consecutive_gateway_errors": 2}, [502, 504], True),
        ({"consecutive_gateway_errors": 2}, [503, None], True),
        ({"consecutive_gateway_errors": 2}, [502, 500, 502], False),
        ({"consecutive_gateway_errors": 2, "consecutive_5xx_errors": 0}, [500] * 9, False),
        ({"split_external_local_origin_errors": True}, [None] * 5, True),
        ({"split_external_local_origin_errors": True}, [500, 500, 500, 500, None, None], False),
        ({"split_external_local_origin_errors": True}, [None] * 4 + [500] + [None] * 4, False),
        (
            {
                "split_external_local_origin_errors": True,
                "consecutive_local_origin_failures": 2,
            },
            [None, None],
            True,
        ),
        ({"consecutive_local_origin_failures": 1}, [None], False),
    ],
    ids=str,
)
def test_failures_in_a_row_eject(written, outcomes, is_ejected):
    """Any success begins the count anew; which failures count is told by the rule."""
    cluster = Cluster(rule(**written))
    cluster.see(*outcomes)
    assert cluster.out() == ({A} if is_ejected else set())


def test_an_ejection_begins_the_count_anew():
    """An attempt that was under way when it came ejects nobody twice."""
    cluster = Cluster(rule(consecutive_5xx_errors=2))
    cluster.see(500, 500, 500)
    cluster.now = 40.0
    assert cluster.out() == set()
    cluster.see(500)
    assert cluster.out() == set()


# --- how many -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("percent", "count", "most"),
    [(10, 9, 0), (10, 10, 1), (10, 20, 2), (50, 2, 1), (50, 3, 1), (34, 3, 1), (100, 3, 3)],
)
def test_no_more_than_a_share_is_ejected(percent, count, most):
    """The one that would go over the share stays: with few endpoints the default ejects nobody."""
    keys = [f"e{number}" for number in range(count)]
    cluster = Cluster(rule(consecutive_5xx_errors=1, max_ejection_percent=percent), *keys)
    for key in keys:
        cluster.see(500, key=key)
    assert len(cluster.out()) == most


@pytest.mark.parametrize(("percent", "count"), [(10, 9), (10, 10), (50, 3), (100, 3)])
def test_an_ejection_on_request_obeys_the_share_as_any_other(percent, count):
    """`meshware explain` asks what would be: no more go out than failures could eject."""
    keys = [f"e{number}" for number in range(count)]
    failing, asked = (
        Cluster(rule(consecutive_5xx_errors=1, max_ejection_percent=percent), *keys)
        for _ in range(2)
    )
    for key in keys:
        failing.see(500, key=key)
    done = [key for key in keys if asked.state.eject(key, asked.keys, asked.rule, asked.now)]
    assert set(done) == asked.out() == failing.out()
    assert all(asked.state.eject(key, asked.keys, asked.rule, asked.now) for key in done)


def test_with_too_few_healthy_ones_all_are_used():
    """`minHealthPercent`: better a bad answer than no endpoint; off by default."""
    cluster = Cluster(rule(consecutive_5xx_errors=1, min_health_percent=50), A, B, C)
    cluster.see(500, key=A)
    assert cluster.out() == {A}
    cluster.see(500, key=B)
    assert cluster.out() == set()


@given(
    st.integers(1, 12),
    st.integers(1, 100),
    st.lists(st.tuples(st.integers(0, 11), st.sampled_from([200, 500, None]), st.floats(0, 20))),
)
def test_the_ejected_share_is_never_over_its_cap(count, percent, happenings):
    """Whatever happens, and in whichever order."""
    keys = [f"e{number}" for number in range(count)]
    cluster = Cluster(rule(consecutive_5xx_errors=2, max_ejection_percent=percent), *keys)
    for number, outcome, later_s in happenings:
        cluster.now += later_s
        cluster.see(outcome, key=keys[number % count])
        assert 100 * len(cluster.out()) <= percent * count


# --- how long -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "base", "seconds"),
    [(1, 30.0, 30.0), (2, 30.0, 60.0), (10, 30.0, 300.0), (11, 30.0, 300.0), (1, 400.0, 400.0),
     (2, 400.0, 400.0)],
)  # fmt: skip
def test_each_ejection_in_a_row_is_longer(times, base, seconds):
    """Base times their number, at most 300 s or the base."""
    assert eject_for_s(times, rule(base_ejection_time=base)) == seconds


def test_an_endpoint_comes_back_at_the_first_sweep_behind_its_time():
    """Sweeps are at every `interval`, counted from the first call."""
    cluster = Cluster(rule(consecutive_5xx_errors=1, interval=10.0, base_ejection_time=25.0))
    cluster.now = 3.0
    cluster.see(500)
    for now, is_out in ((3.0, True), (28.5, True), (29.9, True), (30.0, False)):
        cluster.now = now
        assert (cluster.out() == {A}) is is_out, now


def test_ejections_in_a_row_are_forgiven_one_at_each_sweep():
    """Three in a row and two quiet sweeps: the next one counts as the second."""
    cluster = Cluster(rule(consecutive_5xx_errors=1, interval=10.0, base_ejection_time=10.0))
    for expected in (10.0, 20.0, 30.0):
        cluster.see(500)
        cluster.now += expected - 0.5
        assert cluster.out() == {A}
        cluster.now += 0.5
        assert cluster.out() == set()
    cluster.now += 20.0
    cluster.out()
    cluster.see(500)
    cluster.now += 19.5
    assert cluster.out() == {A}
    cluster.now += 0.5
    assert cluster.out() == set()


def test_a_long_quiet_time_is_made_up_for_at_once():
    """No timer runs: what was due is done at the next call."""
    cluster = Cluster(rule(consecutive_5xx_errors=1))
    cluster.see(500)
    cluster.now = 1e9
    assert cluster.out() == set()


# --- in the exchange ------------------------------------------------------------------------------

OUTLIER = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders-outlier}}
spec:
  host: orders
  trafficPolicy:
    loadBalancer: {{simple: ROUND_ROBIN}}
    outlierDetection: {outlier}
"""


def world(**outlier) -> World:
    """Two endpoints that are ejected at the first error."""
    written = {"consecutive5xxErrors": 1, "maxEjectionPercent": 100, **outlier}
    policy = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http: [{route: [{destination: {host: orders}}], timeout: 5s, retries: {attempts: 0}}]
"""
    made = World(policy)
    made.mesh.apply([ONLY_SERVICE, policy, OUTLIER.format(outlier=json.dumps(written))])
    return made


def call(made: World, outcome) -> str | None:
    """Make one call with this outcome; return the address that was asked, None for nobody."""
    flow = made.exchange()
    action = next(flow)
    if isinstance(action, Reply):
        assert (action.status, action.info.flags) == (503, "UH")
        flow.close()
        return None
    assert isinstance(action, Send)
    if isinstance(flow.send(outcome), Deliver):
        with pytest.raises(StopIteration):
            flow.send(Ended())
    else:
        flow.close()
    return action.address


@pytest.mark.parametrize("bad", [answered(503), RESET, TIMED_OUT], ids=["503", "reset", "time-out"])
def test_an_ejected_endpoint_is_asked_no_more(bad):
    """Until it comes back, and then it takes turns again, one at a time."""
    made = world(baseEjectionTime="30s")
    first = call(made, bad)
    others = {call(made, answered(200)) for _ in range(6)}
    assert len(others) == 1 and first not in others
    made.clock.advance(40.0)
    later = [call(made, answered(200)) for _ in range(6)]
    assert later.count(first) == 3


def test_with_everybody_ejected_there_is_no_healthy_upstream():
    """Envoy's answer, unless `minHealthPercent` says otherwise."""
    made = world()
    assert {call(made, answered(500)), call(made, answered(500))} == {"10.0.0.1", "10.0.0.2"}
    assert call(made, answered(200)) is None
    panicking = world(minHealthPercent=1)
    assert {call(panicking, answered(500)), call(panicking, answered(500))} == {
        "10.0.0.1",
        "10.0.0.2",
    }
    assert call(panicking, answered(200)) is not None


def test_a_body_that_breaks_off_counts():
    """The endpoint answered, and failed all the same."""
    made = world()
    flow = made.exchange()
    first = next(flow).address
    assert isinstance(flow.send(answered(200)), Deliver)
    with pytest.raises(StopIteration):
        flow.send(Ended(FailureKind.RESET, 10))
    assert {call(made, answered(200)) for _ in range(4)}.isdisjoint({first})


def test_the_callers_own_time_out_counts_against_nobody():
    """To the mesh the caller has gone."""
    made = world()
    flow = made.exchange(wait_s=1.0)
    next(flow)
    flow.send(TIMED_OUT)
    flow.close()
    assert {call(made, answered(200)) for _ in range(4)} == {"10.0.0.1", "10.0.0.2"}


def test_a_time_out_that_policy_did_not_set_counts_against_nobody():
    """Without a limit of policy's it can only be the caller's own."""
    made = world()
    made.mesh.apply(
        [
            ONLY_SERVICE,
            OUTLIER.format(outlier='{"consecutive5xxErrors": 1, "maxEjectionPercent": 100}'),
        ]
    )
    flow = made.exchange()
    next(flow)
    flow.send(TIMED_OUT)
    flow.close()
    assert {call(made, answered(200)) for _ in range(4)} == {"10.0.0.1", "10.0.0.2"}


def test_ejections_outlive_a_change_of_policy():
    """The ledger is kept across swaps, by the names of clusters."""
    made = world()
    first = call(made, answered(500))
    made.mesh.apply(
        [
            ONLY_SERVICE,
            OUTLIER.format(outlier='{"consecutive5xxErrors": 1, "maxEjectionPercent": 100}'),
        ]
    )
    assert {call(made, answered(200)) for _ in range(4)}.isdisjoint({first})


def test_an_answer_of_grpc_counts_by_its_own_status():
    """HTTP says 200 of them all."""
    grpc = {"content_type": "application/grpc+proto"}
    assert status_of(answered(200, **grpc, grpc_status="14"), to_grpc=True) == 503
    assert status_of(answered(200, **grpc, grpc_status="0"), to_grpc=True) == 200
    assert status_of(answered(200, **grpc), to_grpc=True) == 200
    assert (
        status_of(answered(200, content_type="text/plain", grpc_status="14"), to_grpc=True) == 200
    )
    assert status_of(answered(200, **grpc, grpc_status="14"), to_grpc=False) == 200
    assert status_of(answered(502, **grpc, grpc_status="0"), to_grpc=True) == 502


def test_of_split_failures_those_with_a_connection_count_alone():
    """Envoy counts the connection as a success of local origin before it counts the failure."""
    rule = compile_outlier(
        OutlierDetection(
            split_external_local_origin_errors=True,
            consecutive_local_origin_failures=2,
            max_ejection_percent=100,
        )
    )
    state = OutlierState()
    for _ in range(5):
        state.failed("a", ("a",), rule, 0.0, is_connected=True)
    assert state.ejected(("a",), rule, 0.0) == frozenset()
    state.failed("a", ("a",), rule, 0.0)
    assert state.ejected(("a",), rule, 0.0) == {"a"}
