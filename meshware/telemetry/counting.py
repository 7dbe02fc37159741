"""Count calls: the sink of events that metrics are made of.

Theory of operation
-------------------
An event may be told anywhere, also in a finalizer that garbage collection runs on the very thread
that holds a lock of ours, or of the snapshot's. So telling one only appends what it takes to a
deque. Whoever writes the report each second folds it into the series: by then the labels of a kind
of call have usually been worked out, and a look-up is all there is to do. A call that finds the
deque long folds it too, but only what needs no more than a look-up: labels come from policy, whose
lock the very same thread may hold. Kinds of calls that are new wait for the second in which the
report is written; more of them than fit are counted as left out.

A fork's child counts from nothing: what was counted before is the parent's to report. So does a
process whose report ends and begins anew, by `hand_over`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping

import msgspec

from meshware.call import Call, Flag
from meshware.events import Event, InboundEvent, OutboundEvent
from meshware.grpc import grpc_status, is_grpc
from meshware.inbound.head import declared_length
from meshware.policy.snapshot import Snapshot
from meshware.policy.telemetry_plan import DEFAULT_PLAN, MetricsPlan, TelemetryPlan
from meshware.telemetry.labels import InboundKey, OutboundKey, inbound_labels, outbound_labels
from meshware.telemetry.report import Counted, Gauges, encode
from meshware.telemetry.series import (
    ATTEMPTS,
    ENDPOINT_ATTEMPTS,
    CounterKey,
    Exemplar,
    Labels,
    Series,
    Store,
)
from meshware.telemetry.tags import Tags, split, tags_of

__all__ = ["MOST_SERIES", "Counting"]

MOST_SERIES = 2000
"""Sets of labels of one process; calls that would make one more are counted as left out."""

_SAMPLED = frozenset("13579bdf")
_MOST_WAITING = 512  # events, then a call folds them
_MOST_KEYS = 8192  # that lead to series: callers may make up hosts
_MOST_NEW = 8192  # events whose labels must be worked out
_MOST_ROUTES = 200  # route templates, of an app that makes them up
_MOST_OUTSIDE = 200  # hosts that policy does not know, of an app that calls whatever it is told
_MOST_ENDPOINTS = 500  # of all services that a process calls
_INBOUND, _OUTBOUND = (("reporter", "destination"),), (("reporter", "source"),)
_LARGEST_GRPC_STATUS = 999
_OVERFLOW = Flag.UPSTREAM_OVERFLOW.value


class _Told(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an event until it is counted."""

    key: InboundKey | OutboundKey
    tags: Tags
    duration_s: float
    received_bytes: int
    sent_bytes: int
    exemplar: Exemplar | None
    route: str | None = None
    exception: str | None = None
    decided_s: float = 0.0
    attempts: int = 0
    tried: tuple[tuple[str, bool], ...] = ()  # of each attempt the endpoint, and if it failed


