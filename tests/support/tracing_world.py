"""What tests of tracing share: plans of tracing, and an SDK whose spans can be looked at."""

from __future__ import annotations

import pytest

from meshware.policy.telemetry_plan import SidePlan, TelemetryPlan, TracingPlan

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE}-{SPAN}-01"
UNSAMPLED = f"00-{TRACE}-{SPAN}-00"


def traced_by(mesh, *, inbound=True, outbound=True, **fields):
    """Have a mesh trace by a plan; all calls, and kept for the dashboard, unless said otherwise."""
    plan = TracingPlan(**{
        "provider": "here", "kind": "meshware", "sampling_ratio": 1.0, **fields
    })  # fmt: skip
    mesh.cell.current.telemetry = TelemetryPlan(
        inbound=SidePlan(tracing=plan if inbound else None),
        outbound=SidePlan(tracing=plan if outbound else None),
    )
    return mesh


@pytest.fixture
def exported(monkeypatch):
    """The spans that a provider of the app's own was given; call it to have them all."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)

    def spans(*meshes):
        for mesh in meshes:
            mesh.tracing.otel.background.flush()
        return {span.name: span for span in exporter.get_finished_spans()}

    return spans
