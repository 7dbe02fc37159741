"""Tracing in one process: which calls get spans, which spans, and when they end.

Theory of operation. A call is decided on once, where it begins, and by whoever is first: its caller
(the sampled flag of its context), the app's own instrumentation that runs around it, else chance by
policy. From then on:

1. Without policy about tracing, and without instrumentation: the caller's context is carried.
2. Unsampled: the caller's context is carried, or one is begun. No span is made.
3. Sampled: a span is made, of OpenTelemetry's where this process has a provider or policy names a
   receiver, and kept in the ring either way. Its context is carried.
4. Within a server span of the app's own instrumentation: that span is told what the mesh knows, and
   none is made beside it. The same holds for a client span around an outbound call.

A call that is refused gets its span when it is over: nothing runs for it that could be traced.

Nothing here raises into a call: what goes wrong is counted in `lost`, and the call goes on with
the context of its caller.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import TYPE_CHECKING, Any, Literal

from meshware.call import Call, ExchangeInfo, HeaderLookup, RequestHead
from meshware.clock import Clock
from meshware.events import Event, EventSink, InboundEvent, OutboundEvent
from meshware.policy.telemetry_plan import DEFAULT_PLAN, TelemetryPlan, TracingPlan
from meshware.telemetry.call_spans import CallSpans, Flow, traced
from meshware.telemetry.otel import Active, Otel
from meshware.telemetry.sampling import is_sampled
from meshware.telemetry.span_attributes import (
    Workload,
    custom,
    of_answer,
    of_attempt,
    of_inbound,
    of_outbound,
    shorten,
)
from meshware.telemetry.span_ring import SpanRecord, SpanRing
from meshware.telemetry.spans import Span
from meshware.telemetry.tag_formats import TagFormats
from meshware.trace import (
    Carried,
    Propagation,
    TraceContext,
    carried,
    carried_on,
    child_of,
    read_context,
    written,
)

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot

__all__ = ["Tracing"]

_W3C: tuple[Propagation, ...] = ("w3c",)


class Tracing:
    """Makes the spans of a process's calls. Safe from any thread.

    Args:
        snapshot_of: returns the policy in force; None: there is none.
        clock: for the time of day, and for durations.
        rng: chance, for decisions and ids.
        environ: for tags.

    Attributes:
        ring: the spans of the last sampled calls.
        failed: how often something went wrong that a call was spared.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        *,
        clock: Clock,
        rng: Random,
        environ: Mapping[str, str],
    ) -> None:
        self.ring = SpanRing()
        self.failed = 0
        self.otel = Otel(lambda: self._workload(self._snapshot_of()).resource)
        self._snapshot_of = snapshot_of
        self._clock = clock
        self._monotonic = clock.monotonic
        self._rng = rng
        self._environ = environ
        self._formats = TagFormats(environ, clock.now)

    @property
    def lost(self) -> int:
        """How many spans were dropped before anybody could export them, or failed."""
        return self.failed + self.otel.background.lost

    def renew(self) -> None:
        """Begin with nothing, in a child process."""
        self.ring.clear()
        self.otel.renew()

    # --- inbound ------------------------------------------------------------------------------

    def begin(self, headers: HeaderLookup, snapshot: object, started_at: float) -> Carried:
        """Go on with the trace of an inbound call, or begin one. See `meshware.trace.BeginTrace`.

        Args:
            headers: of the request.
            snapshot: the `Snapshot` that decides the call; None: there is none.
            started_at: monotonic seconds.
        """
        formats = _formats(snapshot)
        try:
            plan = _plan(snapshot).inbound.tracing
            active = self.otel.active()
            if active is None:
                if formats == _W3C:
                    goes_on = carried_on(headers)
                    if goes_on is not None and (plan is None or not goes_on.is_sampled):
                        return goes_on  # as of most calls
                parent = read_context(headers, formats)
            else:
                parent = active.context
            return self._begin(headers, plan, formats, started_at, active=active, given=parent)
        except Exception:
            self.failed += 1
            return carried(read_context(headers, formats), formats)

    def _begin(
        self,
        headers: HeaderLookup,
        plan: TracingPlan | None,
        formats: tuple[Propagation, ...],
        started_at: float,
        *,
        active: Active | None,
        given: TraceContext | None,
    ) -> Carried:
        parent = given
        if active is not None and active.is_recording and active.kind == "server":
            span = self._adopted(active, "server", self._wall(started_at))
            span.on_answer = self._answers
            return _with(carried(parent, formats), span)
        if plan is None:
            return carried(parent, formats)
        if is_sampled(parent, plan, self._rng, headers("x-request-id")):
            made = self._span(
                plan,
                _server_name(headers),
                "server",
                parent=parent,
                start_s=self._wall(started_at),
                active=active,
            )
            if made.context.is_sampled:
                shown = written(made.context, formats) if plan.propagates else ()
                goes_on = carried(made.context if plan.propagates else parent, formats)
                return _with(goes_on, made, shown)
            parent = made.context  # the provider's own sampler wants nothing of it
        elif parent is None or not parent.trace_id:
            parent = child_of(None, False, self._rng)
        else:
            if parent.is_sampled is None:  # decided by now
                parent = parent._replace(is_sampled=False)
            return carried(parent, formats)
        if not plan.propagates:
            return carried(given, formats)  # what is begun here stays here
        return carried(parent, formats, is_shown=True)

    # --- what is over -------------------------------------------------------------------------

    def told(self, sink: EventSink) -> EventSink:
        """Return a sink that ends the server spans of calls, and then tells another sink."""

        def tell(event: Event) -> None:
            if isinstance(event, InboundEvent):
                call = event.call
                if call is None or call.span is not None:  # else it is not sampled, as most
                    try:
                        self._over(event)
                    except Exception:
                        self.failed += 1
            sink(event)

        return tell

    def _over(self, event: InboundEvent) -> None:
        call = event.call
        snapshot = self._snapshot_of()
        plan = _plan(snapshot).inbound.tracing
        if call is not None:
            if not isinstance(call.span, Span):
                return
            span = call.span
        else:
            refused = self._refused(event, snapshot, plan)
            if refused is None:
                return
            span = refused
            event.trace_id = span.context.trace_id
        span.attributes.update(of_inbound(event, event.head.version))
        span.is_error = "error" in span.attributes
        if plan is not None:
            formatted = self._formats.of(event, snapshot)
            workload, headers = self._workload(snapshot), event.head.headers
            span.attributes.update(custom(plan, workload, headers, self._environ, formatted))
            shorten(span.attributes, plan.longest_url)
        self.ring.add((span.end(event.duration_s),))

    def _answers(self, span: Span, passage: Any, status: int) -> None:
        """Tell a span that is not ours what is known when the response begins."""
        try:
            event = InboundEvent(passage, status, None, 0.0)
            span.attributes.update(of_inbound(event, event.head.version))
            span.end(0.0)
        except Exception:
            self.failed += 1

    def _refused(
        self, event: InboundEvent, snapshot: object, plan: TracingPlan | None
    ) -> Span | None:
        """Return the span of a call that was not let in; None: it is not sampled."""
        active = self.otel.active()
        start_s = self._wall(event.passage.started_at)
        if active is not None and active.is_recording and active.kind == "server":
            return self._adopted(active, "server", start_s)
        headers = event.head.headers
        parent = read_context(headers, _formats(snapshot)) if active is None else active.context
        ids = headers("x-request-id")
        if plan is None or not is_sampled(parent, plan, self._rng, ids):
            return None
        name = _server_name(headers)
        made = self._span(plan, name, "server", parent=parent, start_s=start_s, active=active)
        return made if made.context.is_sampled else None

    # --- outbound -----------------------------------------------------------------------------

    def outbound(
        self,
        head: RequestHead,
        snapshot: Snapshot | None,
        exchange: Callable[[EventSink], Flow],
        sink: EventSink,
    ) -> Flow:
        """Return the exchange of an outbound call, with spans where it is sampled.

        Args:
            head: the call; the context that it bears is noted in it.
            snapshot: the policy that decides it.
            exchange: makes the exchange, given what it tells its event to.
            sink: what is told in the end.
        """
        try:
            spans = self._call_spans(head, snapshot)
        except Exception:
            self.failed += 1
            spans = None
        if spans is None:
            return exchange(sink)

        def tell(event: Event) -> None:
            if isinstance(event, OutboundEvent) and not event.is_mirror:
                event.trace = spans.span.context
                try:
                    spans.ended(event)
                except Exception:
                    self.failed += 1
            sink(event)

        return traced(exchange(tell), spans)

    def _call_spans(self, head: RequestHead, snapshot: Snapshot | None) -> CallSpans | None:
        """Decide on an outbound call; note in its head what it bears where it is not sampled."""
        plan = _plan(snapshot).outbound.tracing
        active = self.otel.active()
        if plan is None and active is None:
            return None
        formats = _formats(snapshot)
        own = read_context(head.headers, formats)  # what the app has written itself
        call = head.call
        parent = own
        if own is None and active is not None:
            parent = active.context
        elif own is None and call is not None and call.traceparent is not None:
            parent = read_context(_one_by_one(call), _W3C)
        if plan is None or self.otel.is_suppressed():
            if own is None and active is not None and parent is not None:
                head.trace_headers = written(parent, formats)
            return None
        ids = head.headers("x-request-id") or (() if call is None else (call.request_id,))
        if not is_sampled(parent, plan, self._rng, ids):
            if parent is None or not parent.trace_id:
                parent = child_of(None, False, self._rng)
            if own is None and plan.propagates:
                head.trace_headers = written(parent, formats)
            return None
        start_s = self._clock.now().timestamp()
        name = f"{head.host}:{head.port}/*"
        if active is not None and active.is_recording and active.kind == "client":
            span = self._adopted(active, "client", start_s)
        else:
            span = self._span(plan, name, "client", parent=parent, start_s=start_s, active=active)
            if not span.context.is_sampled:
                if own is None and plan.propagates:
                    head.trace_headers = written(span.context, formats)
                return None

        def attempt(_number: int) -> Span:
            now_s = self._clock.now().timestamp()
            return self._span(
                plan, span.name, "client", parent=span.context, start_s=now_s, above=span
            )

        def over(spans: CallSpans, event: OutboundEvent) -> None:
            self._call_over(spans, event, plan, snapshot)

        def answers(info: ExchangeInfo) -> None:
            span.attributes.update(of_answer(info, 0 if snapshot is None else snapshot.generation))
            span.end(0.0)

        return CallSpans(
            span,
            attempt,
            over,
            formats=formats,
            propagates=plan.propagates,
            monotonic=self._monotonic,
            rng=self._rng,
            beneath=self._beneath,
            answers=answers,
            on_failure=self._fail,
        )

    def _call_over(
        self, spans: CallSpans, event: OutboundEvent, plan: TracingPlan, snapshot: Snapshot | None
    ) -> None:
        span = spans.span
        if not span.is_adopted:
            span.name = f"{event.service if ':' in event.service else span.name[:-2]}/*"
        span.attributes.update(of_outbound(event, spans.deadline_s))
        span.is_error = "error" in span.attributes
        if event.head is not None:
            headers, formatted = event.head.headers, self._formats.of(event, snapshot)
            workload = self._workload(snapshot)
            span.attributes.update(custom(plan, workload, headers, self._environ, formatted))
        shorten(span.attributes, plan.longest_url)
        records: list[SpanRecord] = [span.end(event.duration_s)]
        for made, tried, timeout_s in spans.attempts:
            made.name = f"{span.name} attempt {tried.number}"
            made.attributes.update(of_attempt(tried, timeout_s))
            made.is_error = "error" in made.attributes
            records.append(made.end(tried.duration_s))
        self.ring.add(tuple(records))

    def _fail(self) -> None:
        self.failed += 1

    def _beneath(self, span: Span) -> Callable[[], None]:
        return _nothing if span.otel is None else self.otel.beneath(span.otel)

    # --- spans --------------------------------------------------------------------------------

    def _span(
        self,
        plan: TracingPlan,
        name: str,
        kind: Literal["server", "client"],
        *,
        parent: TraceContext | None,
        start_s: float,
        active: Active | None = None,
        above: Span | None = None,
    ) -> Span:
        """Start a span, of OpenTelemetry's where there is a provider.

        Args:
            plan: where to export to.
            name: of the span.
            kind: likewise.
            parent: None: it begins a trace.
            start_s: unix seconds.
            active: the current span of the app's own, which has a provider then.
            above: the call's span, for an attempt: both are of the same making.
        """
        parent_id = None if parent is None or not parent.trace_id else parent.span_id
        is_exported = plan.kind == "opentelemetry" or active is not None
        if above is not None:
            is_exported = above.otel is not None
        if is_exported:
            found = self.otel.start(plan, name, kind, parent, start_s)
            if found is not None:
                otel, context = found
                return Span(name, kind, context, parent_id, start_s, otel=otel, otel_side=self.otel)
        return Span(name, kind, child_of(parent, True, self._rng), parent_id, start_s)

    def _adopted(self, active: Active, kind: Literal["server", "client"], start_s: float) -> Span:
        above: Any = getattr(active.span, "parent", None)
        return Span(
            getattr(active.span, "name", kind),
            kind,
            active.context,
            None if above is None else f"{above.span_id:016x}",
            start_s,
            otel=active.span,
            otel_side=self.otel,
            is_adopted=True,
        )

    def _wall(self, at: float) -> float:
        """Return the time of day, unix seconds, of a monotonic time."""
        return self._clock.now().timestamp() - (self._monotonic() - at)

    def _workload(self, snapshot: Snapshot | None) -> Workload:
        if snapshot is None:
            return Workload(name="", namespace="default")
        client = snapshot.client
        labels = client.labels if snapshot.inbound is None else snapshot.inbound.labels
        return Workload(
            name=client.name or "",
            namespace=client.namespace,
            labels=labels or client.labels,
            trust_domain=snapshot.mesh.trust_domain,
        )


def _nothing() -> None:
    return None


def _plan(snapshot: object) -> TelemetryPlan:
    plan: TelemetryPlan = getattr(snapshot, "telemetry", DEFAULT_PLAN)
    return plan


def _formats(snapshot: object) -> tuple[Propagation, ...]:
    mesh = getattr(snapshot, "mesh", None)
    return _W3C if mesh is None else mesh.propagation


def _with(goes_on: Carried, span: Span, shown: tuple[tuple[str, str], ...] = ()) -> Carried:
    return goes_on._replace(trace_id=span.context.trace_id, span=span, shown=shown, is_sampled=True)


def _server_name(headers: HeaderLookup) -> str:
    """Return the name of a server span: host and port, and any path. Source: Istio."""
    hosts = headers("host")
    return f"{hosts[0] if hosts else '*'}/*"


def _one_by_one(call: Call) -> HeaderLookup:
    table = {"traceparent": call.traceparent, "tracestate": call.tracestate}

    def look_up(name: str) -> tuple[str, ...]:
        value = table.get(name)
        return () if value is None else (value,)

    return look_up
