"""Levels and localities: who is called while some are ejected, and who never is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from clusters import cluster
from hypothesis import given
from hypothesis import strategies as st
from outbound_world import REFUSED, World, answered

from meshware.call import Deliver, Ended, Reply, Send, Sleep
from meshware.outbound.ledger import ClusterState
from meshware.outbound.levels import choose_level, loads
from meshware.policy.clusters import Endpoint
from meshware.policy.document.destination_rule import OutlierDetection
from meshware.policy.locality import Group, Level
from meshware.policy.outlier_rule import compile_outlier


def level(name: str, count: int) -> Level:
    """A level with one locality."""
    endpoints = tuple(Endpoint("10.0.0.1", 80, 1, f"{name}{n}") for n in range(count))
    return Level((Group(count, endpoints, is_weighted=False),), frozenset(e.key for e in endpoints))


NEAR, FAR, FARTHER = level("near", 10), level("far", 10), level("farther", 10)


def out(*counts: tuple[str, int]) -> frozenset[str]:
    """The first so many endpoints of some levels."""
    return frozenset(f"{name}{n}" for name, count in counts for n in range(count))


@pytest.mark.parametrize(
    ("ejected", "shares"),
    [  # Envoy, "Priority levels": the table of its documentation, with 140 %
        ((), [1.0, 0.0]),
        ((("near", 2),), [1.0, 0.0]),
        ((("near", 3),), [0.98, 0.02]),
        ((("near", 5),), [0.7, 0.3]),
        ((("near", 10),), [0.0, 1.0]),
        ((("near", 5), ("far", 5)), [0.7, 0.3]),
        ((("near", 8), ("far", 8)), [0.5, 0.5]),
        ((("near", 10), ("far", 9)), [0.0, 1.0]),
        ((("near", 10), ("far", 10)), [0.0, 0.0]),
    ],
)
def test_calls_spill_over_by_degrees(ejected, shares):
    """A level is full until fewer than 5 of 7 are well."""
    found = loads([NEAR, FAR], out(*ejected), 0)
    assert [share for share, _ in found] == pytest.approx(shares)
    assert not any(panics for _, panics in found)


def test_a_cluster_tells_how_its_levels_stand():
    """Their shares, and whom of each no call goes to: in panic to everybody."""
    ejecting = compile_outlier(OutlierDetection(max_ejection_percent=100))
    endpoints = tuple(e for each in (NEAR, FAR) for e in each.groups[0].endpoints)
    made = replace(
        cluster("RANDOM"),
        endpoints=endpoints,
        keys=NEAR.keys | FAR.keys,
        levels=(NEAR, FAR),
        outlier=ejecting,
    )
    state = ClusterState()
    for key in out(("near", 5)):
        assert state.eject(made, key, 0.0)
    assert state.standing(made, 0.0) == [
        (pytest.approx(0.7), out(("near", 5))),
        (pytest.approx(0.3), frozenset()),
    ]
    panicking = replace(made, outlier=replace(ejecting, min_health_percent=60))
    for key in out(("far", 9)):
        assert state.eject(made, key, 0.0)
    assert [who for _, who in state.standing(panicking, 0.0)] == [frozenset(), frozenset()]


def test_in_panic_everybody_is_called():
    """Where the levels together cannot take all calls, those below the threshold use all."""
    ejected = out(("near", 8), ("far", 10))
    assert loads([NEAR, FAR], ejected, 50) == [(0.5, True), (0.5, True)]
    some = out(("near", 8), ("far", 6))
    assert loads([NEAR, FAR], some, 30) == [
        (pytest.approx(0.28 / 0.84), True),
        (pytest.approx(0.56 / 0.84), False),
    ]
    assert loads([NEAR, FAR], out(("near", 10)), 50) == [(0.0, False), (1.0, False)]


def test_levels_that_were_tried_are_passed_over_while_another_is_left():
    """And all of them count again once none is."""
    assert [s for s, _ in loads([NEAR, FAR], frozenset(), 0, [0])] == [0.0, 1.0]
    assert [s for s, _ in loads([NEAR, FAR], frozenset(), 0, [0, 1])] == [1.0, 0.0]


@given(
    counts=st.lists(st.integers(0, 10), min_size=3, max_size=3),
    least=st.sampled_from([0, 20, 50, 100]),
    drawn=st.floats(0, 1, exclude_max=True),
)
@pytest.mark.hypothesis
def test_shares_are_whole_and_an_empty_level_is_never_chosen(counts, least, drawn):
    """Unless there is panic, which calls the ejected too."""
    names = ("near", "far", "farther")
    found = loads([NEAR, FAR, FARTHER], out(*zip(names, counts, strict=True)), least)
    total = sum(share for share, _ in found)
    assert total == pytest.approx(1) or total == 0
    chosen = choose_level(found, drawn)
    assert (chosen is None) == (total == 0)
    if chosen is not None and not found[chosen][1]:
        assert counts[chosen] < 10


# --- through an exchange --------------------------------------------------------------------------

PLACES = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, locality: eu/a}
    - {address: 10.0.0.2, locality: eu/b}
    - {address: 10.0.0.3, locality: us/a}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app}
spec: {address: 10.0.9.9, locality: eu/a}
"""


