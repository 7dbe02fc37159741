"""Which calls get spans, what goes out with the calls made for them, and what the ring has."""

from __future__ import annotations

import pytest
from inbound_drive import asgi_call, wsgi_call
from outbound_world import RESET, World, answered, finish, route
from tracing_world import SAMPLED, SPAN, TRACE, UNSAMPLED, traced_by

import meshware
from meshware.asgi import MeshMiddleware
from meshware.call import Mirror, Send, Sleep
from meshware.policy.telemetry_plan import Tag
from meshware.telemetry.span_attributes import shorten
from meshware.testing import TestMesh
from meshware.trace import read_context
from meshware.wsgi import MeshMiddleware as WsgiMesh

NOTHING: list[dict] = []


def called(mesh, *headers, status=200, target="/users/1"):
    """What the app saw: its headers, and the call."""
    seen = {}

    async def app(scope, receive, send):
        seen["call"] = meshware.current_call()
        seen["headers"] = {name.decode(): value.decode() for name, value in scope["headers"]}
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"x"})

    asgi_call(MeshMiddleware(app, mesh), target, headers=[("host", "app"), *headers])
    return seen


def records(mesh):
    return [record for call in mesh.tracing.ring.snapshot() for record in call]


def context_in(send):
    table = dict(send.headers)
    return read_context(lambda name: (table[name],) if name in table else ())


def test_what_looks_like_a_token_is_in_no_span():
    """Whoever calls may write one anywhere, and spans go to others."""
    token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4ifQ.c2ln"
    mesh = traced_by(TestMesh(NOTHING))
    called(mesh, target=f"/a/{token}/b?token={token}")
    (record,) = records(mesh)
    assert record.attributes["url.path"] == "/a/[token]/b"
    assert "eyJ" not in str(record.attributes)


def test_an_app_sees_one_context_whatever_formats_its_caller_mixes():
    """The others would say another one."""
    mesh = traced_by(TestMesh(NOTHING))
    seen = called(mesh, ("traceparent", SAMPLED), ("b3", "0"), ("x-b3-traceid", SPAN))
    assert "b3" not in seen["headers"]
    assert "x-b3-traceid" not in seen["headers"]
    assert seen["headers"]["traceparent"] == seen["call"].traceparent


def test_what_is_begun_here_stays_here_where_policy_says_so():
    """`disableContextPropagation`: only what the caller gave is carried, sampled or not."""
    for ratio in (0.0, 1.0):
        mesh = traced_by(TestMesh(NOTHING), propagates=False, sampling_ratio=ratio)
        seen = called(mesh)
        assert seen["call"].trace_headers == ()
        assert "traceparent" not in seen["headers"]
        assert called(mesh, ("traceparent", UNSAMPLED))["call"].traceparent == UNSAMPLED


def test_without_policy_about_it_the_callers_context_is_carried():
    """And nothing is begun, and nothing kept."""
    mesh = TestMesh(NOTHING)
    assert called(mesh, ("traceparent", SAMPLED))["call"].traceparent == SAMPLED
    assert called(mesh)["call"].traceparent is None
    assert records(mesh) == []


def test_a_sampled_call_gets_a_server_span_below_its_caller():
    """The app and the calls that it makes bear that span's context."""
    mesh = traced_by(TestMesh(NOTHING))
    seen = called(mesh, ("traceparent", SAMPLED), ("tracestate", "a=1"))
    (record,) = records(mesh)
    assert (record.trace_id, record.parent_id, record.kind) == (TRACE, SPAN, "server")
    assert record.name == "app/*"
    assert seen["call"].traceparent == f"00-{TRACE}-{record.span_id}-01"
    assert seen["headers"]["traceparent"] == seen["call"].traceparent
    assert seen["headers"]["tracestate"] == "a=1"


