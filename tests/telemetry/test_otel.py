"""Spans through OpenTelemetry: the app's own join ours, and nothing is told twice."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
from carried import installed
from inbound_drive import asgi_call, wsgi_call
from opentelemetry import trace
from opentelemetry.context import _SUPPRESS_HTTP_INSTRUMENTATION_KEY, get_value
from opentelemetry.instrumentation.utils import suppress_instrumentation
from opentelemetry.trace import SpanKind
from outbound_world import World, answered, finish
from tracing_world import SAMPLED, SPAN, TRACE, exported, traced_by

import meshware
from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

__all__ = ["exported"]

NOTHING: list[dict] = []
HEADERS = [("host", "app"), ("traceparent", SAMPLED)]
tracer = trace.get_tracer("app")


def mesh_of():
    return traced_by(TestMesh(NOTHING), kind="opentelemetry")


def own_span():
    """A span as an app makes it."""
    with trace.get_tracer("app").start_as_current_span("own"):
        pass


async def asgi(scope, receive, send):
    own_span()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


def wsgi(environ, start_response):
    own_span()
    start_response("200 OK", [])
    return [b"x"]


@pytest.mark.parametrize("driver", ["asgi", "wsgi"])
def test_spans_of_an_app_are_below_the_server_span(exported, driver):
    """It is OpenTelemetry's current span while the app runs, and not behind it."""
    mesh = mesh_of()
    if driver == "asgi":
        asgi_call(MeshMiddleware(asgi, mesh), headers=HEADERS)
    else:
        wsgi_call(WsgiMesh(wsgi, mesh), headers=HEADERS)
    spans = exported(mesh)
    server, own = spans["app/*"], spans["own"]
    assert f"{server.context.trace_id:032x}" == TRACE
    assert f"{server.parent.span_id:016x}" == SPAN
    assert own.parent.span_id == server.context.span_id
    assert server.kind is SpanKind.SERVER
    assert server.attributes["http.response.status_code"] == 200
    assert not trace.get_current_span().get_span_context().is_valid
    (record,) = mesh.tracing.ring.snapshot()[0]
    assert record.span_id == f"{server.context.span_id:016x}"


@pytest.mark.parametrize("where", ["task", "to_thread", "thread", "executor"])
def test_spans_in_tasks_threads_and_executors_are_below_it_too(exported, where):
    """After `meshware.install()`."""
    mesh = mesh_of()

    async def app(scope, receive, send):
        if where == "task":
            await asyncio.create_task(asyncio.to_thread(lambda: None))
            own_span()
        elif where == "to_thread":
            await asyncio.to_thread(own_span)
        elif where == "thread":
            thread = threading.Thread(target=own_span)
            thread.start()
            thread.join()
        else:
            with ThreadPoolExecutor() as pool:
                pool.submit(own_span).result()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    with installed():
        asgi_call(MeshMiddleware(app, mesh), headers=HEADERS)
    spans = exported(mesh)
    assert spans["own"].parent.span_id == spans["app/*"].context.span_id


def test_around_the_mesh_the_apps_instrumentation_keeps_its_span(exported):
    """It is told what the mesh knows, and none is made beside it."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    mesh = mesh_of()
    app = OpenTelemetryMiddleware(MeshMiddleware(asgi, mesh), exclude_spans=["receive", "send"])
    asgi_call(app, headers=HEADERS)
    spans = exported(mesh)
    servers = [span for span in spans.values() if span.kind is SpanKind.SERVER]
    assert len(servers) == 1
    assert servers[0].attributes["meshware.generation"] == 1
    assert spans["own"].parent.span_id == servers[0].context.span_id
    assert f"{servers[0].parent.span_id:016x}" == SPAN


def test_within_the_mesh_the_apps_instrumentation_makes_no_second_server_span(exported):
    """It makes an internal one below ours: of that kind there is no way to be rid."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

    mesh = mesh_of()
    inner = OpenTelemetryMiddleware(asgi, exclude_spans=["receive", "send"])
    asgi_call(MeshMiddleware(inner, mesh), headers=HEADERS)
    spans = exported(mesh)
    assert [s.name for s in spans.values() if s.kind is SpanKind.SERVER] == ["app/*"]
    assert {f"{span.context.trace_id:032x}" for span in spans.values()} == {TRACE}


def test_an_attempt_is_current_while_it_is_sent_and_no_other_client_tells_of_it(exported):
    """By the key that opentelemetry-instrumentation's HTTP clients honour."""
    world = World()
    traced_by(world.mesh, kind="opentelemetry")
    flow = world.exchange()
    send = next(flow)
    current = trace.get_current_span().get_span_context()
    assert f"{current.span_id:016x}" in dict(send.headers)["traceparent"]
    assert get_value(_SUPPRESS_HTTP_INSTRUMENTATION_KEY)
    flow.send(answered(200))
    assert not trace.get_current_span().get_span_context().is_valid
    finish(flow)
    spans = exported(world.mesh)
    name = "orders.default.svc.cluster.local:80/*"
    call, one = spans[name], spans[f"{name} attempt 1"]
    assert one.parent.span_id == call.context.span_id


def test_a_client_span_around_a_call_is_told_and_none_is_made_beside_it(exported):
    """As httpx's and requests' instrumentation make them."""
    world = World()
    traced_by(world.mesh, kind="opentelemetry")
    with trace.get_tracer("x").start_as_current_span("GET", kind=SpanKind.CLIENT):
        flow = world.exchange()
        next(flow)
        flow.send(answered(200))
        finish(flow)
    spans = exported(world.mesh)
    assert set(spans) == {"GET", "GET attempt 1"}
    assert spans["GET"].attributes["meshware.endpoint"].startswith("10.0.0.")
    assert spans["GET attempt 1"].parent.span_id == spans["GET"].context.span_id