def rule(policy: str) -> str:
    """A DestinationRule."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec: {{host: orders, trafficPolicy: {policy}}}
"""


def world(policy: str, *more: str) -> World:
    """Endpoints in three places, and a client in the first."""
    made = World()
    made.mesh.apply([PLACES, rule(policy), *more])
    made.mesh.rng = made.rng = Random(5)  # type: ignore[assignment]
    return made


def called(made: World, **call) -> str:
    """Make a call that is answered, and return where it went."""
    flow = made.exchange(**call)
    sent = next(flow)
    assert isinstance(sent, Send) and sent.address is not None
    assert isinstance(flow.send(answered(200)), Deliver)
    with pytest.raises(StopIteration):
        flow.send(Ended())
    return sent.address


EJECTS = "outlierDetection: {consecutive5xxErrors: 1, maxEjectionPercent: 100}"


def test_calls_stay_near_and_move_on_when_the_near_are_ejected():
    """First the zone, then the region, then the rest of the world, then nobody."""
    made = world(f"{{{EJECTS}}}")
    for address in ("10.0.0.1", "10.0.0.2", "10.0.0.3"):
        assert {called(made) for _ in range(20)} == {address}
        flow = made.exchange()
        assert next(flow).address == address
        assert isinstance(flow.send(answered(500)), Deliver)
        flow.close()
    reply = next(made.exchange())
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags) == (503, "UH")
    made.clock.advance(60)
    assert called(made) == "10.0.0.1"


def test_shares_hold_and_nobody_else_is_called():
    """Within three sigma over 20,000 calls."""
    made = world(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: eu, to: {eu/a: 70, us: 30}}]}}}"
    )
    count = 20_000
    found = Counter(called(made) for _ in range(count))
    assert set(found) == {"10.0.0.1", "10.0.0.3"}
    assert abs(found["10.0.0.1"] - 0.7 * count) < 3 * (count * 0.7 * 0.3) ** 0.5


def test_a_hash_finds_its_endpoint_within_the_level():
    """The near ones, and always the same one for a key."""
    made = world(f"{{loadBalancer: {{consistentHash: {{httpHeaderName: x-user}}}}, {EJECTS}}}")
    assert {called(made, headers={"x-user": str(n)}) for n in range(50)} == {"10.0.0.1"}
    assert called(made) == "10.0.0.1"


def test_a_hash_spreads_over_shares():
    """Each key stays where it is, and keys are parted as the shares are."""
    made = world(
        "{loadBalancer: {consistentHash: {httpHeaderName: x-user}, localityLbSetting: "
        "{distribute: [{from: eu, to: {eu/a: 90, us: 10}}]}}}"
    )
    users = [str(n) for n in range(2_000)]
    homes = {user: called(made, headers={"x-user": user}) for user in users}
    assert {user: called(made, headers={"x-user": user}) for user in users} == homes
    assert 100 < Counter(homes.values())["10.0.0.3"] < 350


RETRIES = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - route: [{{destination: {{host: orders}}}}]
      retries: {{attempts: 6, retryOn: connect-failure, retryRemoteLocalities: {remote}}}
"""


@pytest.mark.parametrize(("remote", "path"), [("false", "111111"), ("true", "112233")])
def test_retries_go_farther_away_only_where_policy_says_so(remote, path):
    """After every second attempt, to a level that was not tried yet."""
    made = world("{outlierDetection: {consecutive5xxErrors: 0}}", RETRIES.format(remote=remote))
    flow = made.exchange()
    action, met = next(flow), ""
    for _ in range(6):
        assert isinstance(action, Send) and action.address is not None
        met += action.address[-1]
        assert isinstance(flow.send(REFUSED), Sleep)
        action = flow.send(None)
    assert met == path
    flow.close()
