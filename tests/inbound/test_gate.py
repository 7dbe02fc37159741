"""The gate: the order of its steps, what it tells of a call, and that it never raises."""

from __future__ import annotations

import logging
import re

import msgspec
import pytest
from inbound_world import NOTHING, mesh_config, policy, request, status_of, to, when

from meshware.call import Flag
from meshware.clock import unix_time
from meshware.events import InboundEvent
from meshware.inbound.gate import Gate
from meshware.inbound.passage import Admission, Denial
from meshware.policy.snapshot import SnapshotCell, build_snapshot
from meshware.policy.view import Client
from meshware.runtime.mesh import Mesh
from meshware.testing import FakeClock, TestMesh

UUID4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TRACE = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT = f"00-{TRACE}-b7ad6b7169203331-01"


def admitted(mesh, head) -> Admission:
    passage = mesh.gate.admit(head)
    assert isinstance(passage, Admission), passage
    return passage


def denied(mesh, head) -> Denial:
    passage = mesh.gate.admit(head)
    assert isinstance(passage, Denial), passage
    return passage


# --- order ----------------------------------------------------------------------------------------


def test_without_any_policy_every_call_is_503_and_may_be_tried_again():
    """There never was one: nobody knows what may pass."""
    denial = denied(Mesh(client=Client(name="app")), request())
    assert (denial.status, denial.generation) == (503, 0)
    assert dict(denial.headers)["retry-after"] == "1"
    assert denial.reason == "no_policy"


def test_a_workload_that_policy_does_not_know_gets_503():
    """Which rules apply is not known either."""
    known = TestMesh(NOTHING)
    records = known.cell.current._records
    for client in (Client(), Client(name="other")):
        snapshot = build_snapshot(records, client, generation=7, on_refusal=lambda *_: None)
        denial = denied(Mesh(client=client, cell=SnapshotCell(snapshot)), request())
        assert (denial.status, denial.generation, denial.reason) == (503, 7, "unknown_workload")
        assert dict(denial.headers)["retry-after"] == "1"


def test_what_is_malformed_is_400_whatever_the_rules_say():
    """It is not known what they would have to decide on."""
    mesh = TestMesh(policy("DENY", {}))
    denial = denied(mesh, request("/a%00"))
    assert (denial.status, denial.body) == (400, "Bad Request")
    assert denial.reason == "bad_request{there are control characters in the path}"


def test_a_fragment_that_the_app_would_see_is_400():
    """Some servers leave it in the path; rules are about what stands before it."""
    mesh = TestMesh(policy("DENY", to(paths=["/admin"])))
    assert status_of(mesh, request("/admin#x", paths=("/admin#x",))) == 400
    assert status_of(mesh, request("/admin#x", paths=("/admin",))) == 403
    assert status_of(mesh, request("/a%23x", paths=("/a#x",))) == 200


# --- an exception while deciding ------------------------------------------------------------------


def broken_gate(what: str, caught: list[Exception], events: list) -> Gate:
    """A gate of which one part raises."""

    def fail(*_args):
        raise ZeroDivisionError(what)

    mesh = TestMesh(NOTHING)
    return Gate(
        fail if what == "snapshot" else lambda: mesh.cell.current,
        monotonic=FakeClock().monotonic,
        new_request_id=lambda: "made",
        peers=mesh.gate._peers,
        now=unix_time(mesh.clock),
        sink=fail if what == "sink" else events.append,
        on_error=caught.append,
    )


def test_an_exception_while_deciding_denies():
    """A handler reached by mistake cannot be undone."""
    caught, events = [], []
    passage = broken_gate("snapshot", caught, events).admit(request("/a"))
    assert isinstance(passage, Denial)
    assert (passage.status, passage.body) == (403, "RBAC: access denied")
    assert [str(error) for error in caught] == ["snapshot"]
    passage.finish(403)
    assert [(event.status, event.reason) for event in events] == [
        (403, "exception_while_deciding{ZeroDivisionError}")
    ]


def test_headers_that_cannot_be_read_deny():
    """A driver's own mistake is met by the same rule."""
    head = msgspec.structs.replace(request(), headers=lambda name: 1 / 0)
    caught, events = [], []
    passage = broken_gate("", caught, events).admit(head)
    assert isinstance(passage, Denial)
    assert passage.status == 403
    assert len(caught) == 1


def test_a_sink_that_raises_harms_nobody():
    """Telemetry fails open."""
    caught: list[Exception] = []
    passage = broken_gate("sink", caught, []).admit(request())
    assert isinstance(passage, Admission)
    passage.finish(200)
    passage.finish(200)
    assert [str(error) for error in caught] == ["sink"]


