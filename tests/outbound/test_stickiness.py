"""Callers that are kept at one endpoint, by a part of their calls."""

from __future__ import annotations

import json
import re

import pytest
from outbound_world import World, answered

from meshware.call import Deliver, Send

SERVICE = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders}}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: {endpoints}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec:
  host: orders
  trafficPolicy: {policy}
"""


def world(hashing: dict, count: int = 5, **policy) -> World:
    """Endpoints that are found by a hash."""
    made = World()
    listed = [{"address": f"10.0.0.{n + 1}"} for n in range(count)]
    full = {"loadBalancer": {"consistentHash": hashing}, **policy}
    made.mesh.apply(SERVICE.format(endpoints=json.dumps(listed), policy=json.dumps(full)))
    return made


def endpoint(made: World, target: str = "/", **headers: str) -> str:
    """Where a call goes."""
    flow = made.exchange(
        target=target, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )
    send = next(flow)
    assert isinstance(send, Send)
    flow.close()
    return send.address


@pytest.mark.parametrize(
    "table", [{}, {"maglev": {}}, {"ringHash": {"minimumRingSize": 64}}], ids=str
)
@pytest.mark.parametrize(
    ("hashing", "calls"),
    [
        ({"httpHeaderName": "X-User"}, [{"x_user": f"u{n}"} for n in range(30)]),
        ({"httpQueryParameterName": "user"}, [{"target": f"/?a=b&user=u{n}"} for n in range(30)]),
        (
            {"httpCookie": {"name": "who", "ttl": "0s"}},
            [{"cookie": f'a=b; who="u{n}"'} for n in range(30)],
        ),
    ],
    ids=["header", "query", "cookie"],
)
def test_the_same_key_goes_to_the_same_endpoint(table, hashing, calls):
    """And different ones go to different endpoints, in every process alike."""
    one, other = world({**hashing, **table}), world({**hashing, **table})
    first = [endpoint(one, **call) for call in calls]
    assert first == [endpoint(one, **call) for call in calls]
    assert first == [endpoint(other, **call) for call in reversed(calls)][::-1]
    assert len(set(first)) > 2


@pytest.mark.parametrize(
    "hashing",
    [
        {"httpHeaderName": "x-user"},
        {"httpQueryParameterName": "user"},
        {"httpCookie": {"name": "w"}},
    ],
    ids=["header", "query", "cookie without ttl"],
)
def test_without_its_key_a_call_goes_anywhere(hashing):
    """No key, no hash, as with Envoy."""
    made = world(hashing)
    assert len({endpoint(made) for _ in range(40)}) == 5


def test_by_source_all_calls_of_a_workload_go_to_one_endpoint():
    """The source is the workload, as behind its sidecar."""
    made = world({"useSourceIp": True})
    assert len({endpoint(made, x_user=f"u{n}") for n in range(20)}) == 1


@pytest.mark.parametrize(
    ("cookie", "expected"),
    [
        ({"name": "who", "ttl": "0s"}, r'who="([0-9a-f]{16})"; HttpOnly'),
        ({"name": "who", "ttl": "90s", "path": "/shop"},
         r'who="([0-9a-f]{16})"; Max-Age=90; Path=/shop; HttpOnly'),
        ({"name": "who", "ttl": "5s", "attributes": [{"name": "SameSite", "value": "Lax"}]},
         r'who="([0-9a-f]{16})"; Max-Age=5; SameSite=Lax; HttpOnly'),
    ],
)  # fmt: skip
def test_a_caller_without_the_cookie_is_given_one(cookie, expected):
    """And comes back to the same endpoint with it."""
    made = world({"httpCookie": cookie})
    flow = made.exchange()
    first = next(flow)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver) and deliver.edit is not None
    [(name, value)] = deliver.edit.append
    assert name == "set-cookie"
    found = re.fullmatch(expected, value)
    assert found, value
    flow.close()
    assert endpoint(made, cookie=f"who={found[1]}") == first.address
    again = made.exchange(headers={"cookie": f"who={found[1]}"})
    next(again)
    assert again.send(answered(200)).edit is None
    again.close()


def test_an_ejected_endpoints_callers_go_to_another():
    """And come back to it when it does."""
    outlier = {"consecutive5xxErrors": 1, "maxEjectionPercent": 100}
    made = world({"httpHeaderName": "x-user"}, outlierDetection=outlier)
    home = endpoint(made, x_user="jo")
    flow = made.exchange(headers={"x-user": "jo"})
    next(flow)
    flow.send(answered(500))
    flow.close()
    assert endpoint(made, x_user="jo") != home
    made.clock.advance(60.0)
    assert endpoint(made, x_user="jo") == home


@pytest.mark.parametrize(("ignore", "is_same"), [(None, True), (True, False), (False, True)])
def test_a_retry_stays_at_the_endpoint_unless_policy_says_otherwise(ignore, is_same):
    """Istio: `retryIgnorePreviousHosts` is off by default where a hash chooses."""
    made = world({"httpHeaderName": "x-user"})
    retries = {"attempts": 1, "retryOn": "5xx"}
    if ignore is not None:
        retries["retryIgnorePreviousHosts"] = ignore
    listed = [{"address": f"10.0.0.{n + 1}"} for n in range(5)]
    text = SERVICE.format(
        endpoints=json.dumps(listed),
        policy='{"loadBalancer": {"consistentHash": {"httpHeaderName": "x-user"}}}',
    )
    made.mesh.apply(
        f"""{text}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http: [{{route: [{{destination: {{host: orders}}}}], retries: {json.dumps(retries)}}}]
"""
    )
    flow = made.exchange(headers={"x-user": "jo"})
    first = next(flow)
    flow.send(answered(503))
    second = flow.send(None)
    assert isinstance(second, Send)
    assert (second.address == first.address) is is_same
    flow.close()
