"""What holds over many calls: shares by weight, subsets never left, queues that stay short."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from random import Random

import pytest
from clusters import cluster
from outbound_world import ORDERS, World

from meshware.call import Send
from meshware.outbound.ledger import ClusterState
from meshware.policy.clusters import Balance

DRAWS = 100_000


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
