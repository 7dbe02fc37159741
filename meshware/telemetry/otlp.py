"""Make a TracerProvider that sends the mesh's spans to an OTLP receiver. Needs the extra `otel`.

Source: Istio MeshConfig, `extensionProviders[].opentelemetry`; OTLP 1.x.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from meshware.policy.telemetry_plan import TracingPlan

__all__ = ["provider_of"]


def provider_of(plan: TracingPlan, resource: Mapping[str, str]) -> TracerProvider:
    """Return a provider for spans of the mesh alone.

    Its thread starts here, so behind any fork; in a child that is forked later the SDK starts
    another. The export itself is the SDK's: spans wait in a queue of 2,048, and what is too much is
    dropped.

    Raises:
        ImportError: there is no exporter for OTLP in the way that the plan says.
    """
    provider = TracerProvider(resource=_resource(resource))
    provider.add_span_processor(BatchSpanProcessor(_exporter(plan)))
    return provider


def _exporter(plan: TracingPlan) -> Any:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    headers = dict(plan.headers)
    for name, variable in plan.header_variables:
        if variable in os.environ:
            headers[name] = os.environ[variable]
    if plan.path is None:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(
            endpoint=f"{host}:{plan.port}",
            insecure=True,
            headers=headers,
            timeout=plan.timeout_s,
        )
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
        OTLPSpanExporter as HttpExporter,
    )

    return HttpExporter(
        endpoint=f"http://{host}:{plan.port}{plan.path}",
        headers=headers,
        timeout=plan.timeout_s,
    )


def _resource(said: Mapping[str, str]) -> Resource:
    """Return the resource; what the environment says counts over what policy does."""
    named = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    has_name = bool(os.environ.get("OTEL_SERVICE_NAME")) or "service.name=" in named
    return Resource.create(
        {key: value for key, value in said.items() if not (key == "service.name" and has_name)}
    )