def test_a_mistake_is_logged_once_for_its_place(caplog):
    """A caller must not be able to fill the log."""
    mesh = TestMesh(NOTHING)
    head = msgspec.structs.replace(request(), headers=lambda name: 1 / 0)
    with caplog.at_level(logging.ERROR, "meshware"):
        for _ in range(3):
            assert denied(mesh, head).status == 403
    assert len([record for record in caplog.records if "told once" in record.message]) <= 1


# --- events ---------------------------------------------------------------------------------------


def test_one_event_tells_of_an_admission():
    """What the app answered, and how long it took; the rule that let it in is not its doing."""
    clock = FakeClock()
    mesh = TestMesh(policy("ALLOW", {}), clock=clock)
    admission = admitted(mesh, request("/a/b?c", method="PUT", host="shop.com:80"))
    clock.advance(1.5)
    admission.finish(201)
    admission.finish(500, Flag.DOWNSTREAM_CLOSED)
    [event] = mesh.events
    assert isinstance(event, InboundEvent)
    assert (event.method, event.host, event.path) == ("PUT", "shop.com:80", "/a/b")
    assert (event.status, event.flags, event.reason) == (201, "-", "via_upstream")
    assert (event.policy, event.rule, event.is_refused) == (None, None, False)
    assert (event.generation, event.source_ip, event.duration_s) == (1, "192.0.2.1", 1.5)
    assert event.request_id == admission.call.request_id


def test_one_event_tells_of_a_denial():
    """Which policy refused it, and by which rule."""
    mesh = TestMesh(policy("DENY", to(paths=["/x"]), to(paths=["/a"]), name="doors"))
    denial = denied(mesh, request("/a"))
    assert mesh.events == []
    denial.finish(403)
    denial.finish(403)
    [event] = mesh.events
    assert (event.status, event.policy, event.rule) == (403, "default/doors", 1)
    assert event.reason == "rbac_access_denied_matched_policy[ns[default]-policy[doors]-rule[1]]"
    assert event.request_id == denial.request_id
    assert (event.is_refused, event.place) == (True, "<mapping>:1")
    assert (event.candidates, event.source_ip, event.principal) == (("/a",), "192.0.2.1", None)


def test_a_caller_that_went_away_is_flagged():
    """Envoy's DC; without a response there is no status."""
    mesh = TestMesh(NOTHING)
    admitted(mesh, request()).finish(0, Flag.DOWNSTREAM_CLOSED)
    assert [(event.status, event.flags) for event in mesh.events] == [(0, "DC")]


def test_the_path_of_an_event_is_encoded_where_the_server_knows_no_target():
    """One spelling in logs."""
    mesh = TestMesh(NOTHING)
    admitted(mesh, request(None, paths=("/caf\xe9 1",))).finish(200)
    assert mesh.events[0].path == "/caf%C3%A9%201"


# --- what the app gets ----------------------------------------------------------------------------


def test_what_only_the_mesh_may_say_is_removed():
    """A client's own claims never reach the app."""
    names = [
        "x-forwarded-client-cert",
        "x-envoy-original-path",
        "x-envoy-upstream-rq-timeout-ms",
        "x_envoy_original_path",
        "x-meshware-principal",
        "X-Meshware_Anything",
    ]
    kept = ["x-forwarded-for", "x-user", "authorization", "envoy"]
    admission = admitted(TestMesh(NOTHING), request(headers=[(name, "1") for name in names + kept]))
    removed = set(admission.remove)
    assert removed - {"x-request-id"} == {name.lower() for name in names}


def test_a_request_id_is_made_where_there_is_none():
    """A random UUID, in the call and in the header that the app sees."""
    mesh = TestMesh(NOTHING)
    one, two = (admitted(mesh, request()) for _ in range(2))
    assert UUID4.fullmatch(one.call.request_id)
    assert dict(one.add) == {"x-request-id": one.call.request_id}
    assert one.call.request_id != two.call.request_id


def test_a_request_id_is_kept():
    """Nothing is added then."""
    admission = admitted(TestMesh(NOTHING), request(headers=[("x-request-id", "abc-1")]))
    assert admission.call.request_id == "abc-1"
    assert admission.add == ()
    assert "x-request-id" not in admission.remove


@pytest.mark.parametrize(
    "values",
    [["a", "b"], ["a b"], [""], ["x" * 201], ["caf\xe9"], ["a\nb"], ["a\n"]],
    ids=["two", "blank", "empty", "long", "not ASCII", "line end", "line end at the end"],
)
def test_a_request_id_that_is_unsound_is_replaced(values):
    """It goes into logs and into the headers of other calls."""
    head = request(headers=[("x-request-id", value) for value in values])
    admission = admitted(TestMesh(NOTHING), head)
    assert UUID4.fullmatch(admission.call.request_id)
    assert "x-request-id" in admission.remove


