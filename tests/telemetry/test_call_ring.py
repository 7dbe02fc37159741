"""Which calls are kept, what is kept of them, and that a flood of them costs little."""

from __future__ import annotations

import pytest
from inbound_drive import wsgi_call
from inbound_world import policy, request, to
from outbound_world import REFUSED, RESET, World, answered, finish, route
from tracing_world import SAMPLED, TRACE, traced_by

from meshware.call import Failure, FailureKind, Send, Sleep
from meshware.events import InboundEvent
from meshware.telemetry.call_record import MOST_LISTED, MOST_PATH
from meshware.telemetry.call_ring import MOST_A_SECOND, MOST_OF_A_KIND, CallRing
from meshware.testing import FakeClock, TestMesh
from meshware.wsgi import MeshMiddleware

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
CLOSED = policy("DENY", to(paths=["/closed*"]), name="doors")


def ring_of(clock: FakeClock | None = None) -> CallRing:
    """A ring whose day is the 1,000th second."""
    return CallRing((clock or FakeClock()).monotonic, lambda: 1000.0)


def refused(path: str = "/closed", rules=CLOSED, **said) -> InboundEvent:
    """The event of a call that the gate refuses."""
    mesh = TestMesh(rules)
    passage = mesh.gate.admit(request(path, **said))
    passage.finish(passage.status)
    [event] = mesh.events
    return event


def called(app, *, target="/x?secret=1") -> CallRing:
    """What is kept of a call of an app."""
    mesh, ring = TestMesh([]), ring_of()
    answer = wsgi_call(MeshMiddleware(app, mesh), target, headers=[("host", "app")])
    assert answer is not None
    for event in mesh.events:
        ring(event)
    return ring


def answering(status: str):
    """An app."""

    def app(environ, start_response):
        start_response(status, [])
        return [b""]

    return app


def test_a_refusal_is_kept_with_all_that_decided_it(tmp_path):
    """What the log of refused calls has, and where to look further."""
    path = tmp_path / "doors.yaml"
    path.write_text(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: doors}\n"
        "spec: {action: DENY, rules: [{to: [{operation: {paths: [/closed]}}]}]}\n"
    )
    mesh = TestMesh(path)
    web = mesh.issue("spiffe://cluster.local/ns/shop/sa/web")
    passage = mesh.gate.admit(
        request("/closed?card=4111", method="PUT", shows=web, headers=[("traceparent", SAMPLED)])
    )
    passage.finish(passage.status)
    ring = ring_of()
    ring(mesh.events[0])
    [call] = ring.snapshot()
    assert (call.direction, call.outcome, call.status) == ("inbound", "refused", 403)
    assert (call.method, call.host, call.path) == ("PUT", "app", "/closed")
    assert (call.policy, call.rule, call.place) == ("default/doors", 0, f"{path}:4")
    assert call.reason.startswith("rbac_access_denied")
    assert (call.principal, call.proved_by) == ("cluster.local/ns/shop/sa/web", "mtls")
    assert (call.source_ip, call.candidates) == ("192.0.2.1", ("/closed",))
    assert (call.generation, call.request_id) == (1, passage.request_id)
    assert (call.trace_id, call.at, call.number) == (TRACE, 1000.0, 1)


@pytest.mark.parametrize(
    ("status", "is_kept"), [("200 OK", 0), ("404 No", 0), ("500 Sorry", 1), ("503 Sorry", 1)]
)
def test_answers_of_an_app_are_kept_where_it_failed(status, is_kept):
    """A 404 is an answer."""
    assert len(called(answering(status)).snapshot()) == is_kept


def test_an_exception_is_kept_by_its_type():
    def app(environ, start_response):
        raise LookupError("password hunter2")

    [call] = called(app).snapshot()
    assert (call.outcome, call.exception) == ("failed", "LookupError")
    assert "hunter2" not in str(call)
    assert "secret" not in str(call)


