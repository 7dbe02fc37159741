"""Count calls: the sink of events that metrics are made of.

Theory of operation
-------------------
An event may be told anywhere, also in a finalizer that garbage collection runs on the very thread
that holds a lock of ours. So telling one only appends what it takes to a deque. Whoever writes the
report each second, and the call that finds the deque long, folds it into the series: by then the
labels of a kind of call have usually been worked out, and a look-up is all there is to do.

A fork's child counts from nothing: what was counted before is the parent's to report.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from meshware.call import Call, current_call
from meshware.events import Event, InboundEvent, OutboundEvent
from meshware.grpc import is_grpc
from meshware.inbound.passage import Admission
from meshware.policy.snapshot import Snapshot
from meshware.policy.telemetry_plan import DEFAULT_PLAN, METRICS, MetricsPlan, TelemetryPlan
from meshware.telemetry.attributes import attributes_of
from meshware.telemetry.labels import InboundKey, OutboundKey, inbound_labels, outbound_labels
from meshware.telemetry.series import ALL, Exemplar, Labels, Series, Store

__all__ = ["MOST_SERIES", "Counting"]

MOST_SERIES = 2000
"""Sets of labels of one process; calls that would make one more are counted as left out."""

_SAMPLED = tuple("13579bdf")
_MOST_WAITING = 512  # events, then a call folds them
_MOST_KEYS = 8192  # that lead to series: callers may make up hosts
_MOST_ROUTES = 200  # route templates, of an app that makes them up

Tags = tuple[tuple[str, str, str], ...]
"""Of metrics whose labels policy changes: metric, label, value."""


class _Told(NamedTuple):
    """What is kept of an event until it is counted."""

    key: InboundKey | OutboundKey
    tags: Tags
    duration_s: float
    received_bytes: int
    sent_bytes: int
    exemplar: Exemplar | None
    route: str | None = None
    exception: str | None = None
    attempts: int = 0


class Counting:
    """An event sink that counts. Safe to use from any thread, and in garbage collection.

    Args:
        snapshot_of: returns the policy in force.
        now: unix time in seconds, for exemplars.

    Attributes:
        store: what was counted.
        folded: how many events that is.
    """

    def __init__(
        self, snapshot_of: Callable[[], Snapshot | None], now: Callable[[], float]
    ) -> None:
        self._snapshot_of = snapshot_of
        self._now = now
        self.renew()

    def renew(self) -> None:
        """Count from nothing, in a child process."""
        self._waiting: deque[_Told] = deque()
        self._folding = threading.Lock()
        self._found: dict[tuple[InboundKey | OutboundKey, Tags], tuple[Series, ...]] = {}
        self._found_for: Snapshot | None = None
        self._routes: set[str] = set()
        self.store = Store(MOST_SERIES)
        self.folded = 0

    def __call__(self, event: Event) -> None:
        """Take what counts of an event."""
        plan = _plan_of(self._snapshot_of())
        if isinstance(event, InboundEvent):
            metrics = plan.inbound.metrics
            if metrics.is_on:
                self._waiting.append(self._inbound(event, metrics))
        else:
            metrics = plan.outbound.metrics
            if metrics.is_on:
                self._waiting.append(self._outbound(event, metrics))
        if len(self._waiting) > _MOST_WAITING and self._folding.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self._folding.release()

    def fold(self) -> Store:
        """Count all that was told by now. Returns what has been counted since the start."""
        with self._folding:
            self._fold()
        return self.store

    # --- inside -------------------------------------------------------------------------------

    def _inbound(self, event: InboundEvent, metrics: MetricsPlan) -> _Told:
        passage = event.passage
        head = passage.head
        hosts = head.headers("host")
        grpc = is_grpc(head.headers)
        key = InboundKey(
            passage.peer,
            hosts[0] if hosts else "",
            grpc,
            event.status,
            _grpc_status(event) if grpc else "",
            event.flags,
        )
        call = passage.call if isinstance(passage, Admission) else None
        return _Told(
            key,
            _tags(event, metrics) if metrics.changed else (),
            event.duration_s,
            passage.received_bytes,
            passage.sent_bytes,
            None if call is None else self._exemplar(call, event.duration_s),
            head.route_of(),
            passage.exception,
        )

    def _outbound(self, event: OutboundEvent, metrics: MetricsPlan) -> _Told:
        head = event.head
        grpc = head is not None and is_grpc(head.headers)
        key = OutboundKey(
            event.cluster,
            "" if head is None else head.host,
            event.endpoint,
            grpc,
            event.status,
            _grpc_status(event) if grpc else "",
            event.flags,
        )
        call = (None if head is None else head.call) or current_call()
        lengths = () if head is None else head.headers("content-length")
        return _Told(
            key,
            _tags(event, metrics) if metrics.changed else (),
            event.duration_s,
            int(lengths[0]) if lengths and lengths[0].isdecimal() else 0,
            event.received_bytes,
            None if call is None else self._exemplar(call, event.duration_s),
            attempts=event.attempts,
        )

    def _exemplar(self, call: Call, duration_s: float) -> Exemplar | None:
        """Return the trace of a call as an example of its duration; None: it is not sampled."""
        context = call.traceparent
        # W3C Trace Context, 3.2.2.5: the last bit of the flags says whether it is.
        if call.trace_id is None or context is None or context[53:55][-1:] not in _SAMPLED:
            return None
        return Exemplar(call.trace_id, duration_s * 1000, self._now())

    def _fold(self) -> None:
        snapshot = self._snapshot_of()
        if snapshot is not self._found_for:  # labels come from policy
            self._found.clear()
            self._found_for = snapshot
        waiting, found = self._waiting, self._found
        self.folded += len(waiting)
        for _ in range(len(waiting)):
            told = waiting.popleft()
            series = found.get((told.key, told.tags))
            if series is None:
                series = self._series_of(told, snapshot)
            for one in series:
                one.observe(told.duration_s, told.received_bytes, told.sent_bytes, told.exemplar)
            self._count_ours(told)

    def _series_of(self, told: _Told, snapshot: Snapshot | None) -> tuple[Series, ...]:
        """Return where a kind of call is counted, and remember it."""
        key = told.key
        if snapshot is None:
            return ()  # without policy every call is refused, and there is nobody to name
        plan = _plan_of(snapshot)
        if isinstance(key, InboundKey):
            metrics, labels = plan.inbound.metrics, inbound_labels(key, snapshot)
        else:
            metrics, labels = plan.outbound.metrics, outbound_labels(key, snapshot)
        series: list[Series] = []
        for written, names in _split(labels, metrics, told.tags):
            one = self.store.series_of(written, names)
            if one is None:
                self.store.left_out += 1
                return ()
            series.append(one)
        if len(self._found) >= _MOST_KEYS:
            self._found.clear()
        self._found[(key, told.tags)] = tuple(series)
        return tuple(series)

    def _count_ours(self, told: _Told) -> None:
        key = told.key
        if isinstance(key, OutboundKey):
            service = _service_of(key)
            if told.attempts:
                self.store.count("meshware_attempts_total", service, told.attempts)
            if told.attempts > 1:
                self.store.count("meshware_retries_total", service, told.attempts - 1)
            return
        if told.route is not None:
            route = told.route
            if route not in self._routes:
                if len(self._routes) >= _MOST_ROUTES:
                    route = "other"
                self._routes.add(route)
            code = ("code", str(key.status))
            self.store.count("meshware_route_requests_total", (code, ("route", route)))
        if told.exception is not None:
            self.store.count("meshware_exceptions_total", (("type", told.exception),))


def _plan_of(snapshot: Snapshot | None) -> TelemetryPlan:
    return DEFAULT_PLAN if snapshot is None else snapshot.telemetry


def _service_of(key: OutboundKey) -> Labels:
    host = key.cluster.rpartition("|")[2] if "|" in key.cluster else key.cluster
    return (("destination_service", host or "unknown"),)


def _grpc_status(event: Event) -> str:
    """Return a gRPC status that came among the headers; trailers are not seen here."""
    values = () if event.response is None else event.response("grpc-status")
    return values[0] if values and values[0].isdecimal() and len(values[0]) < 4 else ""


def _tags(event: Event, metrics: MetricsPlan) -> Tags:
    """Work out the labels that policy adds or changes."""
    look_up = attributes_of(event)
    tags = []
    for metric, plan in metrics.changed.items():
        for name, expression in plan.tags.items():
            try:
                value = _text(expression(look_up))
            except Exception:
                value = "unknown"  # Istio's, of whatever fails
            tags.append((metric, name, value))
    return tuple(tags)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)[:256]


def _split(
    labels: Mapping[str, str], metrics: MetricsPlan, tags: Tags
) -> list[tuple[Labels, frozenset[str]]]:
    """Return the labels of the metrics, those together that have the same."""
    if not metrics.changed:
        return [(tuple(sorted(labels.items())), ALL)]
    found: dict[Labels, set[str]] = {}
    for metric in METRICS.values():
        plan = metrics.changed.get(metric)
        own = dict(labels)
        if plan is not None:
            if not plan.is_on:
                continue
            own.update({name: value for of, name, value in tags if of == metric})
            for name in plan.removed:
                own.pop(name, None)
        found.setdefault(tuple(sorted(own.items())), set()).add(metric)
    return [(written, frozenset(names)) for written, names in found.items()]
