"""How much a cluster takes at once: requests, and retries."""

from __future__ import annotations

import json

import pytest
from outbound_world import ONLY_SERVICE, World, answered

from meshware.call import Deliver, Ended, Reply, Send, Sleep

RULE = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: orders}}
spec:
  host: orders
  trafficPolicy: {policy}
  subsets:
    - {{name: v1, labels: {{version: v1}}}}
    - {{name: v2, labels: {{version: v2}}}}
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - match: [{uri: {prefix: /v1}}]
      route: [{destination: {host: orders, subset: v1}}]
    - match: [{uri: {prefix: /v2}}]
      route: [{destination: {host: orders, subset: v2}}]
    - route: [{destination: {host: orders}}]
      retries: {attempts: 2, retryOn: 5xx}
"""


def world(**policy) -> World:
    """Two endpoints with limits."""
    made = World()
    made.mesh.apply([ONLY_SERVICE, RULE.format(policy=json.dumps(policy)), ROUTE])
    return made


def requests(most: int) -> dict:
    """At most so many requests at once."""
    return {"connectionPool": {"http": {"http2MaxRequests": most}}}


def begin(made: World, target: str = "/"):
    """Start a call that may be made, and leave it under way."""
    flow = made.exchange(target=target)
    assert isinstance(next(flow), Send)
    return flow


def end(flow) -> None:
    """End a call that is under way."""
    assert isinstance(flow.send(answered(200)), Deliver)
    with pytest.raises(StopIteration):
        flow.send(Ended())


# --- requests -------------------------------------------------------------------------------------


def test_one_request_over_the_limit_is_answered_at_once():
    """Envoy's overflow: 503, UO, and a header that tells other proxies not to try again."""
    made = world(**requests(2))
    first, second = begin(made), begin(made)
    reply = next(made.exchange())
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags, reply.info.attempts) == (503, "UO", 0)
    assert reply.body.endswith(b"reset reason: overflow")
    assert dict(reply.headers)["x-envoy-overloaded"] == "true"
    end(first)
    third = begin(made)
    end(second)
    end(third)
    assert made.nothing_in_flight()


def test_a_request_counts_until_its_body_has_ended():
    """A body that is being read is work of the upstream."""
    made = world(**requests(1))
    flow = begin(made)
    assert isinstance(flow.send(answered(200)), Deliver)
    assert isinstance(next(made.exchange()), Reply)
    flow.close()
    end(begin(made))


def test_subsets_do_not_share_a_limit():
    """A cluster is one subset, as with Envoy."""
    made = world(**requests(1))
    first = begin(made, "/v1")
    assert isinstance(next(made.exchange(target="/v1")), Reply)
    end(begin(made, "/v2"))
    end(first)


def test_overflow_ejects_nobody_and_is_not_tried_again():
    """Nobody failed."""
    outlier = {"consecutive5xxErrors": 1, "maxEjectionPercent": 100}
    made = world(**requests(1), outlierDetection=outlier)
    flow = begin(made)
    refused = made.exchange()
    assert isinstance(next(refused), Reply)
    refused.close()
    end(flow)
    end(begin(made))


# --- retries --------------------------------------------------------------------------------------


def failing(made: World, count: int) -> list:
    """Let so many calls fail at the same time; return what each of them does next."""
    flows = [begin(made) for _ in range(count)]
    return [(flow, flow.send(answered(500))) for flow in flows]


@pytest.mark.parametrize(
    ("policy", "calls", "retried"),
    [
        ({"connectionPool": {"http": {"maxRetries": 1}}}, 3, 1),
        ({"retryBudget": {"percent": 50, "minRetryConcurrency": 0}}, 8, 3),
        ({"retryBudget": {"percent": 0, "minRetryConcurrency": 2}}, 8, 2),
        ({"retryBudget": {}}, 10, 3),
        ({"retryBudget": {"percent": 100}, "connectionPool": {"http": {"maxRetries": 1}}}, 4, 3),
        ({"loadBalancer": {"simple": "ROUND_ROBIN"}}, 8, 8),
    ],
    ids=str,
)
def test_no_more_retries_than_may_be_at_once(policy, calls, retried):
    """A budget is a share of what is under way, at least its minimum, in place of a number."""
    made = world(**policy)
    actions = failing(made, calls)
    assert sum(isinstance(action, Sleep) for _, action in actions) == retried
    for flow, _ in actions:
        flow.close()
    assert made.nothing_in_flight()
    name = "outbound|80||orders.default.svc.cluster.local"
    assert made.mesh.ledger.cluster(name).retries() == 0