def test_a_server_span_says_what_the_mesh_knows():
    """By the conventions for HTTP, Envoy's and Istio's tags, and ours."""
    mesh = traced_by(TestMesh(NOTHING, "shop/orders"))
    called(mesh, status=503)
    (record,) = records(mesh)
    assert record.status == "error"
    expected = {
        "http.request.method": "GET",
        "http.response.status_code": 503,
        "http.status_code": "503",
        "url.path": "/users/1",
        "meshware.generation": 1,
        "response_flags": "-",
        "istio.namespace": "shop",
        "istio.canonical_service": "orders",
        "component": "proxy",
        "error": True,
    }
    assert {name: record.attributes.get(name) for name in expected} == expected


@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_a_callers_no_is_carried_on(ratio):
    """Whatever chance policy gives it."""
    mesh = traced_by(TestMesh(NOTHING), sampling_ratio=ratio)
    assert called(mesh, ("traceparent", UNSAMPLED))["call"].traceparent == UNSAMPLED
    assert records(mesh) == []


def test_an_unsampled_call_without_a_context_begins_one():
    """So that whoever comes behind decides the same."""
    mesh = traced_by(TestMesh(NOTHING), sampling_ratio=0.0)
    seen = called(mesh)
    assert seen["call"].traceparent.endswith("-00")
    assert seen["headers"]["traceparent"] == seen["call"].traceparent
    assert records(mesh) == []


def test_a_call_whose_spans_are_not_reported_is_carried():
    """`disableSpanReporting`: nothing is kept, and propagation goes on."""
    mesh = traced_by(TestMesh(NOTHING), is_reported=False)
    assert called(mesh)["call"].traceparent.endswith("-00")


def test_without_propagation_the_app_and_its_calls_bear_the_callers_context():
    """`disableContextPropagation`: there is a span, and nobody hears of it."""
    mesh = traced_by(TestMesh(NOTHING), propagates=False)
    seen = called(mesh, ("traceparent", SAMPLED))
    assert seen["headers"]["traceparent"] == SAMPLED
    assert dict(seen["call"].trace_headers)["traceparent"] == SAMPLED
    assert len(records(mesh)) == 1


def test_a_refused_call_has_a_span_that_says_why():
    """It is made when the call is over."""
    deny = {
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "none", "namespace": "default"},
        "spec": {"action": "DENY", "rules": [{}]},
    }
    mesh = traced_by(TestMesh([deny]))
    called(mesh, ("traceparent", SAMPLED))
    (record,) = records(mesh)
    assert (record.trace_id, record.attributes["http.response.status_code"]) == (TRACE, 403)
    assert record.attributes["meshware.policy"] == "default/none"


def test_policy_adds_tags():
    """From what it says itself, the environment, and headers, with defaults."""
    mesh = TestMesh(NOTHING)
    tags = (
        Tag(name="zone", literal="a"),
        Tag(name="who", header="x-user", default="nobody"),
        Tag(name="other", header="x-other", default="nothing"),
        Tag(name="none", header="x-none"),
        Tag(name="place", environment="MESHWARE_NOT_SET", default="here"),
    )
    called(traced_by(mesh, tags=tags, has_istio_tags=False), ("x-user", "ann"))
    attributes = records(mesh)[0].attributes
    names = ("zone", "who", "other", "none", "place", "istio.namespace")
    assert [attributes.get(name) for name in names] == ["a", "ann", "nothing", None, "here", None]


def test_a_tag_may_be_written_as_access_logs_are():
    """What has no value is left out; of what is empty there is no tag."""
    tags = (
        Tag(name="said", formatter="%REQ(X-USER)% %RESPONSE_CODE%%REQ(X-NONE)%"),
        Tag(name="none", formatter="%REQ(X-NONE)%"),
        Tag(name="broken", formatter="%NO_SUCH%"),
    )
    mesh = traced_by(TestMesh(NOTHING), tags=tags)
    called(mesh, ("x-user", "ann"))
    attributes = records(mesh)[0].attributes
    assert [attributes.get(tag.name) for tag in tags] == ["ann 200", None, None]


def test_long_paths_are_cut_in_urls():
    """As `maxTagLength` says, from the path on."""
    said = {"http.url": "http://shop/0123456789", "url.path": "/0123456789"}
    shorten(said, 5)
    assert said == {"http.url": "http://shop/0123", "url.path": "/0123456789"}
    short = {"http.url": "http://a.very.long.host"}
    shorten(short, 5)
    assert short == {"http.url": "http://a.very.long.host"}


