"""Copies of calls: which, where to, what they say. The call itself knows nothing of them."""

from __future__ import annotations

import pytest
from outbound_world import RESET, World, answered

from meshware.call import Deliver, Ended, Mirror, Raise, Send

SHADOW = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shadow}
spec:
  hosts: [shadow]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 8080, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.9}]
"""


def mirrored(fields: str, more: str = "") -> str:
    """A VirtualService for `orders` whose calls are copied."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http:
    - route: [{{destination: {{host: orders}}}}]
      {fields}
      {more}
"""


TO_SHADOW = "mirror: {host: shadow}"


def copies(world: World, **call) -> tuple[list[Mirror], Send]:
    """The copies of one call, and its first attempt."""
    flow = world.exchange(**call)
    action = next(flow)
    found = []
    while isinstance(action, Mirror):
        found.append(action)
        action = flow.send(None)
    assert isinstance(action, Send)
    flow.close()
    return found, action


def test_a_copy_is_on_its_way_before_the_call_itself():
    """To its own endpoint, with `-shadow` in its Host, and everything else as the call has it."""
    world = World(
        SHADOW, mirrored(TO_SHADOW, "headers: {request: {set: {x-by: policy}}}"), rng=[0.1] * 9
    )
    [mirror], attempt = copies(world, target="/a?b=c")
    sent = next(mirror.exchange)
    assert isinstance(sent, Send)
    assert (sent.address, sent.port, sent.attempt) == ("10.0.0.9", 8080, 1)
    headers, original = dict(sent.headers), dict(attempt.headers)
    assert headers.pop("host") == "orders-shadow"
    assert headers == original
    assert sent.edit == attempt.edit and sent.target is attempt.target is None
    assert world.mesh.ledger.in_flight() == {
        "outbound|8080||shadow.default.svc.cluster.local": {"10.0.0.9:8080": 1}
    }


@pytest.mark.parametrize(
    ("authority", "shadow"),
    [
        ("orders", "orders-shadow"),
        ("orders:80", "orders-shadow:80"),
        ("[::1]", "[::1]-shadow"),
        ("[::1]:80", "[::1]-shadow:80"),
    ],
)
def test_the_host_of_a_copy_says_so_before_the_port(authority, shadow):
    """Whatever the caller, or a rewrite, made of it."""
    world = World(SHADOW, mirrored(TO_SHADOW, f"rewrite: {{authority: '{authority}'}}"))
    [mirror], attempt = copies(world)
    assert dict(attempt.headers)["host"] == authority
    assert dict(next(mirror.exchange).headers)["host"] == shadow


@pytest.mark.parametrize(
    ("fields", "drawn", "count"),
    [
        (TO_SHADOW, 0.999999, 1),
        (f"{TO_SHADOW}\n      mirrorPercentage: {{value: 25}}", 0.2499, 1),
        (f"{TO_SHADOW}\n      mirrorPercentage: {{value: 25}}", 0.25, 0),
        (f"{TO_SHADOW}\n      mirrorPercentage: {{value: 0}}", 0.0, 0),
        (f"{TO_SHADOW}\n      mirrorPercent: 10", 0.0999, 1),
        (f"{TO_SHADOW}\n      mirrorPercent: 10", 0.1, 0),
        (f"{TO_SHADOW}\n      mirror_percent: 10", 0.1, 0),
        (f"{TO_SHADOW}\n      mirrorPercent: 0", 0.0, 0),
    ],
)
def test_a_share_of_calls_is_copied(fields, drawn, count):
    """All of them where policy says nothing."""
    world = World(SHADOW, mirrored(fields), rng=[drawn] * 9)
    assert len(copies(world, headers={"x-request-id": "set"})[0]) == count


def test_each_mirror_is_drawn_for_itself():
    """And one that nobody answers for costs nothing."""
    fields = (
        "mirrors: [{destination: {host: shadow}, percentage: {value: 50}}, "
        "{destination: {host: orders, subset: v1}}, "
        "{destination: {host: shadow}, percentage: {value: 40}}]"
    )
    world = World(SHADOW, mirrored(fields), rng=[0.45] * 9)
    found, _ = copies(world, headers={"x-request-id": "set"})
    assert [next(mirror.exchange).address for mirror in found] == ["10.0.0.9", "10.0.0.1"]


def test_a_copy_ends_in_an_event_of_its_own():
    """It counts as a call of its cluster, and its endpoint is given back."""
    world = World(SHADOW, mirrored(TO_SHADOW, "timeout: 3s"))
    [mirror], _ = copies(world)
    assert next(mirror.exchange).timeout_s == 3.0
    world.clock.advance(1.0)
    deliver = mirror.exchange.send(answered(500))
    assert isinstance(deliver, Deliver) and deliver.deadline_s == 2.0
    with pytest.raises(StopIteration):
        mirror.exchange.send(Ended())
    event = world.events[-1]
    assert event.cluster == "outbound|8080||shadow.default.svc.cluster.local"
    assert (event.status, event.attempts, event.complete, event.flags) == (500, 1, True, "-")
    assert event.endpoint == "10.0.0.9:8080"
    assert world.nothing_in_flight()


def test_a_copy_that_fails_is_not_tried_again():
    """Whatever the route says of retries."""
    world = World(SHADOW, mirrored(TO_SHADOW, "retries: {attempts: 3, retryOn: 5xx}"))
    [mirror], _ = copies(world)
    next(mirror.exchange)
    assert isinstance(mirror.exchange.send(RESET), Raise)
    mirror.exchange.close()
    assert (world.events[-1].status, world.events[-1].flags) == (503, "UC")
    assert world.nothing_in_flight()


def test_a_copy_obeys_the_limits_of_its_cluster():
    """One too many is not sent."""
    limit = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shadow}
spec:
  host: shadow
  trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}
"""
    world = World(SHADOW, mirrored(TO_SHADOW), limit)
    [one], _ = copies(world)
    [other], _ = copies(world)
    assert isinstance(next(one.exchange), Send)
    assert isinstance(next(other.exchange), Raise)
    other.exchange.close()
    assert world.events[-1].flags == "UO"


def test_a_copy_that_is_dropped_holds_nothing():
    """The driver closes it before it has begun, and nobody hears of it."""
    world = World(SHADOW, mirrored(TO_SHADOW))
    [mirror], _ = copies(world)
    told = len(world.events)
    mirror.exchange.close()
    assert len(world.events) == told
    assert world.nothing_in_flight()
