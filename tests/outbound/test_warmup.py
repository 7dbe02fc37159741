"""New endpoints get their share by degrees."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

import pytest
from clusters import cluster, endpoints

from meshware.outbound.ledger import ClusterState
from meshware.policy.clusters import Cluster
from meshware.policy.document.destination_rule import ConsistentHash, LoadBalancerSettings, Warmup
from meshware.policy.warmup import WarmupRule, compile_warmup


@pytest.mark.parametrize(
    ("least", "aggression", "age_s", "factor"),
    [
        (0.1, 1, 0, 0.1),
        (0.1, 1, 3, 0.1),
        (0.1, 1, 15, 0.5),
        (0.1, 1, 30, 1.0),
        (0.1, 1, 300, 1.0),
        (0.0, 1, 0, 0.001 / 30),
        (0.1, 2, 7.5, 0.5),  # the square root of a quarter
    ],
)
def test_the_share_grows_with_age(least, aggression, age_s, factor):
    """Envoy: max(least, (age / window) ** (1 / aggression))."""
    assert WarmupRule(30, least, aggression).factor(age_s) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("written", "rule"),
    [
        (None, None),
        (LoadBalancerSettings(simple="ROUND_ROBIN"), None),
        (LoadBalancerSettings(warmup_duration_secs=30.0), WarmupRule(30, 0.1, 1.0)),
        (LoadBalancerSettings(warmup=Warmup(duration=9.0)), WarmupRule(9, 0.1, 1.0)),
        (
            LoadBalancerSettings(
                warmup_duration_secs=30.0,
                warmup=Warmup(duration=9.0, minimum_percent=0, aggression=3.0),
            ),
            WarmupRule(9, 0.0, 3.0),
        ),
        (LoadBalancerSettings(simple="RANDOM", warmup=Warmup(duration=9.0)), None),
        (
            LoadBalancerSettings(
                consistent_hash=ConsistentHash(use_source_ip=True), warmup=Warmup(duration=9.0)
            ),
            None,
        ),
    ],
    ids=str,
)
def test_what_policy_says_and_what_it_leaves_out(written, rule):
    """Ten percent at first, and even growth; only for balancers that take turns."""
    assert compile_warmup(written) == rule


def picks(state: ClusterState, of: Cluster, now: float, calls: int = 2_000) -> Counter[str]:
    """How often each endpoint was chosen, nothing in flight."""
    rng = Random(1)
    counted: Counter[str] = Counter()
    for _ in range(calls):
        taken = state.take(of, (), rng, now)
        assert isinstance(taken, tuple)
        counted[taken[0].key] += 1
        taken[1].release()
    return counted


@pytest.mark.parametrize("balance", ["ROUND_ROBIN", "LEAST_REQUEST"])
def test_a_new_endpoint_is_eased_in(balance):
    """Among those that have been there longer; all at once would be as before."""
    warming = replace(cluster(balance, 1, 1), warmup=WarmupRule(30, 0.1, 1.0))
    grown = replace(
        warming,
        endpoints=endpoints(1, 1, 1),
        keys=frozenset(e.key for e in endpoints(1, 1, 1)),
    )
    state = ClusterState()
    at_first = picks(state, warming, 0.0)
    assert abs(at_first["a"] - at_first["b"]) <= 1
    for now, share in ((100.0, 0.1 / 2.1), (115.0, 0.5 / 2.5), (130.0, 1 / 3)):
        met = picks(state, grown, now, 3_000)
        assert met["c"] / 3_000 == pytest.approx(share, abs=0.03)
        assert abs(met["a"] - met["b"]) < 150


def test_one_that_left_and_comes_back_is_new():
    """As a process that was started anew is."""
    rule = WarmupRule(30, 0.1, 1.0)
    both = replace(cluster("ROUND_ROBIN", 1, 1), warmup=rule)
    one = replace(cluster("ROUND_ROBIN", 1), warmup=rule)
    state = ClusterState()
    picks(state, both, 0.0, 10)
    picks(state, one, 100.0, 10)
    anew = replace(both, endpoints=endpoints(1, 1))
    again = picks(state, anew, 100.0, 1_100)
    assert 95 <= again["b"] <= 105
