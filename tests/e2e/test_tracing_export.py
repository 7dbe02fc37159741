"""Spans at a real OTLP receiver, from real servers with forked workers."""

from __future__ import annotations

import pytest
from inbound_servers import QUIET, Server
from otlp_receiver import receiving, values_of
from tracing_world import SAMPLED, SPAN, TRACE

COMMANDS = {
    "uvicorn": ["uvicorn", "--port", "0", "--lifespan", "on", "traced_apps:asgi"],
    "gunicorn": ["gunicorn", *QUIET, "-w", "2", "-b", "127.0.0.1:0", "traced_apps:wsgi"],
    "gunicorn preload": [
        "gunicorn", *QUIET, "-w", "2", "--preload", "-b", "127.0.0.1:0", "traced_apps:wsgi",
    ],
}  # fmt: skip
OVER_GRPC = {f"{name} over gRPC": command for name, command in COMMANDS.items()}


@pytest.fixture(params=COMMANDS | OVER_GRPC)
def served(request, tmp_path):
    """A server, and the receiver that its spans go to."""
    with receiving() as receiver:
        environ = {"OTLP_PORT": str(receiver.port), "OTEL_BSP_SCHEDULE_DELAY": "50"}
        if request.param in OVER_GRPC:
            environ["OTLP_GRPC_PORT"] = str(receiver.grpc_port)
        server = Server((COMMANDS | OVER_GRPC)[request.param], tmp_path, environ)
        try:
            server.wait_until_up()
            receiver.wait_for(1)  # that it answers was asked by a call, which is traced
            yield server, receiver
        finally:
            server.end()


def test_a_call_and_what_it_causes_arrive_as_one_trace(served):
    """Server span, client span, attempt; the upstream was sent the attempt's context."""
    server, receiver = served
    reply = server.get("/out", headers=[("host", "app"), ("traceparent", SAMPLED)])
    assert reply.status == 200
    trace = bytes.fromhex(TRACE)

    def ours():
        return {
            (span.kind, span.name.partition(" ")[2]): span
            for span, _ in receiver.spans
            if span.trace_id == trace
        }

    server.wait_for(lambda: len(ours()) == 3, "send its spans")
    spans = ours()
    inbound, call, attempt = spans[2, ""], spans[3, ""], spans[3, "attempt 1"]
    assert inbound.parent_span_id.hex() == SPAN
    assert call.parent_span_id == inbound.span_id
    assert attempt.parent_span_id == call.span_id
    assert reply.body == f"00-{TRACE}-{attempt.span_id.hex()}-01"
    attributes = values_of(inbound.attributes)
    assert attributes["zone"] == "a"
    assert attributes["istio.namespace"] == "shop"
    assert attributes["http.response.status_code"] == 200
    assert 0 < inbound.start_time_unix_nano < inbound.end_time_unix_nano
    resource = next(found for span, found in receiver.spans if span is inbound)
    assert resource["service.name"] == "app.shop"
    assert receiver.headers[0]["x-token"] == "secret"


def test_a_receiver_that_never_answers_holds_no_call(served):
    """Spans wait in the exporter's queue."""
    server, receiver = served
    receiver.holds.set()
    for _ in range(20):
        assert server.get("/").status == 200
    receiver.holds.clear()