def test_a_call_that_is_not_reported_bears_what_its_caller_decided():
    """`disableSpanReporting` makes no span of a sampled call either."""
    mesh = traced_by(TestMesh(NOTHING), is_reported=False)
    seen = called(mesh, ("traceparent", SAMPLED))
    assert seen["headers"]["traceparent"] == SAMPLED
    assert records(mesh) == []


def test_the_wsgi_driver_does_the_same():
    """A span with the route's status, and its context for the app."""
    mesh = traced_by(TestMesh(NOTHING))
    seen = {}

    def app(environ, start_response):
        seen["traceparent"] = environ["HTTP_TRACEPARENT"]
        start_response("204 No Content", [])
        return []

    wsgi_call(WsgiMesh(app, mesh), headers=[("host", "app"), ("traceparent", SAMPLED)])
    (record,) = records(mesh)
    assert seen["traceparent"] == f"00-{TRACE}-{record.span_id}-01"
    assert record.attributes["http.response.status_code"] == 204


# --- outbound -------------------------------------------------------------------------------------

RETRIED = route(
    "  - route: [{destination: {host: orders}}]\n    retries: {attempts: 2, retryOn: 5xx}"
)
MIRRORED = route(
    "  - route: [{destination: {host: orders, subset: v1}}]\n"
    "    mirrors: [{destination: {host: orders, subset: v2}}]"
)


def test_each_attempt_is_a_child_of_its_call_and_parent_of_what_it_causes():
    """The upstream gets the context of the attempt that reached it."""
    world = World(RETRIED)
    traced_by(world.mesh)
    flow = world.exchange()
    first = next(flow)
    assert isinstance(flow.send(answered(503)), Sleep)
    second = flow.send(None)
    flow.send(answered(200))
    finish(flow)
    call, one, two = records(world.mesh)
    assert call.parent_id is None
    assert [one.parent_id, two.parent_id] == [call.span_id, call.span_id]
    assert {call.trace_id} == {one.trace_id, two.trace_id}
    assert [context_in(first).span_id, context_in(second).span_id] == [one.span_id, two.span_id]
    assert (call.status, one.status, two.status) == ("ok", "error", "ok")
    assert call.attributes["meshware.attempts"] == 2
    assert call.attributes["http.request.resend_count"] == 1
    assert one.attributes["meshware.endpoint"] != two.attributes["meshware.endpoint"]
    assert call.name == "orders.default.svc.cluster.local:80/*"
    assert world.nothing_in_flight()


def test_a_failed_attempt_says_how_it_failed():
    """And the call says what its caller got."""
    world = World()
    traced_by(world.mesh)
    flow = world.exchange("POST", replayable=False)
    next(flow)
    flow.send(RESET)
    flow.close()
    call, one = records(world.mesh)
    assert one.attributes["error.type"] == "reset"
    assert (call.status, call.attributes["http.response.status_code"]) == ("error", 503)


def test_a_call_that_is_given_up_has_its_spans_too():
    """Its attempt was cut off."""
    world = World()
    traced_by(world.mesh)
    flow = world.exchange()
    next(flow)
    flow.close()
    call, one = records(world.mesh)
    assert (call.attributes["response_flags"], one.attributes["error.type"]) == ("DC", "cancelled")
    assert world.nothing_in_flight()


def test_a_call_made_for_another_is_in_its_trace():
    """Below its server span."""
    world = World()
    mesh = traced_by(world.mesh)
    seen = called(mesh, ("traceparent", SAMPLED))
    flow = world.exchange(call=seen["call"])
    next(flow)
    flow.send(answered(200))
    finish(flow)
    server, call, _ = records(mesh)
    assert (call.trace_id, call.parent_id) == (TRACE, server.span_id)


