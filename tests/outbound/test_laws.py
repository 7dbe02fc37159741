"""What holds over many calls: shares by weight, subsets never left, queues that stay short."""

from __future__ import annotations

import heapq
import json
import math
from collections import Counter
from random import Random

import pytest
from clusters import cluster
from outbound_world import ORDERS, World, answered

from meshware.call import Deliver, Reply, Send
from meshware.outbound.ledger import ClusterState
from meshware.policy.clusters import Balance

DRAWS = 100_000
SIX_ENDPOINTS = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints:
""" + "".join(
    f"    - {{address: 10.0.0.{n}, labels: {{version: v{2 - n % 2}}}}}\n" for n in range(1, 7)
)
RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec:
  host: orders
  trafficPolicy: {policy}
  subsets: [{{name: v1, labels: {{version: v1}}}}, {{name: v2, labels: {{version: v2}}}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - route: [{{destination: {{host: orders, subset: v2}}}}]
      retries: {{attempts: 3, retryOn: 5xx, retryIgnorePreviousHosts: true}}
"""


@pytest.mark.parametrize("weights", [(80, 20), (1, 99), (50, 30, 20)], ids=str)
def test_weighted_destinations_have_their_shares(weights):
    """Within three sigma of what their weights say, over a hundred thousand calls."""
    routes = "".join(
        f"        - {{destination: {{host: orders, subset: v{n % 2 + 1}}}, weight: {weight}, "
        f"headers: {{request: {{set: {{to: '{n}'}}}}}}}}\n"
        for n, weight in enumerate(weights)
    )
    world = World(f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - route:
{routes}""")
    world.mesh.rng = Random(20261125)
    drawn: Counter[str] = Counter()
    for _ in range(DRAWS):
        flow = world.exchange()
        send = next(flow)
        assert isinstance(send, Send) and send.edit is not None
        drawn[send.edit.append[0][1]] += 1
        flow.close()
        world.mesh.events.clear()
    for n, weight in enumerate(weights):
        share = weight / sum(weights)
        sigma = math.sqrt(DRAWS * share * (1 - share))
        assert abs(drawn[str(n)] - DRAWS * share) <= 3 * sigma, (n, drawn)


@pytest.mark.parametrize("balance", ["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"])
def test_no_endpoint_outside_of_the_subset_is_ever_picked(balance):
    """Whatever is busy, and however often it is asked."""
    world = World()
    to_v2 = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http: [{route: [{destination: {host: orders, subset: v2}}], retries: {attempts: 0}}]
"""
    world.mesh.apply([ORDERS.replace("ROUND_ROBIN", balance), to_v2])
    flows = [world.exchange() for _ in range(300)]
    assert {next(flow).address for flow in flows} == {"10.0.0.2"}
    for flow in flows:
        flow.close()


@pytest.mark.parametrize(
    "balance",
    [
        {"simple": "ROUND_ROBIN"},
        {"simple": "LEAST_REQUEST"},
        {"simple": "RANDOM"},
        {"consistentHash": {"httpHeaderName": "x-user"}},
        {"consistentHash": {"httpHeaderName": "x-user", "maglev": {"tableSize": 211}}},
    ],
    ids=str,
)
def test_failures_and_ejections_never_lead_out_of_the_subset(balance):
    """Retries, keys of every kind, and nobody left there: 503 UH, and still not the others."""
    world, rng = World(), Random(7)
    outlier = {"consecutive5xxErrors": 2, "maxEjectionPercent": 100, "baseEjectionTime": "20s"}
    world.mesh.apply(
        [
            SIX_ENDPOINTS,
            RULE.format(policy=json.dumps({"loadBalancer": balance, "outlierDetection": outlier})),
        ]
    )
    world.mesh.rng = Random(8)
    asked: Counter[str] = Counter()
    unanswered = 0
    for number in range(2000):
        world.clock.advance(rng.random())
        flow = world.exchange(headers={"x-user": f"u{number}"} if rng.random() < 0.9 else {})
        action = next(flow)
        is_bad = rng.random() < 0.4
        while not isinstance(action, Deliver | Reply):
            if isinstance(action, Send):
                asked[str(action.address)] += 1
                action = flow.send(answered(503 if is_bad else 200))
            else:
                action = flow.send(None)
        if isinstance(action, Reply):
            assert action.info.flags == "UH"
            unanswered += 1
        flow.close()
    assert set(asked) == {"10.0.0.2", "10.0.0.4", "10.0.0.6"}
    assert unanswered, "they were never all ejected"
    assert world.nothing_in_flight()


def p99_of(balance: Balance, seed: int) -> float:
    """The 99th percentile of latency, in a simulation where one of four endpoints is slow.

    Each endpoint serves one request at a time; requests come at random, at two thirds of what all
    of them together can serve.
    """
    rng, state = Random(seed), ClusterState()
    group = cluster(balance, 1, 1, 1, 1)
    service_s = {"a": 0.05, "b": 0.01, "c": 0.01, "d": 0.01}
    free_at = dict.fromkeys(service_s, 0.0)
    now, latencies = 0.0, []
    ends: list[tuple[float, int, object]] = []
    for number in range(20_000):
        now += rng.expovariate(210.0)
        while ends and ends[0][0] <= now:
            heapq.heappop(ends)[2].release()
        taken = state.take(group, (), rng, now)
        assert taken is not None and taken != "overflow"
        endpoint, lease = taken
        ends_at = max(now, free_at[endpoint.key]) + service_s[endpoint.key]
        free_at[endpoint.key] = ends_at
        heapq.heappush(ends, (ends_at, number, lease))
        latencies.append(ends_at - now)
    return sorted(latencies)[int(len(latencies) * 0.99)]


def test_least_request_keeps_the_tail_shorter_than_taking_turns():
    """Two choices see that an endpoint is slow, by what is under way there; turns do not."""
    turns = [p99_of("ROUND_ROBIN", seed) for seed in range(3)]
    choices = [p99_of("LEAST_REQUEST", seed) for seed in range(3)]
    assert max(choices) < min(turns)
