"""Scripts for the exchange: outcomes in, actions out."""

from __future__ import annotations

import pytest
from outbound_world import GARBLED, REFUSED, RESET, TIMED_OUT, World, answered, finish, route

from meshware.call import (
    Call,
    Deliver,
    Failure,
    FailureKind,
    Raise,
    Reply,
    Send,
    Sleep,
)

RETRY_5XX = route(
    """
    - route: [{destination: {host: orders}}]
      timeout: 10s
      retries: {attempts: 2, perTryTimeout: 5s, retryOn: 5xx}
"""
)


def test_an_answer_is_delivered_and_its_lease_is_held_until_the_body_ends(world):
    """One attempt, one event, and the endpoint counts as busy while the body is read."""
    flow = world.exchange()
    send = next(flow)
    assert isinstance(send, Send)
    assert send.attempt == 1
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver)
    assert deliver.info.attempts == 1
    assert deliver.info.flags == "-"
    assert deliver.info.route == "default"
    assert deliver.info.endpoint in ("10.0.0.1:8001", "10.0.0.2:8001")
    assert not world.nothing_in_flight()
    finish(flow)
    assert world.nothing_in_flight()
    (event,) = world.events
    assert (event.status, event.flags, event.attempts, event.complete) == (200, "-", 1, True)
    assert event.service == "orders.default.svc.cluster.local:80"
    assert event.cluster == "outbound|80||orders.default.svc.cluster.local"


def test_a_retry_goes_to_another_endpoint(make_world):
    """An endpoint that was tried is passed over while another is left."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    first = next(flow)
    assert isinstance(flow.send(answered(503)), Sleep)
    second = flow.send(None)
    assert {first.address, second.address} == {"10.0.0.1", "10.0.0.2"}
    assert second.attempt == 2
    assert isinstance(flow.send(answered(200)), Deliver)
    finish(flow)
    assert world.nothing_in_flight()


def test_two_500s_then_200_is_a_200_after_three_attempts(make_world):
    """Istio's `attempts: 2` means three requests at most."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    next(flow)
    for _ in range(2):
        assert isinstance(flow.send(answered(500)), Sleep)
        assert isinstance(flow.send(None), Send)
    deliver = flow.send(answered(200))
    assert isinstance(deliver, Deliver)
    assert deliver.info.attempts == 3


def test_when_retries_run_out_the_last_answer_is_delivered_with_urx(make_world):
    """The caller sees the upstream's own answer; the flag says why there was no more."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    next(flow)
    for _ in range(2):
        flow.send(answered(500))
        flow.send(None)
    deliver = flow.send(answered(500))
    assert isinstance(deliver, Deliver)
    assert (deliver.info.flags, deliver.info.attempts) == ("URX", 3)


@pytest.mark.parametrize(
    ("method", "replayable", "attempts"),
    [
        pytest.param("GET", True, 2, id="a GET may be repeated"),
        pytest.param("PUT", True, 2, id="so may a PUT"),
        pytest.param("POST", True, 1, id="a POST may not"),
        pytest.param("PUT", False, 1, id="nor may a body that is gone"),
    ],
)
def test_what_is_not_safe_to_repeat_is_sent_once(make_world, method, replayable, attempts):
    """Policy may want a retry; the request decides whether it can be one."""
    world = make_world(RETRY_5XX)
    flow = world.exchange(method, replayable=replayable)
    next(flow)
    action = flow.send(answered(500))
    assert isinstance(action, Sleep if attempts == 2 else Deliver)


def test_a_service_policy_declares_a_post_safe(make_world):
    """`safeToRepeat` is the owner's word that a POST may be sent twice."""
    declared = """
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - match: [{method: {exact: POST}, uri: {prefix: /quotes}}]
      safeToRepeat: true
    - match: [{method: {exact: GET}}]
      safeToRepeat: false
"""
    world = make_world(RETRY_5XX, declared)
    for method, target, action in (
        ("POST", "/quotes/1", Sleep),
        ("POST", "/orders", Deliver),
        ("GET", "/orders", Deliver),
        ("PUT", "/orders", Sleep),
    ):
        flow = world.exchange(method, target=target)
        next(flow)
        assert isinstance(flow.send(answered(500)), action), (method, target)
        flow.close()


def test_a_request_of_which_no_byte_was_sent_may_be_sent_again_whatever_it_is(make_world):
    """A refused connection carried nothing: even a POST with a one-shot body tries the next."""
    world = make_world()
    flow = world.exchange("POST", replayable=False)
    first = next(flow)
    assert isinstance(flow.send(REFUSED), Sleep)
    second = flow.send(None)
    assert first.address != second.address