@pytest.mark.parametrize(
    ("sent", "trace_id"),
    [
        ([TRACEPARENT], TRACE),
        ([f" {TRACEPARENT} "], TRACE),
        ([TRACEPARENT.replace("00-", "01-", 1) + "-more"], TRACE),
        ([TRACEPARENT, TRACEPARENT], None),
        ([TRACEPARENT.upper()], None),
        ([TRACEPARENT + "-more"], None),
        ([TRACEPARENT.replace("00-", "ff-", 1)], None),
        ([f"00-{'0' * 32}-b7ad6b7169203331-01"], None),
        ([f"00-{TRACE}-{'0' * 16}-01"], None),
        ([TRACEPARENT + "\n"], None),
        (["garbage"], None),
        ([], None),
    ],
)
def test_a_trace_goes_on_only_from_a_sound_traceparent(sent, trace_id):
    """W3C Trace Context; what is malformed counts as absent."""
    head = request(headers=[*(("traceparent", value) for value in sent), ("tracestate", "a=1")])
    call = admitted(TestMesh(NOTHING), head).call
    assert call.trace_id == trace_id
    if trace_id is None:
        assert (call.traceparent, call.tracestate) == (None, None)
    else:
        assert (call.traceparent, call.tracestate) == (sent[0].strip(), "a=1")


def test_nothing_of_identity_is_known_yet():
    """No header makes a peer."""
    head = request(
        headers=[("x-forwarded-client-cert", "URI=spiffe://a/b"), ("authorization", "Bearer x")]
    )
    call = admitted(TestMesh(NOTHING), head).call
    assert (call.peer, call.principal, dict(call.claims)) == (None, None, {})


# --- normalisation that the app sees --------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "target", "seen"),
    [
        ("BASE", "/a/../b", "/b"),
        ("BASE", "/a//b", "/a//b"),
        ("BASE", "/a%2fb", "/a%2fb"),
        ("BASE", "/%61", "/a"),
        ("BASE", "/a#x", "/a"),
        ("MERGE_SLASHES", "/a//../b", "/a/b"),
        ("DECODE_AND_MERGE_SLASHES", "/a%2f%2e%2e%5cb", "/b"),
        ("NONE", "/a/../b", "/a/../b"),
    ],
)
def test_the_app_sees_the_normalised_path_where_mesh_config_asks_for_it(mode, target, seen):
    """As behind Istio's proxy."""
    mesh = TestMesh(mesh_config(pathNormalization={"normalization": mode}))
    assert admitted(mesh, request(target)).path == seen


def test_by_default_the_apps_path_is_left_alone():
    """Only the decision is strict."""
    mesh = TestMesh(NOTHING)
    admission = admitted(mesh, request("/a/../b"))
    assert (admission.path, admission.app_path) == (None, None)
    assert set(admission.candidates) == {"/b", "/a/../b"}


def test_what_normalisation_refuses_is_400():
    """An escaped NUL."""
    mesh = TestMesh(mesh_config(pathNormalization={"normalization": "BASE"}))
    assert status_of(mesh, request("/a%00", paths=("/a",))) == 400


def test_a_condition_on_the_mode_decides_on_what_the_app_will_see():
    """BASE leaves `%2f`, and the app decodes it: both must be allowed."""
    config = mesh_config(pathNormalization={"normalization": "BASE"})
    mesh = TestMesh([config, policy("ALLOW", to(paths=["/public/*"]))])
    assert status_of(mesh, request("/public/a")) == 200
    assert status_of(mesh, request("/public/a%2fb")) == 200
    assert status_of(mesh, request("/public/..%2fadmin")) == 403
    mesh = TestMesh([config, policy("DENY", to(paths=["/admin/*"]))])
    assert status_of(mesh, request("/public/..%2fadmin/x")) == 403
    assert status_of(mesh, request("/admin%2fx")) == 403


# --- one version ----------------------------------------------------------------------------------


def test_a_call_is_decided_by_the_policy_that_was_there_when_it_came():
    """The snapshot is read once."""
    mesh = TestMesh(policy("ALLOW", {}))
    admission = admitted(mesh, request())
    mesh.apply(policy("DENY", {}))
    assert denied(mesh, request()).generation == 2
    admission.finish(200)
    assert [event.generation for event in mesh.events] == [1]


def test_the_policy_in_force_is_asked_for_once_for_each_call():
    """A second look could see another version."""
    mesh, looks = TestMesh(policy("ALLOW", when("destination.port", "8080"))), []

    def look():
        looks.append(1)
        return mesh.cell.current

    gate = Gate(
        look,
        monotonic=FakeClock().monotonic,
        new_request_id=lambda: "made",
        peers=mesh.gate._peers,
        now=unix_time(mesh.clock),
        sink=lambda event: None,
        on_error=lambda error: pytest.fail(str(error)),
    )
    assert isinstance(gate.admit(request()), Admission)
    assert looks == [1]
