"""The app's own instrumentation of clients, around the mesh's transports: one trace, no doubles."""

from __future__ import annotations

import httpx
import pytest
import requests
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.requests import RequestsInstrumentor
from opentelemetry.trace import SpanKind
from otlp_receiver import receiving
from tracing_world import exported, traced_by

from meshware.clients.httpx import MeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.testing import TestMesh

__all__ = ["exported"]

RECEIVER = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: receiver}}
spec:
  hosts: [receiver]
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
"""


def by_requests(mesh):
    """A session whose class is instrumented."""
    RequestsInstrumentor().instrument()
    try:
        with requests.Session() as session:
            session.mount("http://", MeshAdapter(mesh))
            return session.get("http://receiver/", timeout=20).text
    finally:
        RequestsInstrumentor().uninstrument()


def by_httpx(mesh):
    """A client that is instrumented itself."""
    with httpx.Client(transport=MeshTransport(mesh)) as client:
        HTTPXClientInstrumentor.instrument_client(client)
        return client.get("http://receiver/").text


def by_httpx_inside(mesh):
    """Its instrumentation around the transport that makes the attempts, below the mesh."""
    from opentelemetry.instrumentation.httpx import SyncOpenTelemetryTransport

    inner = SyncOpenTelemetryTransport(httpx.HTTPTransport())
    with httpx.Client(transport=MeshTransport(mesh, inner=inner)) as client:
        return client.get("http://receiver/").text


@pytest.mark.parametrize("call", [by_requests, by_httpx, by_httpx_inside])
def test_an_instrumented_client_and_the_mesh_make_one_call_and_one_attempt(exported, call):
    """And the upstream is sent the attempt's context."""
    with receiving() as receiver:
        mesh = traced_by(TestMesh(RECEIVER.format(port=receiver.port)), kind="opentelemetry")
        sent = call(mesh)
        spans = exported(mesh)
    assert len(spans) == 2, list(spans)
    assert all(span.kind is SpanKind.CLIENT for span in spans.values())
    attempt = next(span for name, span in spans.items() if name.endswith("attempt 1"))
    outer = next(span for span in spans.values() if span is not attempt)
    assert attempt.parent.span_id == outer.context.span_id
    assert outer.attributes["meshware.generation"] == 1
    assert outer.parent is None
    assert sent == f"00-{attempt.context.trace_id:032x}-{attempt.context.span_id:016x}-01"