def test_the_default_policy_retries_failed_connections_but_no_answers(world):
    """Istio's default list has connect-failure, and no status code."""
    flow = world.exchange()
    next(flow)
    assert isinstance(flow.send(answered(503)), Deliver)
    flow.close()
    flow = world.exchange()
    next(flow)
    assert isinstance(flow.send(RESET), Reply)
    flow.close()


@pytest.mark.parametrize(
    ("failure", "status", "flags", "reason"),
    [
        (REFUSED, 503, "UF,URX", "retried and the latest reset reason: remote connection failure"),
        (
            Failure(FailureKind.CONNECT_TIMEOUT, sent=False),
            503,
            "UF,URX",
            "retried and the latest reset reason: connection timeout",
        ),
        (RESET, 503, "UC", "headers. reset reason: connection termination"),
        (GARBLED, 502, "UPE", "headers. reset reason: protocol error"),
    ],
    ids=["refused", "connect time-out", "reset", "garbled"],
)
def test_a_failure_before_headers_is_envoys_local_reply(world, failure, status, flags, reason):
    """Callers of a mesh see a response, as behind a sidecar, and not an exception."""
    flow = world.exchange()
    next(flow)
    action = flow.send(failure)
    while isinstance(action, Sleep):
        flow.send(None)
        action = flow.send(failure)
    assert isinstance(action, Reply)
    assert (action.status, action.info.flags) == (status, flags)
    assert reason.encode() in action.body
    assert ("content-type", "text/plain") in action.headers
    flow.close()
    assert world.nothing_in_flight()
    assert world.events[-1].status == status


def test_a_per_try_timeout_is_tried_again_under_5xx(make_world):
    """Envoy counts a per-try time-out as a reset: `5xx` repeats it."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    send = next(flow)
    assert send.timeout_s == 5.0
    world.clock.advance(5)
    assert isinstance(flow.send(TIMED_OUT), Sleep)


def test_nothing_is_sent_after_the_total_timeout(make_world):
    """The second attempt gets what is left; then it is 504, whatever policy would retry."""
    world = make_world(RETRY_5XX, rng=[0.0, 0.99])
    flow = world.exchange()
    next(flow)
    world.clock.advance(5)
    flow.send(TIMED_OUT)
    world.clock.advance(1)
    send = flow.send(None)
    assert send.timeout_s == pytest.approx(4)
    world.clock.advance(4)
    reply = flow.send(TIMED_OUT)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (504, b"upstream request timeout")
    assert reply.info.flags == "UT"
    flow.close()
    assert world.nothing_in_flight()


def test_a_backoff_that_would_outlast_the_call_ends_with_it(make_world):
    """The wait is cut at the total time-out, and no attempt follows it."""
    world = make_world(
        route(
            """
    - route: [{destination: {host: orders}}]
      timeout: 1s
      retries: {attempts: 5, retryOn: 5xx, backoff: 10s}
"""
        ),
        rng=[0.0, 0.9],
    )
    flow = world.exchange()
    next(flow)
    world.clock.advance(0.4)
    assert flow.send(answered(503)) == Sleep(pytest.approx(0.6))
    world.clock.advance(0.6)
    reply = flow.send(None)
    assert isinstance(reply, Reply)
    assert (reply.status, reply.info.attempts) == (504, 1)


def test_the_callers_own_timeout_ends_the_wait_as_the_librarys_exception(make_world):
    """The earlier of two time-outs ends the call, each in its own way."""
    world = make_world(RETRY_5XX)
    flow = world.exchange(wait_s=2.0)
    assert next(flow).timeout_s == 2.0
    world.clock.advance(2)
    assert flow.send(TIMED_OUT) == Raise(timed_out=True)
    flow.close()
    assert world.events[-1].flags == "DC"
    assert world.nothing_in_flight()


def test_the_callers_timeout_spans_all_attempts(make_world):
    """It bounds the whole wait for headers, as it would with a sidecar."""
    world = make_world(RETRY_5XX, rng=[0.0, 0.0])
    flow = world.exchange(wait_s=6.0)
    assert next(flow).timeout_s == 5.0
    world.clock.advance(5)
    flow.send(TIMED_OUT)
    assert flow.send(None).timeout_s == pytest.approx(1.0)


def test_the_body_has_what_is_left_of_the_total_timeout(make_world):
    """Envoy's route time-out runs until the response is complete."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    next(flow)
    world.clock.advance(4)
    deliver = flow.send(answered(200))
    assert deliver.deadline_s == pytest.approx(6)
    finish(flow, failure=FailureKind.TIMEOUT)
    assert world.events[-1].flags == "UT"
    assert not world.events[-1].complete