def test_who_waits_for_a_connection_counts_for_the_budget():
    """Envoy: a share of the requests that are active or pending."""
    budget = {"retryBudget": {"percent": 30, "minRetryConcurrency": 0}}
    made = world(connectionPool={"tcp": {"maxConnections": 1}}, **budget)
    flows = [made.exchange() for _ in range(4)]
    actions = [next(flow) for flow in flows]
    sent = [flow for flow, action in zip(flows, actions, strict=True) if isinstance(action, Send)]
    assert len(sent) < len(flows), "nobody waits"
    assert isinstance(sent[0].send(answered(500)), Sleep), "30 % of four are one"
    for flow in flows:
        flow.close()
    assert made.nothing_in_flight()


def test_a_retry_that_may_not_be_leaves_the_last_answer_to_the_caller():
    """And says so: UO beside the upstream's own status."""
    made = world(connectionPool={"http": {"maxRetries": 1}})
    (first, _), (second, deliver) = failing(made, 2)
    assert isinstance(deliver, Deliver)
    assert (deliver.info.flags, deliver.info.attempts) == ("UO", 1)
    first.close()
    second.close()
    assert made.nothing_in_flight()


def test_a_retry_counts_from_its_decision_to_its_outcome():
    """The wait before it as well; behind its outcome another call may have it."""
    made = world(connectionPool={"http": {"maxRetries": 1}})
    [(first, _)] = failing(made, 1)
    [(second, deliver)] = failing(made, 1)
    assert isinstance(deliver, Deliver)
    second.close()
    assert isinstance(first.send(None), Send)
    end(first)
    [(third, action)] = failing(made, 1)
    assert isinstance(action, Sleep)
    third.close()


# --- a ServicePolicy's words ----------------------------------------------------------------------


def declared(*rules: dict) -> str:
    """A ServicePolicy for `orders`."""
    return f"""
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {{name: orders}}
spec: {json.dumps({"hosts": ["orders"], "http": list(rules)})}
"""


def test_a_budget_of_ones_own_takes_the_place_of_the_destinations():
    """For the calls that its rule accepts, and no others."""
    made = world(retryBudget={"percent": 0, "minRetryConcurrency": 5})
    own = {"retryBudget": {"percent": 0, "minRetryConcurrency": 1}}
    made.mesh.apply(
        [
            ONLY_SERVICE,
            RULE.format(policy=json.dumps({"retryBudget": {"minRetryConcurrency": 5}})),
            ROUTE,
            declared({"match": [{"uri": {"prefix": "/dear"}}], **own}),
        ]
    )
    first = begin(made, "/dear")
    assert isinstance(first.send(answered(503)), Sleep)
    second = begin(made, "/dear")
    deliver = second.send(answered(503))
    assert isinstance(deliver, Deliver) and deliver.info.flags == "UO"
    third = begin(made, "/cheap")
    assert isinstance(third.send(answered(503)), Sleep)
    for flow in (first, second, third):
        flow.close()
    assert made.nothing_in_flight()


@pytest.mark.parametrize(
    ("rule", "route", "timeout_s"),
    [
        ({"deadline": "2s"}, "timeout: 5s", 2.0),
        ({"deadline": "5s"}, "timeout: 2s", 2.0),
        ({"deadline": "2s"}, "name: r", 2.0),
        ({"deadline": "2s", "match": [{"uri": {"prefix": "/other"}}]}, "timeout: 5s", 5.0),
        ({"deadline": "2s", "match": [{"port": 81}]}, "timeout: 5s", 5.0),
        ({"deadline": "2s", "match": [{"sourceNamespace": "other"}]}, "timeout: 5s", 5.0),
    ],
)
def test_a_deadline_bounds_a_call_whatever_its_route_says(rule, route, timeout_s):
    """The earlier of the two, for calls that the rule is about."""
    made = World()
    made.mesh.apply(
        [
            ONLY_SERVICE,
            declared(rule),
            f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: orders}}
spec:
  hosts: [orders]
  http: [{{route: [{{destination: {{host: orders}}}}], {route}}}]
""",
        ]
    )
    flow = made.exchange()
    sent = next(flow)
    assert isinstance(sent, Send) and sent.timeout_s == timeout_s
    made.clock.advance(1.0)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver) and deliver.deadline_s == timeout_s - 1.0
    flow.close()


def test_a_deadline_counts_a_delay_on_purpose_too():
    """It is the call's own, from its very start."""
    made = World()
    made.mesh.apply(
        [
            ONLY_SERVICE,
            declared({"deadline": "2s"}),
            """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - route: [{destination: {host: orders}}]
      fault: {delay: {fixedDelay: 3s, percentage: {value: 100}}}
""",
        ]
    )
    flow = made.exchange()
    assert next(flow) == Sleep(2.0)
    made.clock.advance(2.0)
    reply = flow.send(None)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.flags) == (504, "UT,DI")