def test_an_unsampled_call_makes_no_span_and_bears_one_context_in_all_attempts():
    """The one that was begun."""
    world = World(RETRIED)
    traced_by(world.mesh, sampling_ratio=0.0)
    flow = world.exchange()
    first = next(flow)
    flow.send(answered(503))
    second = flow.send(None)
    assert context_in(first) == context_in(second)
    assert context_in(first).is_sampled is False
    flow.close()
    assert records(world.mesh) == []


def test_what_an_app_has_written_itself_is_the_parent():
    """A sampled one gets its attempt's in its place; any other goes as it is."""
    world = World()
    traced_by(world.mesh)
    flow = world.exchange(headers={"traceparent": SAMPLED})
    assert context_in(next(flow)).trace_id == TRACE
    flow.close()
    assert records(world.mesh)[0].parent_id == SPAN
    flow = world.exchange(headers={"traceparent": UNSAMPLED})
    assert context_in(next(flow)) is None
    flow.close()


def test_a_host_that_the_mesh_does_not_know_learns_no_context():
    """It is called as without the mesh; there is a span all the same."""
    world = World()
    traced_by(world.mesh)
    flow = world.exchange(host="example.com")
    assert context_in(next(flow)) is None
    flow.send(answered(200))
    finish(flow)
    call, one = records(world.mesh)
    assert (call.attributes["upstream_cluster"], one.parent_id) == (
        "PassthroughCluster",
        call.span_id,
    )


def test_a_copy_is_an_unsampled_child():
    """Of the same trace, and nobody keeps its spans. Source: Envoy."""
    world = World(MIRRORED)
    traced_by(world.mesh)
    flow = world.exchange()
    mirror = next(flow)
    assert isinstance(mirror, Mirror)
    copy = next(mirror.exchange)
    mirror.exchange.close()
    send = flow.send(None)
    assert isinstance(send, Send)
    flow.send(answered(200))
    finish(flow)
    call, one = records(world.mesh)
    assert (context_in(copy).trace_id, context_in(copy).is_sampled) == (call.trace_id, False)
    assert context_in(copy).span_id not in (call.span_id, one.span_id)


def test_calls_bear_every_way_to_write_it_that_policy_names():
    """`tracing.propagation` of MeshConfig."""
    config = """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {tracing: {propagation: [b3multi, w3c, b3]}}
"""
    world = World(config)
    mesh = traced_by(world.mesh)
    seen = called(mesh, ("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN), ("x-b3-sampled", "1"))
    assert seen["call"].trace_id == TRACE
    flow = world.exchange(call=seen["call"])
    table = dict(next(flow).headers)
    flow.close()
    assert {"traceparent", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-sampled"} <= set(table)
    assert TRACE in table["b3"]
    assert TRACE in table["traceparent"]


def test_the_ring_keeps_the_last_two_hundred_calls():
    """And no more."""
    mesh = traced_by(TestMesh(NOTHING))
    for _ in range(230):
        called(mesh)
    assert len(mesh.tracing.ring.snapshot()) == 200


def test_a_failure_of_tracing_is_counted_and_spares_the_call(monkeypatch):
    """The caller's context goes on."""
    mesh = traced_by(TestMesh(NOTHING))

    def broken(*_, **__):
        raise RuntimeError

    monkeypatch.setattr(mesh.tracing, "_span", broken)
    assert called(mesh, ("traceparent", SAMPLED))["call"].traceparent == SAMPLED
    assert mesh.events[0].status == 200
    assert mesh.tracing.lost == 1


def test_a_failure_in_the_middle_of_a_call_spares_it_too(monkeypatch):
    """An attempt whose span cannot be started is sent all the same."""
    world = World()
    mesh = traced_by(world.mesh)
    flow = world.exchange()
    make = mesh.tracing._span

    def broken(*arguments, **named):
        if named.get("above") is not None:
            raise RuntimeError
        return make(*arguments, **named)

    monkeypatch.setattr(mesh.tracing, "_span", broken)
    assert isinstance(next(flow), Send)
    flow.send(answered(200))
    finish(flow)
    assert world.events[0].status == 200
    assert mesh.tracing.lost >= 1