def test_a_refused_call_that_is_traced_leads_to_its_trace():
    """Its span is made when it is over."""
    mesh = traced_by(TestMesh(CLOSED))
    passage = mesh.gate.admit(request("/closed"))
    passage.finish(passage.status)
    ring = ring_of()
    ring(mesh.events[0])
    [[span]] = mesh.tracing.ring.snapshot()
    assert ring.snapshot()[0].trace_id == span.trace_id


def outbound(*outcomes, rules="  - route: [{destination: {host: orders}}]", **asked) -> CallRing:
    """What is kept of a call that went out, given what came of its attempts."""
    world, ring = World(route(rules)), ring_of()
    world.mesh._sink = ring
    flow = world.exchange(target="/a?card=4111", **asked)
    action = next(flow, None)
    try:
        for outcome in outcomes:
            assert isinstance(action, Send)
            action = flow.send(outcome)
            while isinstance(action, Sleep):
                action = flow.send(None)
        if outcomes and not isinstance(outcomes[-1], Failure):
            finish(flow)
    finally:
        flow.close()
    return ring


RETRIED = """\
  - name: patient
    route: [{destination: {host: orders}}]
    retries: {attempts: 1, retryOn: "5xx,connect-failure,reset"}
"""


def test_a_call_that_went_out_in_vain_has_its_attempts():
    [call] = outbound(REFUSED, answered(503), rules=RETRIED).snapshot()
    assert (call.direction, call.outcome, call.status) == ("outbound", "failed", 503)
    assert (call.host, call.path, call.route) == ("orders", "/a", "patient")
    assert (call.attempts, call.flags, call.reason) == (2, "URX", "via_upstream")
    first, second = call.tries
    assert (first.number, first.failure) == (1, "connect")
    assert (second.number, second.status) == (2, 503)
    assert first.endpoint != second.endpoint == call.endpoint


@pytest.mark.parametrize(
    ("rules", "outcomes", "expected"),
    [
        ("  - match: [{uri: {exact: /other}}]\n    route: [{destination: {host: orders}}]", (),
         ("refused", 404, "NR", "route_not_found")),
        ("  - route: [{destination: {host: orders, subset: empty}}]", (),
         ("refused", 503, "UH", "no_healthy_upstream")),
        ("  - fault: {abort: {httpStatus: 503, percentage: {value: 100}}}\n"
         "    route: [{destination: {host: orders}}]", (),
         ("refused", 503, "FI", "fault_filter_abort")),
        ("  - route: [{destination: {host: orders}}]\n    retries: {attempts: 0}", (RESET,),
         ("failed", 503, "UC", "upstream_reset_before_response_started{connection_termination}")),
    ],
    ids=["NR", "UH", "FI", "UC"],
)  # fmt: skip
def test_the_reason_is_envoys_for_what_the_flags_say(rules, outcomes, expected):
    [call] = outbound(*outcomes, rules=rules).snapshot()
    assert (call.outcome, call.status, call.flags, call.reason) == expected


def test_a_call_that_went_well_is_not_kept_whatever_was_tried():
    """Nor one that policy delayed, nor an error that is the caller's."""
    assert outbound(REFUSED, answered(200), rules=RETRIED).snapshot() == []
    assert outbound(answered(404)).snapshot() == []


def test_what_a_library_says_of_a_failure_bears_no_query():
    failure = Failure(
        FailureKind.CONNECT, sent=False, detail=f"no way to http://a/b?key=hunter2, nor {TOKEN}"
    )
    [call] = outbound(failure, failure, rules=RETRIED).snapshot()
    assert call.tries[0].detail == "no way to http://a/b?... nor [token]"


@pytest.mark.parametrize("path", [f"/closed/{TOKEN}", f"/closed;token={TOKEN}"])
def test_what_may_be_a_secret_is_not_kept(path):
    ring = ring_of()
    ring(refused(path, host="user:hunter2@shop", headers=[("authorization", f"Bearer {TOKEN}")]))
    [call] = ring.snapshot()
    assert TOKEN not in str(call)
    assert "hunter2" not in str(call)
    assert call.path.startswith("/closed")


