"""OpenTelemetry, met when the first call is sampled, or when the app itself has it loaded.

Nothing is imported before: an API that nobody uses costs memory and start-up all the same.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from contextvars import Context, Token
from typing import TYPE_CHECKING, Any, NamedTuple

from meshware.policy.telemetry_plan import TracingPlan
from meshware.telemetry.ending import Background
from meshware.trace import TraceContext

if TYPE_CHECKING:
    from meshware.telemetry.spans import Span

__all__ = ["Active", "Otel"]

_log = logging.getLogger("meshware")

_SCOPE = "meshware"
_NANOSECONDS = 1_000_000_000


class Active(NamedTuple):
    """The span that is OpenTelemetry's current one where a call begins."""

    span: Any
    context: TraceContext
    is_recording: bool
    kind: str  # "server", "client", "internal", ...; "" where the span does not say


class Otel:
    """Starts and ends spans with the app's provider, else with one of policy's receiver.

    Ours is never made the process's own: libraries that make spans as soon as there is one would
    begin to, unasked, and not as policy samples them. Safe from any thread.

    Args:
        resource: what is said of this process where the provider is ours to make.
    """

    def __init__(self, resource: Callable[[], Mapping[str, str]]) -> None:
        self.background = Background()
        self._resource = resource
        self._provider: Any = None  # of our own, where the app has none
        self._tried = 0  # the process that has tried to make it
        self._making = threading.Lock()
        self._is_told = False

    def renew(self) -> None:
        """Shed what a fork copied; the SDK itself sees to its exporter's thread."""
        self._making = threading.Lock()
        self.background.renew()

    # --- what the app's own instrumentation has done ------------------------------------------

    def active(self) -> Active | None:
        """Return the current span; None: there is none, or nobody here uses OpenTelemetry."""
        trace = sys.modules.get("opentelemetry.trace")
        if trace is None:
            return None
        span = trace.get_current_span()
        said = span.get_span_context()
        if not said.is_valid:
            return None
        kind = getattr(getattr(span, "kind", None), "name", "")
        return Active(span, _context_of(said), span.is_recording(), kind.lower())

    @staticmethod
    def is_suppressed() -> bool:
        """Say whether the code that runs now wants no spans: an exporter at its own work."""
        context = sys.modules.get("opentelemetry.context")
        return context is not None and bool(
            context.get_value("suppress_instrumentation")
            or context.get_value(getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "-"))
        )

    # --- spans --------------------------------------------------------------------------------

    def start(
        self,
        plan: TracingPlan,
        name: str,
        kind: str,
        parent: TraceContext | None,
        start_s: float,
    ) -> tuple[Any, TraceContext] | None:
        """Start a span of the process's provider.

        Args:
            plan: where to export to, where that is ours to do.
            name: of the span.
            kind: "server" or "client".
            parent: None: it begins a trace.
            start_s: unix seconds.
        Returns:
            The span and its context, whose `is_sampled` is False where the provider's own sampler
            wants nothing of it; None: there is no provider.
        """
        from opentelemetry import trace

        provider: Any = trace.get_tracer_provider()
        if isinstance(provider, trace.ProxyTracerProvider):  # the app has set up nothing
            provider = self._own(plan)
            if provider is None:
                return None
        context = trace.set_span_in_context(trace.NonRecordingSpan(_said(parent)))
        span = provider.get_tracer(_SCOPE).start_span(
            name,
            context=context,
            kind=trace.SpanKind.SERVER if kind == "server" else trace.SpanKind.CLIENT,
            start_time=int(start_s * _NANOSECONDS),
        )
        said = span.get_span_context()
        if not said.is_valid:
            return None
        self.background.start()  # and not when it ends, which may be in a finalizer
        return span, _context_of(said)

    def end(self, span: Span, end_s: float) -> None:
        """End a span in the background; of one that is not ours, note what the mesh knows."""
        otel, attributes = span.otel, dict(span.attributes)
        if span.is_adopted:
            # Whoever has started it ends it behind this call, so it is told at once.
            try:
                if otel.is_recording():
                    otel.set_attributes(attributes)
            except Exception:
                self.background.lost += 1
            return
        name, is_error = span.name, span.is_error

        def end() -> None:
            from opentelemetry.trace import StatusCode

            otel.update_name(name)
            otel.set_attributes(attributes)
            if is_error:
                otel.set_status(StatusCode.ERROR)
            otel.end(end_time=int(end_s * _NANOSECONDS))

        self.background.put(end)

    def enter(self, span: Any) -> Callable[[], None]:
        """Make a span the current one; what is returned undoes that."""
        from opentelemetry import trace

        return _attach(trace.set_span_in_context(span))

    def here(self) -> Callable[[], Callable[[], None]]:
        """Return what makes, in another thread, the context current that is so here."""
        context = sys.modules.get("opentelemetry.context")
        if context is None:
            return lambda: _nothing
        now = context.get_current()
        return lambda: _attach(now)

    def beneath(self, span: Any) -> Callable[[], None]:
        """Make a span current, for an attempt that no other instrumentation is to tell of too."""
        from opentelemetry import context, trace

        # What opentelemetry-instrumentation's HTTP clients ask, requests and httpx among them.
        # Source: opentelemetry.instrumentation.utils, `suppress_http_instrumentation`.
        key = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
        now = trace.set_span_in_context(span)
        return _attach(now if key is None else context.set_value(key, True, now))

    # --- the provider -------------------------------------------------------------------------

    def _own(self, plan: TracingPlan) -> Any:
        """Return a provider as policy says, made once; None: there is none."""
        is_made = self._provider is not None or not plan.host or self._tried == os.getpid()
        # Whoever is second does not wait for the imports of the first: its span is not exported.
        if not is_made and self._making.acquire(blocking=False):
            try:
                if self._tried != os.getpid():
                    self._tried = os.getpid()
                    self._provider = self._made(plan)
            finally:
                self._making.release()
        return self._provider

    def _made(self, plan: TracingPlan) -> Any:
        try:
            from meshware.telemetry.otlp import provider_of

            # Its threads must not carry the call that happens to be the first.
            return Context().run(provider_of, plan, self._resource())
        except ImportError as error:
            self._tell(
                f"spans are not exported: policy names an OTLP receiver, and {error.name} is not "
                f"installed; pip install 'meshware[{'otel' if plan.path else 'otel-grpc'}]'"
            )
        except Exception as error:
            self._tell(f"spans are not exported: {type(error).__name__}: {error}")
        return None

    def _tell(self, sentence: str) -> None:
        if not self._is_told:
            self._is_told = True
            _log.warning("%s", sentence)


def _nothing() -> None:
    return None


def _attach(context: Any) -> Callable[[], None]:
    from opentelemetry.context import attach, detach

    token: object = attach(context)  # of the app's choice: contextvars' by default

    def leave() -> None:
        if not isinstance(token, Token):
            detach(token)  # type: ignore[arg-type]
            return
        try:
            token.var.reset(token)
        except ValueError:
            pass  # an unfinished call that garbage collection ends has another context

    return leave


def _said(context: TraceContext | None) -> Any:
    """Return a context in OpenTelemetry's words."""
    from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags, TraceState

    if context is None or not context.trace_id:
        return INVALID_SPAN_CONTEXT
    state = context.tracestate
    return SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        # This call is sampled, whoever decided that.
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=None if state is None else TraceState.from_header([state]),
    )


def _context_of(said: Any) -> TraceContext:
    return TraceContext(
        f"{said.trace_id:032x}",
        f"{said.span_id:016x}",
        bool(said.trace_flags & 1),
        said.trace_state.to_header() or None,
    )
