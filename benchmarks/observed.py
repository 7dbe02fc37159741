"""What it costs to be seen: metrics and traces, on top of a mesh that decides and tells nobody.

Metrics are counted as in a worker, and folded. Of traces, what is carried is measured (the caller
has decided not to sample), and what sampled calls cost that the ring keeps, or OpenTelemetry's SDK.
First comes the whole of an inbound call: a certificate, a token that is known, rules, metrics, and
a trace that is carried.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from benchmarks.inbound import BARE, RULES, raw_app, request_scope
from benchmarks.measure import Work, against_bare, cpu, in_turns
from benchmarks.outbound import POLICY, carry, request_head
from benchmarks.policies import app_rules, last_open_path
from benchmarks.tokens import known_token, shown_in_tls, users_policies
from meshware.asgi import MeshMiddleware
from meshware.call import Answer, Ended
from meshware.events import EventSink, ignore
from meshware.policy.telemetry_plan import SidePlan, TelemetryPlan, TracingPlan
from meshware.runtime.mesh import Mesh
from meshware.testing import TestMesh

__all__ = ["run"]

INBOUND_BUDGET_US, OUTBOUND_BUDGET_US = 25, 20
_RULES = 1000
_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-"
_UNSAMPLED, _SAMPLED = f"{_TRACE}00", f"{_TRACE}01"
_HEAD = "the request's head"

# A name, how traces are made (None: they are not), and whether the caller samples.
Variant = tuple[str, str | None, bool]
_PLAIN: tuple[Variant, ...] = (
    ("metrics", None, False),
    ("metrics, tracing, unsampled", "meshware", False),
    ("metrics, tracing, sampled, kept in the ring", "meshware", True),
)
_WITH_SDK: tuple[Variant, ...] = (
    ("metrics, tracing, unsampled", "opentelemetry", False),
    ("metrics, tracing, sampled", "opentelemetry", True),
)


def _mesh(policies: Any, kind: str | None, sink: EventSink | None = None) -> Mesh:
    """Return a mesh that counts as a worker's does, and traces as is said.

    Args:
        policies: in force; or a mesh for tests that has them.
        kind: of tracing; None: there is none.
        sink: in place of counting.
    """
    made = policies if isinstance(policies, TestMesh) else TestMesh(policies, port=8000)
    snapshot = made.cell.current
    assert snapshot is not None
    if kind is not None:
        plan = TracingPlan(provider="here", kind=kind, sampling_ratio=0.01)  # type: ignore[arg-type]
        side = SidePlan(tracing=plan)
        snapshot.telemetry = TelemetryPlan(inbound=side, outbound=side)
    return Mesh(cell=made.cell, client=made.client, port=8000, sink=sink)


def _provider() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    trace.set_tracer_provider(provider)


def _inbound(
    app: Any,
    context: str,
    fold: Callable[[], object],
    *,
    rules: int = _RULES,
    token: bytes | None = None,
    extensions: dict[str, Any] | None = None,
) -> Work:
    path = last_open_path(rules)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        pass

    async def repeat(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            scope = request_scope(path, token)
            if extensions is not None:
                scope["extensions"] = extensions
            scope["headers"] = [
                *(pair for pair in scope["headers"] if pair[0] != b"traceparent"),
                (b"traceparent", context.encode()),
            ]
            await app(scope, receive, send)
        fold()
        return time.process_time() - began

    return lambda count: asyncio.run(repeat(count))


def _outbound(mesh: Mesh | None, context: str, fold: Callable[[], object]) -> Work:
    headers = {"traceparent": [context]}
    nothing: list[str] = []

    def look_up(name: str) -> list[str]:
        return headers.get(name, nothing)

    answer, ended = Answer(status=200, headers=look_up), Ended(received_bytes=2)

    def repeat(count: int) -> None:
        for _ in range(count):
            head = request_head(look_up)
            if mesh is not None:
                carry(mesh.exchange(head), answer, ended)
        fold()

    return cpu(repeat)


def _nothing() -> None:
    return None


def _whole(rules: int) -> Work:
    """Return calls that bear all that can be decided on, to a mesh that counts and traces."""
    made = TestMesh(users_policies(rules), port=8000)
    mesh = _mesh(made, "meshware")
    token, extensions = known_token(), shown_in_tls(made)
    app = MeshMiddleware(raw_app, mesh)
    return _inbound(app, _UNSAMPLED, mesh.counted, rules=rules, token=token, extensions=extensions)


def run() -> None:
    """Print the rows of both sides, of apps without OpenTelemetry and with it."""
    whole = {BARE: _inbound(raw_app, _UNSAMPLED, _nothing)}
    whole |= {f"all on, {count:,} rules": _whole(count) for count in RULES}
    against_bare(
        "All on (certificate, known token, rules, metrics, unsampled trace), inbound, ASGI: CPU",
        in_turns(whole), BARE, INBOUND_BUDGET_US,
    )  # fmt: skip
    _measure("Seen", _PLAIN)
    _provider()
    _measure("Seen, in an app with OpenTelemetry's SDK", _WITH_SDK)


def _measure(title: str, variants: tuple[Variant, ...]) -> None:
    inbound = {BARE: _inbound(raw_app, _UNSAMPLED, _nothing)}
    silent = _mesh(app_rules(_RULES), None, ignore)
    inbound["1,000 rules, nobody told"] = _inbound(
        MeshMiddleware(raw_app, silent), _UNSAMPLED, _nothing
    )
    outbound = {_HEAD: _outbound(None, _UNSAMPLED, _nothing)}
    outbound["nobody told"] = _outbound(_mesh(POLICY, None, ignore), _UNSAMPLED, _nothing)
    for name, kind, is_sampled in variants:
        context = _SAMPLED if is_sampled else _UNSAMPLED
        mesh = _mesh(app_rules(_RULES), kind)
        inbound[name] = _inbound(MeshMiddleware(raw_app, mesh), context, mesh.counted)
        mesh = _mesh(POLICY, kind)
        outbound[name] = _outbound(mesh, context, mesh.counted)
    against_bare(
        f"{title}, inbound, ASGI: one request, CPU", in_turns(inbound), BARE, INBOUND_BUDGET_US
    )
    against_bare(
        f"{title}, outbound, decisions alone: CPU", in_turns(outbound), _HEAD, OUTBOUND_BUDGET_US
    )