@pytest.mark.parametrize("steps", [1, 2, 3], ids=["while sending", "while waiting", "second try"])
def test_closing_at_any_point_gives_the_lease_back_and_tells_once(make_world, steps):
    """Cancellation, KeyboardInterrupt and a dropped body all end here."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    next(flow)
    if steps > 1:
        flow.send(answered(500))
    if steps > 2:
        flow.send(None)
    flow.close()
    assert world.nothing_in_flight()
    assert [event.flags for event in world.events] == ["DC"]


def test_a_body_dropped_by_the_caller_is_not_complete(world):
    """The status stands, and the flag says who went away."""
    flow = world.exchange()
    next(flow)
    flow.send(answered(200))
    flow.close()
    (event,) = world.events
    assert (event.status, event.complete, event.flags) == (200, False, "DC")
    assert world.nothing_in_flight()


def test_no_route_is_404_and_no_falling_back(make_world):
    """A VirtualService whose rules all decline leaves nothing to fall back on."""
    world = make_world(
        route("    - match: [{uri: {exact: /a}}]\n      route: [{destination: {host: orders}}]")
    )
    reply = next(world.exchange(target="/b"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.info.flags) == (404, b"", "NR")


def test_a_subset_without_endpoints_is_no_healthy_upstream(make_world):
    """The subset exists, but nobody has its labels."""
    world = make_world(route("    - route: [{destination: {host: orders, subset: empty}}]"))
    reply = next(world.exchange())
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body) == (503, b"no healthy upstream")
    assert reply.info.flags == "UH"


def test_a_grpc_caller_gets_a_grpc_answer(make_world):
    """Every local reply becomes 200 with grpc-status, and the body its message."""
    world = make_world(route("    - route: [{destination: {host: orders, subset: empty}}]"))
    reply = next(world.exchange("POST", headers={"Content-Type": "application/grpc"}))
    assert isinstance(reply, Reply)
    assert reply.status == 200
    assert ("grpc-status", "14") in reply.headers
    assert ("grpc-message", "no healthy upstream") in reply.headers


def test_unknown_hosts_pass_through_as_without_the_mesh(world):
    """No address, no time-out, no header of ours; failures stay the library's own."""
    flow = world.exchange(host="api.example.com")
    send = next(flow)
    assert (send.address, send.timeout_s, send.headers) == (None, None, ())
    assert flow.send(REFUSED) == Raise(timed_out=False)
    flow.close()
    flow = world.exchange(host="api.example.com")
    next(flow)
    deliver = flow.send(answered(500))
    assert isinstance(deliver, Deliver)
    assert deliver.info.route == "allow_any"


def test_unknown_hosts_are_502_under_registry_only(make_world):
    """Empty body, no flag, as Istio's BlackHoleCluster answers."""
    world = make_world(
        """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
    )
    reply = next(world.exchange(host="api.example.com"))
    assert isinstance(reply, Reply)
    assert (reply.status, reply.body, reply.info.flags) == (502, b"", "-")


def test_the_inbound_calls_names_travel_on_without_app_code(world):
    """x-request-id and trace context of the inbound call go out with every attempt."""
    call = Call(
        request_id="11111111-2222-4333-8444-555555555555",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        tracestate="a=b",
    )
    headers = dict(next(world.exchange(call=call)).headers)
    assert headers == {
        "x-request-id": call.request_id,
        "traceparent": call.traceparent,
        "tracestate": "a=b",
        "x-envoy-attempt-count": "1",
    }


def test_what_the_app_set_itself_stays(world):
    """A request id or trace context of the app's own is not overwritten."""
    call = Call(request_id="from-inbound", traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01")
    own = {"X-Request-Id": "mine", "Traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-00"}
    headers = dict(next(world.exchange(call=call, headers=own)).headers)
    assert headers == {"x-envoy-attempt-count": "1"}


def test_weights_are_drawn_once_and_kept_through_retries(make_world):
    """A retry does not draw again: it stays in the cluster first chosen."""
    world = make_world(
        route(
            """
    - route:
        - {destination: {host: orders, subset: v1}, weight: 80}
        - {destination: {host: orders, subset: v2}, weight: 20}
      retries: {attempts: 1, retryOn: 5xx}
"""
        ),
        rng=[0.85],
    )
    flow = world.exchange()
    assert next(flow).address == "10.0.0.2"
    flow.send(answered(500))
    assert flow.send(None).address == "10.0.0.2"


def test_a_whole_call_keeps_the_policy_it_started_with(make_world):
    """A swap between two attempts does not reach a call that has begun."""
    world = make_world(RETRY_5XX)
    flow = world.exchange()
    next(flow)
    flow.send(answered(500))
    world.mesh.apply([])
    assert isinstance(flow.send(None), Send)
    flow.close()
    assert world.nothing_in_flight()


def test_without_any_policy_nothing_goes_out():
    """Fail closed: 503 with Retry-After."""
    world = World()
    world.mesh.cell.current = None
    reply = next(world.exchange())
    assert isinstance(reply, Reply)
    assert reply.status == 503
    assert ("retry-after", "1") in reply.headers
