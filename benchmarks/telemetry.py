"""What counting costs: a call, a worker's file, and a scrape of all workers."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Work, cpu, in_turns, table
from meshware.events import InboundEvent
from meshware.inbound.head import InboundHead, look_up
from meshware.inbound.passage import Admission
from meshware.policy.telemetry_plan import LogPlan, SidePlan, TelemetryPlan
from meshware.syncd.counts import Counts
from meshware.syncd.reports import ReportReader
from meshware.telemetry.access_log import AccessLog
from meshware.telemetry.call_ring import MOST_CALLS, CallRing
from meshware.telemetry.counting import Counting
from meshware.telemetry.exposition import exposition
from meshware.telemetry.fan import Fan
from meshware.telemetry.labels import InboundKey, inbound_labels
from meshware.telemetry.log_files import flush_all
from meshware.telemetry.report import encode
from meshware.telemetry.ring_file import WorkerRings, decode
from meshware.telemetry.series import BUCKETS, Store
from meshware.telemetry.span_ring import SpanRecord
from meshware.testing import TestMesh

__all__ = ["run"]

WORKERS = 16
_SAMPLES = 1 + 3 * (len(BUCKETS) + 3)  # lines of one set of labels: a counter, and histograms
_ROUNDS = 15
_DENY = """
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: doors}
spec: {action: DENY, rules: [{to: [{operation: {paths: ["/a"]}}]}]}
"""
_HEADERS = [("host", "app:8000"), ("user-agent", "benchmark"), ("accept", "*/*")]


class _AllAlive(ReportReader):
    """Reads as if every worker held its lock, which only other processes could."""

    def _is_alive(self, directory: int, name: str) -> bool | None:
        return True


def _head() -> InboundHead:
    return InboundHead(
        method="GET",
        scheme="http",
        version="1.1",
        target="/a",
        paths=("/a",),
        headers=look_up(_HEADERS),
        names=[name for name, _ in _HEADERS],
        source_ip="127.0.0.1",
        destination_ip=None,
        port=8000,
    )


def _event(mesh: TestMesh) -> InboundEvent:
    passage = mesh.gate.admit(_head())
    assert isinstance(passage, Admission)
    mesh.events.clear()
    return InboundEvent(passage, 200, None, 0.002)


def _counting() -> Work:
    mesh = TestMesh([], port=8000)
    event = _event(mesh)
    counting = Counting(lambda: mesh.cell.current, time.time)
    counting(event)
    counting.fold()  # as the reporter does each second; from then on its kind is known

    def repeat(count: int) -> None:
        for _ in range(count):
            counting(event)
        counting.fold()

    return cpu(repeat)


def _ring(which: str) -> Work:
    """Return the telling of one event to the fan, with or without the ring of calls."""
    mesh = TestMesh([], port=8000)
    event = _event(mesh)
    counting = Counting(lambda: mesh.cell.current, time.time)
    seconds = itertools.count()
    # A clock that goes on by a second each time makes a record of each call.
    clock = time.monotonic if which != "refused, kept" else lambda: float(next(seconds))
    ring = CallRing(clock, time.time)
    fan = Fan((counting,), () if which == "good, no ring" else (ring,), _raise)
    if which.startswith("refused"):
        denied = TestMesh(_DENY, port=8000)
        passage = denied.gate.admit(event.head)
        event = InboundEvent(passage, 403, None, 0.0001)
    counting(event)
    counting.fold()

    def repeat(count: int) -> None:
        for _ in range(count):
            fan(event)
        counting.fold()

    return cpu(repeat)


def _logging(*plans: LogPlan) -> Work:
    """Return the work of telling calls to a log; whoever writes it is waited for."""
    mesh = TestMesh([], port=8000)
    event = _event(mesh)
    snapshot = mesh.cell.current
    assert snapshot is not None
    snapshot.telemetry = TelemetryPlan(inbound=SidePlan(logs=plans))
    log = AccessLog(lambda: snapshot, mesh.clock.now, {}, print)

    def repeat(count: int) -> None:
        for number in range(count):
            log(event)
            if number % 1000 == 0:  # an app that answers calls lets others run now and then, too
                flush_all()
        flush_all()
        assert not log.failures(), "lines were lost"

    return cpu(repeat)


def _raise(error: Exception) -> None:
    raise error


def _rings() -> WorkerRings:
    """Return a process's full rings."""
    mesh = TestMesh(_DENY, port=8000)
    passage = mesh.gate.admit(_head())
    seconds = itertools.count()
    ring = CallRing(lambda: float(next(seconds)), time.time)
    for _ in range(MOST_CALLS):
        ring(InboundEvent(passage, 403, None, 0.0001))
    said = {f"meshware.attribute-{n}": "a value of some length" for n in range(15)}
    spans = [
        tuple(
            SpanRecord(
                trace_id=f"{number:032x}",
                span_id=f"{number:015x}{at}",
                name="orders.default.svc.cluster.local:80/*",
                kind="client",
                start=1e9,
                duration_s=0.1,
                status="ok",
                attributes=said,
            )
            for at in range(3)
        )
        for number in range(200)
    ]
    return WorkerRings(ring.snapshot, lambda: ring.left_out, lambda: spans)


