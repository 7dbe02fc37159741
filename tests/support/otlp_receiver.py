"""A real OTLP receiver, over HTTP and gRPC; to GET it answers with the context it was sent."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

PATIENCE_S = 20.0


class Receiver:
    """Spans as they arrive.

    Attributes:
        port: where it listens for HTTP.
        grpc_port: where it listens for gRPC.
        spans: each as protobuf has it, with the attributes of its resource.
        headers: of each export.
        holds: while it is set, exports are not answered.
    """

    def __init__(self) -> None:
        self.spans: list[tuple[Any, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.holds = threading.Event()
        self.port = self.grpc_port = 0

    def take(self, request: ExportTraceServiceRequest) -> None:
        """Note one export."""
        for one in request.resource_spans:
            resource = values_of(one.resource.attributes)
            for scope in one.scope_spans:
                self.spans += [(span, resource) for span in scope.spans]

    def wait_for(self, count: int) -> list[Any]:
        """Return the spans once there are so many."""
        until = time.monotonic() + PATIENCE_S
        while len(self.spans) < count:
            assert time.monotonic() < until, [span.name for span, _ in self.spans]
            time.sleep(0.02)
        return [span for span, _ in self.spans]


def values_of(attributes: Any) -> dict[str, Any]:
    """Attributes as a dictionary."""
    return {
        one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value")
        for one in attributes
    }


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            receiver.headers.append({k.lower(): v for k, v in self.headers.items()})
            if receiver.holds.is_set():
                time.sleep(PATIENCE_S)
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            receiver.take(ExportTraceServiceRequest.FromString(body))
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer((self.headers.get("traceparent") or "none").encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Service(TraceServiceServicer):  # type: ignore[misc]
        def Export(self, request: Any, context: Any) -> Any:
            receiver.headers.append(dict(context.invocation_metadata()))
            if receiver.holds.is_set():
                time.sleep(PATIENCE_S)
            receiver.take(request)
            return ExportTraceServiceResponse()

    called = grpc.server(ThreadPoolExecutor(4))
    add_TraceServiceServicer_to_server(Service(), called)
    receiver.grpc_port = called.add_insecure_port("127.0.0.1:0")
    called.start()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        called.stop(None).wait(PATIENCE_S)
        server.shutdown()
        thread.join()
        server.server_close()
