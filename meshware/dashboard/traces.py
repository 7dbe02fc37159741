"""Put the spans that workers remember together into traces.

A trace is what several workers say about one id, and what they say are claims: spans may lack their
parent, name themselves as one, or come in thousands. Nothing of that makes an error; who shows the
tree guards against circles.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from meshware.telemetry.span_ring import SpanRecord

__all__ = ["MOST_SPANS_OF_TRACE", "MOST_TRACES", "Placed", "join"]

MOST_TRACES = 200
"""The newest; others are forgotten."""

MOST_SPANS_OF_TRACE = 400
"""The first to begin."""

_MOST_OF_WORKER = 200  # spans of one trace: nobody crowds out what others say about it


class Placed(NamedTuple):
    """A span, and whose it is."""

    seen: int  # larger for what was seen later
    namespace: str
    workload: str
    worker: str
    span: SpanRecord


@dataclass(slots=True)
class _Gathered:
    seen: int = 0
    spans: dict[str, Placed] = field(default_factory=dict)
    of_worker: dict[tuple[str, str, str], int] = field(default_factory=dict)
    left_out: int = 0


def join(placed: Iterable[Placed]) -> list[dict[str, Any]]:
    """Return traces, the one that began last first.

    Args:
        placed: in any order; of two spans with one id the first is taken.
    """
    traces: dict[str, _Gathered] = {}
    for each in placed:
        trace = traces.setdefault(each.span.trace_id, _Gathered())
        trace.seen = max(trace.seen, each.seen)
        worker = each[1:4]
        count = trace.of_worker[worker] = trace.of_worker.get(worker, 0) + 1
        if each.span.span_id in trace.spans or count > _MOST_OF_WORKER:
            trace.left_out += 1
            continue
        trace.spans[each.span.span_id] = each
    made = [_trace(trace_id, trace) for trace_id, trace in traces.items()]
    made.sort(key=lambda trace: trace["at"], reverse=True)
    return made[:MOST_TRACES]


def _trace(trace_id: str, trace: _Gathered) -> dict[str, Any]:
    spans = sorted(trace.spans.values(), key=lambda each: each.span.start)
    left_out = trace.left_out + max(0, len(spans) - MOST_SPANS_OF_TRACE)
    spans = spans[:MOST_SPANS_OF_TRACE]
    at = spans[0].span.start
    end = max(each.span.start + each.span.duration_s for each in spans)
    known = {each.span.span_id for each in spans}
    roots = [each for each in spans if each.span.parent_id not in known]
    root = roots[0] if roots else spans[0]
    return {
        "trace_id": trace_id,
        "seen": trace.seen,
        "at": at,
        "duration_s": end - at,
        "name": _label(root.span),
        "namespace": root.namespace,
        "workload": root.workload,
        "is_failed": any(each.span.status == "error" for each in spans),
        "services": sorted({f"{each.namespace}/{each.workload}" for each in spans}),
        "left_out": left_out,
        "spans": [_span(each, at) for each in spans],
    }


def _span(placed: Placed, began: float) -> dict[str, Any]:
    span = placed.span
    said = span.attributes
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "label": _label(span),
        "namespace": placed.namespace,
        "workload": placed.workload,
        "kind": span.kind,
        "start_s": span.start - began,
        "duration_s": span.duration_s,
        "status": span.status,
        "code": said.get("http.response.status_code"),
        "attempt": said.get("meshware.attempt"),
        "attempts": said.get("meshware.attempts"),
        "flags": said.get("meshware.flags"),
        "error": said.get("error.type"),
        "endpoint": said.get("meshware.endpoint"),
        "attributes": dict(said),
    }


def _label(span: SpanRecord) -> str:
    """Return what a person calls a span: Istio's names say neither method nor path."""
    said = span.attributes
    attempt, method = said.get("meshware.attempt"), said.get("http.request.method")
    if isinstance(attempt, int):
        endpoint = said.get("meshware.endpoint")
        return f"attempt {attempt}{f' at {endpoint}' if endpoint else ''}"
    path, service = said.get("url.path"), said.get("meshware.service")
    if method and span.kind == "server" and isinstance(path, str):
        return f"{method} {path}"
    if method and span.kind == "client" and isinstance(service, str):
        return f"{method} {service.removesuffix(':80').replace('.svc.cluster.local', '')}"
    return span.name
