"""VirtualServices in parts: what becomes of two rules that are joined, and what clients then do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from outbound_world import World, answered
from policy_check import resource

from meshware.call import Deliver, Reply, Send
from meshware.policy.delegates import joined
from meshware.policy.document.virtual_service import HTTPMatchRequest, HTTPRoute


def rule(**fields: Any) -> HTTPRoute:
    """A rule as written."""
    return msgspec.convert(fields, HTTPRoute)


def block(**fields: Any) -> HTTPMatchRequest:
    """Conditions as written."""
    return msgspec.convert(fields, HTTPMatchRequest)


PREFIX, EXACT, REGEX = {"prefix": "/a"}, {"exact": "/a/b"}, {"regex": "/a/.*"}


@pytest.mark.parametrize(
    ("root", "own", "is_dropped"),
    [
        ({"uri": PREFIX}, {"uri": {"prefix": "/a/b"}}, False),
        ({"uri": PREFIX}, {"uri": {"prefix": "/b"}}, True),
        ({"uri": PREFIX}, {"uri": EXACT}, False),
        ({"uri": {"prefix": "/a/b/c"}}, {"uri": EXACT}, True),
        ({"uri": EXACT}, {"uri": EXACT}, False),
        ({"uri": EXACT}, {"uri": {"exact": "/a"}}, True),
        ({"uri": EXACT}, {"uri": PREFIX}, True),
        ({"uri": REGEX}, {"uri": REGEX}, True),
        ({"uri": REGEX}, {"uri": EXACT}, True),
        ({"uri": PREFIX}, {"uri": REGEX}, True),
        ({"uri": REGEX}, {"method": {"exact": "GET"}}, False),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "2"}}}, True),
        ({"headers": {"x": {"exact": "1"}}}, {"headers": {"y": {"regex": ".*"}}}, False),
        ({"withoutHeaders": {"x": {"exact": "1"}}}, {"headers": {"x": {"exact": "1"}}}, False),
        ({"queryParams": {"q": {"prefix": "a"}}}, {"queryParams": {"q": {"exact": "b"}}}, True),
        ({"ignoreUriCase": True}, {"uri": PREFIX}, True),
        ({"ignoreUriCase": False}, {"uri": PREFIX}, False),
        ({"port": 80}, {"port": 81}, True),
        ({"port": 80}, {"uri": PREFIX}, False),
        ({"sourceNamespace": "shop"}, {"uri": PREFIX}, True),
        ({"sourceNamespace": "shop"}, {"sourceNamespace": "shop"}, False),
        ({"uri": PREFIX}, {"sourceNamespace": "shop"}, False),
        ({"sourceLabels": {"a": "1"}}, {"sourceLabels": {"a": "2"}}, True),
        ({"sourceLabels": {"a": "1"}}, {"sourceLabels": {"b": "2"}}, False),
        ({"gateways": ["mesh"]}, {"gateways": ["mesh", "shop/web"]}, True),
        ({"gateways": ["mesh", "shop/web"]}, {"gateways": ["mesh"]}, False),
    ],
)
def test_conditions_that_exclude_each_other_drop_a_rule(root, own, is_dropped):
    """A delegate may narrow what its root gives it, and nothing else."""
    found = joined(rule(match=[root]), rule(match=[own], route=[]))
    assert (found is None) == is_dropped


def test_every_pair_of_blocks_that_go_together_is_kept():
    """In the delegate's order, with the conditions of both."""
    found = joined(
        rule(
            name="root",
            match=[
                {"name": "a", "uri": {"prefix": "/a"}},
                {"name": "b", "uri": {"prefix": "/b"}, "headers": {"x": {"exact": "1"}}},
            ],
        ),
        rule(
            name="own",
            match=[
                {"name": "c", "method": {"exact": "GET"}},
                {"uri": {"prefix": "/b/c"}, "headers": {"y": {}}},
            ],
        ),
    )
    assert found is not None
    assert found.name == "root-own"
    assert found.match == (
        block(name="a-c", uri={"prefix": "/a"}, method={"exact": "GET"}),
        block(
            name="b-c",
            uri={"prefix": "/b"},
            method={"exact": "GET"},
            headers={"x": {"exact": "1"}},
        ),
        block(name="b", uri={"prefix": "/b/c"}, headers={"x": {"exact": "1"}, "y": {}}),
    )


def test_one_block_beyond_the_roots_drops_the_whole_rule():
    """As in Istio, which cannot keep half a rule."""
    own = rule(match=[{"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/b"}}])
    assert joined(rule(match=[{"uri": {"prefix": "/a"}}]), own) is None


def test_a_field_comes_whole_from_the_delegate_or_from_the_root():
    """No field is made of two."""
    root = rule(
        timeout=1.0, retries={"attempts": 5, "retryOn": "5xx"}, headers={"request": {"set": {}}}
    )
    found = joined(root, rule(retries={"attempts": 1}, route=[]))
    assert found is not None
    assert (found.timeout, found.headers) == (1.0, root.headers)
    assert (found.retries.attempts, found.retries.retry_on) == (1, None)


SHOP = [
    """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: root}
spec:
  hosts: [orders]
  http:
    - name: api
      match: [{uri: {prefix: /api}}]
      timeout: 7s
      delegate: {name: api, namespace: shop}
    - {delegate: {name: rest}}
    - {directResponse: {status: 418}}
""",
    """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api, namespace: shop}
spec:
  http:
    - {name: new, match: [{uri: {prefix: /api/new}}], route: [{destination: {host: carts}}]}
    - {name: old, match: [{uri: {prefix: /other}}], route: [{destination: {host: carts}}]}
    - {route: [{destination: {host: orders.default.svc.cluster.local, subset: v1}}], timeout: 3s}
""",
    """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: rest}
spec:
  http:
    - {match: [{uri: {prefix: /rest}}], route: [{destination: {host: orders, subset: v2}}]}
""",
    """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: carts, namespace: shop}
spec:
  hosts: [carts]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 10.0.0.7}]
""",
]


@pytest.mark.parametrize(
    ("target", "address", "timeout_s", "name"),
    [
        ("/api/new/x", "10.0.0.7", 7.0, "api-new"),
        ("/api/x", "10.0.0.1", 3.0, "api"),
        ("/rest", "10.0.0.2", None, "1-0"),
    ],
)
def test_clients_follow_delegated_rules(target, address, timeout_s, name):
    """Short hosts mean what they mean in the delegate's own namespace."""
    flow = World(*SHOP).exchange(target=target)
    sent = next(flow)
    assert isinstance(sent, Send)
    assert (sent.address, sent.timeout_s) == (address, timeout_s)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver) and deliver.info.route == name
    flow.close()


def test_what_no_delegate_takes_goes_on_to_the_next_rule():
    """Delegating a path is not taking it."""
    reply = next(World(*SHOP).exchange(target="/other"))
    assert isinstance(reply, Reply) and reply.status == 418


@pytest.mark.parametrize(
    ("export", "is_followed"), [(["*"], True), (["default"], True), (["."], False), (["~"], False)]
)
def test_a_delegate_is_for_those_it_is_exported_to(export, is_followed):
    """`check` says so; a client that has such policy all the same goes on to the next rule."""
    spec = {"http": [{"directResponse": {"status": 204}}], "exportTo": export}
    parts = [*SHOP]
    parts[1] = resource("VirtualService", spec, "api", "shop")
    if not is_followed:
        with pytest.raises(Exception, match="is not exported to default"):
            World(*parts)
        return
    reply = next(World(*parts).exchange(target="/api"))
    assert isinstance(reply, Reply) and reply.status == 204