def test_a_record_has_a_size_that_is_known():
    ring = ring_of()
    ring(refused("/closed" + "x" * 50_000, host="h" * 5000))
    [call] = ring.snapshot()
    assert len(call.path) == MOST_PATH
    assert len(call.host) <= MOST_PATH
    assert len(call.candidates) <= MOST_LISTED
    assert all(len(path) <= MOST_PATH for path in call.candidates)


def test_of_a_flood_some_are_kept_and_the_others_counted():
    """And a flood of one kind does not keep others out."""
    clock = FakeClock()
    ring, event = ring_of(clock), refused()
    for _ in range(1000):
        ring(event)
    assert len(ring.snapshot()) == MOST_OF_A_KIND
    assert ring.left_out == 1000 - MOST_OF_A_KIND
    ring(refused("/other", policy("ALLOW", to(paths=["/a"]), name="only")))
    newest = ring.snapshot()[-1]
    assert (newest.path, newest.left_out) == ("/other", 1000 - MOST_OF_A_KIND)
    clock.advance(1.0)
    ring(event)
    assert len(ring.snapshot()) == MOST_OF_A_KIND + 2
    assert ring.left_out == 0


def test_of_many_kinds_so_many_are_kept_in_a_second():
    ring = ring_of()
    for number in range(MOST_A_SECOND + 5):
        ring(refused("/closed", policy("DENY", to(paths=["/closed"]), name=f"doors-{number}")))
    assert len(ring.snapshot()) == MOST_A_SECOND
    assert ring.left_out == 5


def test_the_newest_are_kept():
    clock = FakeClock()
    ring, event = CallRing(clock.monotonic, lambda: 1.0, most_calls=3), refused()
    for _ in range(9):
        ring(event)
        clock.advance(1.0)
    assert [call.number for call in ring.snapshot()] == [7, 8, 9]


def test_an_event_that_comes_while_another_is_told_waits_for_nothing():
    """As in garbage collection, on the very thread that holds the lock."""
    ring, event = ring_of(), refused()
    with ring._lock:
        ring(event)
    assert (ring.snapshot(), ring.left_out) == ([], 1)


def test_a_mesh_keeps_them_of_itself_and_a_child_begins_with_nothing():
    from meshware.runtime.mesh import Mesh

    mesh = Mesh()  # without policy all are refused
    mesh.gate.admit(request("/")).finish(503)
    [call] = mesh.calls.snapshot()
    assert (call.outcome, call.generation, call.reason) == ("refused", 0, "no_policy")
    mesh._renew()
    assert mesh.calls.snapshot() == []


def test_a_body_that_was_cut_and_a_caller_that_gave_up_are_failures_of_their_own():
    world, ring = World(), ring_of()
    world.mesh._sink = ring
    flow = world.exchange(target="/cut")
    next(flow)
    flow.send(answered(200))
    finish(flow, failure=FailureKind.TERMINATED)
    gone = world.exchange(target="/gone")
    next(gone)
    gone.close()
    left = world.exchange(target="/left")
    next(left)
    left.send(answered(200))
    left.close()  # the caller has had enough of a body: nothing failed
    assert [(call.path, call.status, call.flags, call.reason) for call in ring.snapshot()] == [
        ("/cut", 200, "UC", "upstream_reset_after_response_started{connection_termination}"),
        ("/gone", 0, "DC", "downstream_remote_disconnect"),
    ]


def test_a_copy_for_a_mirror_is_nobodys_failure():
    world, ring = World(route(
        "  - route: [{destination: {host: orders, subset: v1}}]\n"
        "    mirror: {host: orders, subset: v2}"
    )), ring_of()  # fmt: skip
    world.mesh._sink = ring
    flow = world.exchange()
    mirror = next(flow)
    next(mirror.exchange)
    mirror.exchange.send(REFUSED)
    mirror.exchange.close()
    next(flow)
    flow.send(answered(200))
    finish(flow)
    assert ring.snapshot() == []