def _store(sets: int, worker: int, *, is_shared: bool) -> Store:
    """Return what a worker has counted: calls with so many sets of Istio's labels."""
    snapshot = TestMesh([]).cell.current
    assert snapshot is not None
    labels = inbound_labels(InboundKey(None, False, "app", False, 200, "", "-"), snapshot)
    store = Store(max(sets, 1))
    for number in range(sets):
        name = f"web-{number}" if is_shared else f"web-{worker}-{number}"
        series = store.series_of(tuple(sorted({**labels, "source_workload": name}.items())))
        assert series is not None
        for value in (0.001, 0.004, 0.03, 0.2):
            series.observe(value, 100, 2000, None)
    return store


def _milliseconds(work: Callable[[], object], before: Callable[[], object]) -> list[float]:
    work()
    found = []
    for _ in range(_ROUNDS):
        before()
        began = time.perf_counter()
        work()
        found.append((time.perf_counter() - began) * 1000)
    return found


def _scrapes(sets: int, *, is_shared: bool) -> list[tuple[int, str, list[float]]]:
    """Return samples, what it is, and rounds in ms, of scrapes of all workers."""
    with tempfile.TemporaryDirectory() as place:
        reports = Path(place, "reports/default/app")
        reports.mkdir(parents=True)
        stores = [_store(sets, worker, is_shared=is_shared) for worker in range(WORKERS)]

        def call_all() -> None:
            for worker, store in enumerate(stores):
                for series in store.series.values():
                    series.observe(0.002, 100, 2000, None)
                (reports / f"{worker:016x}.metrics").write_bytes(encode(store, {}))

        call_all()
        counts = Counts(_AllAlive(Path(place, "reports")), Path(place, "archive"))

        def scrape() -> str:
            merged = counts.merged()
            return exposition(
                merged.store.series.values(), merged.store.counters, merged.gauges, is_open=False
            )

        idle = _milliseconds(scrape, lambda: None)
        busy = _milliseconds(scrape, call_all)
        lines = scrape().count("\n")
    what = "same labels in all" if is_shared else "labels of its own in each"
    return [(lines, f"{what}, no calls since", idle), (lines, f"{what}, all called", busy)]


def run() -> None:
    """Print the rows of counting and of scrapes."""
    timing = in_turns({"counting": _counting()})["counting"]
    table(
        "Counting: one inbound call, told and folded, CPU (part of the inbound budget)",
        ["", "us", "spread"],
        [["told and folded", f"{timing.median_us:.2f}", f"{timing.spread:.0%}"]],
    )
    logging = in_turns(
        {
            "off": _logging(),
            "Istio's text": _logging(LogPlan(provider="text", path="/dev/null")),
            "Istio's JSON": _logging(LogPlan(provider="json", path="/dev/null", labels={})),
        }
    )
    table(
        "Access logs: one inbound call, its line made and written, CPU of both threads",
        ["", "us", "spread"],
        [[what, f"{one.median_us:.2f}", f"{one.spread:.0%}"] for what, one in logging.items()],
    )
    names = ("good, no ring", "good", "refused, kept", "refused, of a flood")
    timings = in_turns({name: _ring(name) for name in names})
    bare = timings[names[0]]
    table(
        "The ring of refused and failed calls: one event told to the fan and counted, CPU",
        ["", "us", "added us", "spread"],
        [
            [
                name,
                f"{timing.median_us:.2f}",
                f"{timing.added_us(bare):+.2f}",
                f"{timing.spread:.0%}",
            ]
            for name, timing in timings.items()
        ],
    )
    full = [_rings() for _ in range(_ROUNDS + 1)]
    first = _milliseconds(lambda: full.pop()(), lambda: None)  # noqa: PLW0108 - another each time
    rings = _rings()
    data = rings()
    again = _milliseconds(rings, lambda: None)
    read = _milliseconds(lambda: decode(data, 2e9), lambda: None)
    table(
        f"The file of full rings, {len(data):,} bytes: at most once a second",
        ["", "ms"],
        [
            ["made, all new", f"{statistics.median(first):.2f}"],
            ["asked for, nothing new", f"{statistics.median(again):.3f}"],
            ["read by the daemon", f"{statistics.median(read):.2f}"],
        ],
    )
    rows = []
    for sets in (16, 1000):
        store = _store(sets, 0, is_shared=True)
        found = _milliseconds(lambda store=store: encode(store, {}), lambda: None)  # type: ignore[misc]
        size = len(encode(store, {}))
        rows.append([f"{sets:,} sets of labels", f"{statistics.median(found):.2f}", f"{size:,}"])
    table("A worker's file, at most once a second", ["", "ms", "bytes"], rows)
    rows = []
    per_worker = -(-1000 // _SAMPLES)
    for sets, is_shared, budget in ((per_worker, False, "100"), (1000, True, "")):
        for lines, what, found in _scrapes(sets, is_shared=is_shared):
            middle = statistics.median(found)
            spread = f"{(max(found) - min(found)) / middle:.0%}"
            name = f"{WORKERS} x {sets * _SAMPLES:,} samples, {what}"
            rows.append([name, f"{middle:.1f}", spread, f"{lines:,}", budget])
    table("A scrape of the daemon, files read", ["", "ms", "spread", "lines", "budget ms"], rows)