def test_an_exporter_at_its_own_work_makes_no_spans(exported):
    """They would be exported in turn, for ever."""
    world = World()
    traced_by(world.mesh, kind="opentelemetry")
    with suppress_instrumentation():
        flow = world.exchange()
        next(flow)
        flow.close()
    assert exported(world.mesh) == {}
    assert world.mesh.tracing.ring.snapshot() == []


def test_the_apps_own_sampler_may_say_no(exported, monkeypatch):
    """Then nothing is kept, and whoever is called is told so."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    monkeypatch.setattr(trace, "_TRACER_PROVIDER", TracerProvider(sampler=ALWAYS_OFF))
    mesh = mesh_of()
    seen = []

    async def app(scope, receive, send):
        seen.append(meshware.current_call().traceparent)
        await asgi(scope, receive, send)

    asgi_call(MeshMiddleware(app, mesh), headers=[("host", "app")])
    assert seen[0].endswith("-00")
    assert mesh.tracing.ring.snapshot() == []


@pytest.mark.parametrize("how", ["blocks", "raises"])
def test_an_exporter_that_blocks_or_raises_holds_no_call(monkeypatch, how):
    """Spans are ended behind the calls; what is too much is dropped and counted."""
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

    release, entered = threading.Event(), threading.Event()

    class Processor(SpanProcessor):
        def on_end(self, span):
            entered.set()
            if how == "raises":
                raise RuntimeError
            release.wait(20)

    provider = TracerProvider()
    provider.add_span_processor(Processor())
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    mesh = mesh_of()
    background = mesh.tracing.otel.background
    background._most = 3

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    for number in range(6):
        asgi_call(MeshMiddleware(app, mesh), headers=HEADERS)
        if number == 0:
            assert entered.wait(20)
    assert [event.status for event in mesh.events] == [200] * 6
    release.set()
    background.flush(20)
    assert mesh.tracing.lost >= (2 if how == "blocks" else 1)


def test_without_the_sdk_one_warning_says_so(monkeypatch, caplog):
    """And the ring has the spans all the same."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setitem(sys.modules, "meshware.telemetry.otlp", None)
    mesh = traced_by(
        TestMesh(NOTHING), kind="opentelemetry", host="127.0.0.1", port=4318, path="/v1/traces"
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            asgi_call(MeshMiddleware(asgi, mesh), headers=HEADERS)
    assert len([r for r in caplog.records if "not exported" in r.getMessage()]) == 1
    assert len(mesh.tracing.ring.snapshot()) == 3


PROGRAM = """
import asyncio, sys
sys.path[:0] = {paths!r}
from inbound_drive import asgi_call
from tracing_world import traced_by
from meshware.asgi import MeshMiddleware
from meshware.testing import TestMesh
async def app(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200, "headers": []}})
    await send({{"type": "http.response.body", "body": b""}})
mesh = traced_by(TestMesh([]), kind="opentelemetry", sampling_ratio=0.0)
asgi_call(MeshMiddleware(app, mesh))
print("opentelemetry.trace" in sys.modules)
traced_by(mesh, kind="opentelemetry")
asgi_call(MeshMiddleware(app, mesh))
print("opentelemetry.trace" in sys.modules)
"""


def test_opentelemetry_is_imported_for_the_first_sampled_call():
    """And not before."""
    paths = [path for path in sys.path if path]
    program = PROGRAM.format(paths=paths)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(
    ("path", "then"), [(None, "grpc"), ("/v1/traces", "http"), ("/other", "http")]
)
def test_a_receiver_is_called_over_grpc_unless_policy_has_a_path(path, then):
    """As Istio's providers say."""
    from meshware.policy.telemetry_plan import TracingPlan
    from meshware.telemetry.otlp import _exporter

    plan = TracingPlan(
        provider="x", kind="opentelemetry", host="::1", port=4317, path=path, headers=(("a", "b"),)
    )
    exporter = _exporter(plan)
    assert f".{then}." in type(exporter).__module__
    assert "[::1]:4317" in exporter._endpoint
    exporter.shutdown()


def test_a_receiver_of_policys_turns_on_nobody_elses_spans():
    """FastAPI makes spans of every call, query and all, once the process has a provider."""
    from fastapi import FastAPI
    from otlp_receiver import receiving, values_of

    app = FastAPI()

    @app.get("/")
    def answer() -> str:
        own_span()
        return "ok"

    with receiving() as receiver:
        mesh = traced_by(
            TestMesh(NOTHING),
            kind="opentelemetry",
            host="127.0.0.1",
            port=receiver.port,
            path="/v1/traces",
        )
        for _ in range(3):
            assert asgi_call(MeshMiddleware(app, mesh), "/?token=secret").status == 200
        mesh.tracing.otel.background.flush(20)
        mesh.tracing.otel._provider.shutdown()
        spans = receiver.wait_for(3)
    assert [span.name for span in spans] == ["app/*"] * 3
    assert "secret" not in str([values_of(span.attributes) for span in spans])
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


@pytest.mark.parametrize("is_suppressed", [False, True], ids=["an app", "an exporter"])
def test_no_switch_of_telemetry_leads_past_policy(is_suppressed):
    """REGISTRY_ONLY is for exporters, too, and what is refused is told."""
    world = World(
        "{apiVersion: meshware.dev/v1alpha1, kind: MeshConfig, metadata: {name: mesh, "
        "namespace: istio-system}, spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}"
    )
    with suppress_instrumentation() if is_suppressed else nullcontext():
        reply = next(world.exchange(host="collector.example"))
    assert (reply.status, [event.cluster for event in world.events]) == (502, ["BlackHoleCluster"])
