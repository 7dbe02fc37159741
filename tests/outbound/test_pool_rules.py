"""What an attempt says of the connection that it may go over."""

from __future__ import annotations

import pytest
from outbound_world import ONLY_SERVICE, REFUSED

from meshware.call import Mirror, Send, Sleep
from meshware.policy.pool_rule import PoolRule, TLSRule
from meshware.testing import TestMesh

NAME = "orders.default.svc.cluster.local:80"


def rule(policy: str) -> str:
    return f"""---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec: {{host: orders, trafficPolicy: {{{policy}}}}}
"""


@pytest.fixture
def first(make_world):
    """Return the first attempt of a call under a policy."""

    def attempt(policy: str, *more: str, **call) -> Send:
        world = make_world()
        world.mesh = TestMesh([ONLY_SERVICE + rule(policy), *more], clock=world.clock)
        send = next(world.exchange(**call))
        assert isinstance(send, Send)
        return send

    return attempt


def test_without_tls_of_policys_there_is_no_name_of_a_server(first):
    """The pool is the service's, for its cluster."""
    send = first("loadBalancer: {simple: RANDOM}")
    assert send.pool == PoolRule(name=NAME)
    assert send.cluster == "outbound|80||orders.default.svc.cluster.local"
    assert send.server_name is None


def test_the_name_of_the_server_is_the_host_that_goes_out(first):
    """The caller's, or what the route makes of it; without its port."""
    tls = "tls: {mode: SIMPLE}"
    assert first(tls).server_name == "orders"
    assert first(tls).pool.tls == TLSRule()
    assert first(tls, host="orders.default").server_name == "orders.default"
    for change in (
        "rewrite: {authority: 'pay.example.com:8443'}",
        "headers: {request: {set: {Host: pay.example.com}}}",
    ):
        route = f"""---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec: {{hosts: [orders], http: [{{route: [{{destination: {{host: orders}}}}], {change}}}]}}
"""
        assert first(tls, route).server_name == "pay.example.com"


def test_policys_own_name_beats_the_host(first):
    """tls.sni."""
    assert first("tls: {mode: SIMPLE, sni: pay.example.com}").server_name == "pay.example.com"


def test_every_attempt_says_the_same(world):
    """Also the second one, at another endpoint."""
    flow = world.exchange()
    before = next(flow)
    assert isinstance(before, Send)
    assert isinstance(flow.send(REFUSED), Sleep)
    again = flow.send(None)
    assert isinstance(again, Send)
    assert (again.pool, again.cluster) == (before.pool, before.cluster)
    assert again.address != before.address


def test_a_copy_asks_for_the_server_of_the_call(make_world):
    """Its Host ends in `-shadow`, which no certificate bears."""
    world = make_world()
    route = """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http: [{route: [{destination: {host: orders}}], mirror: {host: orders}}]
"""
    world.mesh = TestMesh([ONLY_SERVICE + rule("tls: {mode: SIMPLE}"), route], clock=world.clock)
    flow = world.exchange(host="orders.default")
    mirror = next(flow)
    assert isinstance(mirror, Mirror)
    copy, send = next(mirror.exchange), flow.send(None)
    assert ("host", "orders.default-shadow") in copy.headers
    assert isinstance(send, Send)
    assert (copy.server_name, copy.pool, copy.cluster) == (
        "orders.default",
        send.pool,
        send.cluster,
    )
    for each in (mirror.exchange, flow):
        each.close()