class Counting:
    """An event sink that counts. Safe to use from any thread, and in garbage collection.

    Args:
        snapshot_of: returns the policy in force.
        now: unix time in seconds, for exemplars.
        failures: returns what else of telemetry has failed since it was last asked, by counter.

    Attributes:
        store: what was counted.
        folded: changes whenever more has been counted.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        now: Callable[[], float],
        failures: Callable[[], Mapping[CounterKey, int]] = dict,
    ) -> None:
        self._snapshot_of = snapshot_of
        self._now = now
        self._failures = failures
        self.folded = 0
        self.renew()

    def renew(self) -> None:
        """Count from nothing, in a child process."""
        self._waiting: deque[_Told] = deque()
        self._new: deque[_Told] = deque()
        self._folding = threading.Lock()
        self._begin()

    def hand_over(self) -> None:
        """Count from nothing: what was counted has been reported, under a name that has ended."""
        with self._folding:
            self._begin()

    def _begin(self) -> None:
        self._found: dict[tuple[InboundKey | OutboundKey, Tags], tuple[Series, ...]] = {}
        self._found_for: Snapshot | None = None
        self._routes: set[str] = set()
        self._outside: set[str] = set()
        self._endpoints: set[tuple[str, str]] = set()
        self.store = Store(MOST_SERIES)
        # Not from nought: whoever remembers a number, also from before a fork, sees another one.
        self.folded += 1

    def __call__(self, event: Event) -> None:
        """Take what counts of an event."""
        snapshot, waiting = self._snapshot_of(), self._waiting
        plan = DEFAULT_PLAN if snapshot is None else snapshot.telemetry
        if isinstance(event, InboundEvent):
            metrics = plan.inbound.metrics
            if metrics.is_on:
                waiting.append(self._inbound(event, metrics))
        else:
            metrics = plan.outbound.metrics
            if metrics.is_on:
                waiting.append(self._outbound(event, metrics))
        if len(waiting) > _MOST_WAITING and self._folding.acquire(blocking=False):
            try:
                self._fold(may_look_up=False)
            finally:
                self._folding.release()

    def fold(self) -> Store:
        """Count all that was told by now. Returns what has been counted since the start."""
        with self._folding:
            self._fold(may_look_up=True)
        return self.store

    def encoded(self, gauges: Gauges) -> tuple[int, bytes]:
        """Return the file of what has been counted by now, beside what holds now.

        In front of it, what `folded` was when it was made.
        """
        with self._folding:
            return self.folded, encode(self.store, gauges)

    def copied(self, gauges: Gauges) -> Counted:
        """Return what has been counted by now, in a copy, beside what holds now."""
        with self._folding:
            self._fold(may_look_up=True)
            together = Store(MOST_SERIES)
            together.merge(self.store.series.values(), self.store.counters)
            return Counted(
                series=tuple(together.series.values()),
                counters=together.counters,
                gauges=gauges,
                left_out=self.store.left_out,
            )

    # --- inside -------------------------------------------------------------------------------

    def _inbound(self, event: InboundEvent, metrics: MetricsPlan) -> _Told:
        passage = event.passage
        head = passage.head
        hosts, peer, flag = head.headers("host"), passage.peer, event.flag
        grpc = is_grpc(head.headers)
        key = InboundKey(
            None if peer is None else peer.id,
            peer is not None and peer.proved_by == "mtls",
            hosts[0] if hosts else "",
            grpc,
            event.status,
            _grpc_status(event) if grpc else "",
            "-" if flag is None else flag.value,
        )
        return _Told(
            key,
            tags_of(event, metrics, self._now) if metrics.changed else (),
            event.duration_s,
            passage.received_bytes,
            passage.sent_bytes,
            self._exemplar(event.call, event.duration_s),
            head.route_of.found,
            passage.exception,
            passage.decided_s,
        )

    def _outbound(self, event: OutboundEvent, metrics: MetricsPlan) -> _Told:
        head = event.head
        grpc = head is not None and is_grpc(head.headers)
        key = OutboundKey(
            event.cluster,
            event.service if head is None else head.host,
            event.endpoint,
            grpc,
            event.status,
            _grpc_status(event) if grpc else "",
            event.flags,
        )
        lengths = () if head is None else head.headers("content-length")
        return _Told(
            key,
            tags_of(event, metrics, self._now) if metrics.changed else (),
            event.duration_s,
            declared_length(lengths) or 0,
            event.received_bytes,
            self._exemplar(None if head is None else head.call, event.duration_s),
            attempts=event.attempts,
            tried=tuple(
                (each.endpoint, _has_failed(each.status)) for each in event.tries if each.endpoint
            ),
            decided_s=event.decided_s,
        )

    def _exemplar(self, call: Call | None, duration_s: float) -> Exemplar | None:
        """Return the trace of a call as an example of its duration; None: it is not sampled."""
        context = None if call is None else call.traceparent
        # W3C Trace Context, 3.2.2.5: the last bit of the flags says whether it is.
        if context is None or context[54:55] not in _SAMPLED:
            return None
        assert call is not None
        if call.trace_id is None:
            return None
        return Exemplar(call.trace_id, duration_s * 1000, self._now())

    def _fold(self, *, may_look_up: bool) -> None:
        snapshot = self._snapshot_of()
        if snapshot is not self._found_for:  # labels come from policy
            self._found.clear()
            self._found_for = snapshot
        waiting = self._waiting
        if may_look_up:
            for (name, labels), count in self._failures().items():
                self.store.count(name, labels, count)
                self.folded += 1
        if may_look_up and self._new:
            # Those that waited longest come first.
            waiting.extendleft(self._new.pop() for _ in range(len(self._new)))
        if not waiting:
            return
        self._decided: tuple[list[float], list[float]] = ([], [])  # how long, inbound and outbound
        try:
            for _ in range(len(waiting)):
                self._place(waiting.popleft(), snapshot, may_look_up=may_look_up)
        finally:
            self._count_decisions()
            self.folded += 1  # now that it is done: a report that was made meanwhile is stale

    def _place(self, told: _Told, snapshot: Snapshot | None, *, may_look_up: bool) -> None:
        """Count a call, or put it back where its kind is new and nothing may be looked up."""
        series = self._found.get((told.key, told.tags))
        if series is None and may_look_up:
            series = self._series_of(told, snapshot)
        elif series is None:
            if len(self._new) < _MOST_NEW:
                self._new.append(told)
            else:
                self.store.left_out += 1
            return
        if told.tried and isinstance(told.key, OutboundKey) and "|" in told.key.cluster:
            self._count_endpoints(told)
        for one in series or ():
            one.observe(told.duration_s, told.received_bytes, told.sent_bytes, told.exemplar)
        self._count_ours(told, snapshot)

    def _series_of(self, told: _Told, snapshot: Snapshot | None) -> tuple[Series, ...]:
        """Return where a kind of call is counted, and remember it."""
        key = told.key
        if snapshot is None:
            return ()  # without policy every call is refused, and there is nobody to name
        plan = _plan_of(snapshot)
        try:
            if isinstance(key, InboundKey):
                metrics, labels = plan.inbound.metrics, inbound_labels(key, snapshot)
            else:
                metrics = plan.outbound.metrics
                labels = outbound_labels(self._bounded(key), snapshot)
        except Exception:
            self.store.left_out += 1  # a mistake of ours costs this call's count, and no other's
            raise
        series: list[Series] = []
        for written, names in split(labels, metrics, told.tags):
            one = self.store.series_of(written, names)
            if one is None:
                self.store.left_out += 1
                return ()
            series.append(one)
        if len(self._found) >= _MOST_KEYS:
            self._found.clear()
        self._found[(key, told.tags)] = tuple(series)
        return tuple(series)

    def _bounded(self, key: OutboundKey) -> OutboundKey:
        """Return a kind of call, to `other` where too many hosts are outside of the mesh."""
        if "|" in key.cluster or key.host in self._outside:
            return key
        if len(self._outside) >= _MOST_OUTSIDE:
            return msgspec.structs.replace(key, host="other", endpoint=None)
        self._outside.add(key.host)
        return key

    def _count_endpoints(self, told: _Told) -> None:
        """Count attempts by the endpoint they went to: as many as policy has, to a limit."""
        assert isinstance(told.key, OutboundKey)
        (service,) = _service_of(told.key)
        for tried, has_failed in told.tried:
            pair, endpoint = (service[1], tried), tried
            if len(self._endpoints) < _MOST_ENDPOINTS:
                self._endpoints.add(pair)
            elif pair not in self._endpoints:
                endpoint = "other"
            outcome = ("outcome", "failed" if has_failed else "ok")
            self.store.count(ENDPOINT_ATTEMPTS, (service, ("endpoint", endpoint), outcome))

    def _count_decisions(self) -> None:
        """Count how many calls were decided and how long that took, once for many of them."""
        for side, took in zip((_INBOUND, _OUTBOUND), self._decided, strict=True):
            if took:
                self.store.count("meshware_decisions_total", side, len(took))
                self.store.count("meshware_decision_seconds_total", side, sum(took))

    def _count_ours(self, told: _Told, snapshot: Snapshot | None) -> None:
        key = told.key
        decided = self._decided[isinstance(key, OutboundKey)]
        if told.decided_s:
            decided.append(told.decided_s)
        if isinstance(key, OutboundKey):
            service = _service_of(self._bounded(key))
            pair = (*service, *_source_of(snapshot))
            if told.attempts:
                self.store.count(ATTEMPTS, pair, told.attempts)
            if told.attempts > 1:
                self.store.count("meshware_retries_total", pair, told.attempts - 1)
            if _OVERFLOW in key.flags:
                # Before any attempt a limit of the pool was met; behind one, the retry budget.
                kind = ("kind", "retries" if told.attempts else "requests")
                self.store.count("meshware_overflows_total", (*service, kind))
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


def _has_failed(status: int) -> bool:
    return status == 0 or status >= 500


def _service_of(key: OutboundKey) -> Labels:
    host = key.cluster.rpartition("|")[2] if "|" in key.cluster else key.host
    return (("destination_service", host or "unknown"),)


def _source_of(snapshot: Snapshot | None) -> Labels:
    """Return who calls, by the labels of Istio's metrics: whose attempts they are."""
    client = None if snapshot is None else snapshot.client
    name = None if client is None else client.name
    namespace = None if client is None else client.namespace
    return (
        ("source_workload", name or "unknown"),
        ("source_workload_namespace", namespace or "unknown"),
    )


def _grpc_status(event: Event) -> str:
    """Return a gRPC status as a label has it: an app may make up any number of others."""
    status = None if event.response is None else grpc_status(event.response)
    return "" if status is None or status > _LARGEST_GRPC_STATUS else str(status)
