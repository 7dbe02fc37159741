"""The last refused and failed calls, and the last traces, of all workers of this node.

Theory of operation
-------------------
Each worker keeps one file, `<id>.rings` beside its report. They are read when somebody asks, and
only those that have changed; what is shown is replaced whole. A worker that has ended is remembered
for a while by its last file, then the file is removed.

A file is a claim: who wrote it is said by where it lies, and nothing in it is believed of anybody
else. One workload's workers, however many it claims to have, take no more than their share of what
is remembered, and one that writes nonsense is remembered by nothing.

Calls get numbers in the order in which they are first seen here, so that whoever has seen some can
ask for what came since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from secrets import token_hex

from meshware.syncd.reports import ReportReader, WorkerFile
from meshware.telemetry.call_record import CallRecord
from meshware.telemetry.ring_file import Rings, decode
from meshware.telemetry.span_ring import SpanRecord

__all__ = [
    "KEPT_S",
    "MOST_FILES",
    "MOST_OF_WORKLOAD",
    "NodeRings",
    "Remembered",
    "SeenCall",
    "SeenSpans",
]

KEPT_S = 900.0
"""How long what an ended worker has said last is remembered."""

MOST_FILES = 256
"""Workers of one node that are remembered, alive or not."""

MOST_OF_WORKLOAD = 32
"""Those of one workload, the last to write first."""

_MOST_READ = 64  # files in one look; of those that all have changed, each has its turn
_MOST_ENDED = 8  # of one workload: one that ends at once, again and again, is not all there is

_Worker = tuple[str, str, str]
"""Namespace and workload, as the directories are called, and the worker's id."""


@dataclass(frozen=True, slots=True)
class SeenCall:
    """A refused or failed call, and whose it was."""

    seen: int  # in the order in which calls were seen, from 1
    namespace: str
    workload: str
    worker: str
    call: CallRecord


@dataclass(frozen=True, slots=True)
class SeenSpans:
    """The spans of one sampled call, and whose they are."""

    seen: int
    namespace: str
    workload: str
    worker: str
    spans: tuple[SpanRecord, ...]


@dataclass(frozen=True, slots=True)
class Remembered:
    """What all workers remember, at one moment.

    Attributes:
        epoch: of this daemon's life; numbers of another one mean nothing.
        seen: the largest number so far.
        calls: the newest first.
        spans: as they were seen, the last first.
        left_out: calls that workers did not keep one by one since their last.
    """

    epoch: str
    seen: int
    calls: tuple[SeenCall, ...] = ()
    spans: tuple[SeenSpans, ...] = ()
    left_out: int = 0


@dataclass(slots=True)
class _Known:
    """A worker's file as it was read last."""

    signature: tuple[int, int, int]
    turn: int  # in which it was read
    calls: dict[int, SeenCall]  # by the worker's own number
    spans: dict[tuple[str, str], SeenSpans]  # by trace, and the first span's id
    left_out: int


class NodeRings:
    """Reads and merges. Safe to use from any thread.

    Args:
        reader: of the directory of reports.
        now: unix time in seconds.
        most_calls, most_spans: that are shown, the newest; spans by the calls that they are of.
    """

    def __init__(
        self,
        reader: ReportReader,
        now: Callable[[], float],
        most_calls: int = 1000,
        most_spans: int = 2000,
    ) -> None:
        self._reader = reader
        self._now = now
        self._most_calls = most_calls
        self._most_spans = most_spans
        self._lock = threading.Lock()
        self._known: dict[_Worker, _Known] = {}
        self._numbers, self._turns = count(1), count(1)
        self._seen = 0
        self._epoch = token_hex(4)
        self._remembered = Remembered(self._epoch, 0)

    @property
    def remembered(self) -> Remembered:
        """What was read last; nothing is read for it."""
        return self._remembered

    def look(self) -> Remembered:
        """Read what has changed, and return all that is remembered."""
        with self._lock:
            known: dict[_Worker, _Known] = {}
            changed: list[tuple[int, _Worker, WorkerFile]] = []
            for file in self._chosen(self._reader.ring_files()):
                worker = (file.namespace, file.workload, file.worker)
                before = self._known.get(worker)
                if before is not None:
                    known[worker] = before
                if before is None or before.signature != file.signature:
                    changed.append((0 if before is None else before.turn, worker, file))
            changed.sort(key=lambda each: each[0])  # those that have waited longest
            for _, worker, file in changed[:_MOST_READ]:
                known[worker] = self._read(file, known.get(worker))
            if known != self._known:
                self._known = known
                self._remembered = self._merged()
            return self._remembered

    def clear(self) -> int:
        """Remove the files of workers that ended a while ago. Returns how many."""
        with self._lock:
            files = [file for file in self._reader.ring_files() if not file.is_alive]
            kept = set(map(id, self._chosen(files)))
            gone = [file for file in files if id(file) not in kept]
            for file in gone:
                file.remove()
            return len(gone)

    # --- inside -------------------------------------------------------------------------------

    def _chosen(self, files: Iterable[WorkerFile]) -> list[WorkerFile]:
        """Return the files to look at, those of each workload that were written last.

        Every workload has its first one before any has its second.
        """
        now = self._now()
        ranked: list[tuple[int, float, WorkerFile]] = []
        ranks: dict[tuple[str, str], int] = {}
        ended: dict[tuple[str, str], int] = {}
        for file in sorted(files, key=lambda file: (not file.is_alive, -file.written_at)):
            workload = (file.namespace, file.workload)
            if not file.is_alive:
                ended[workload] = ended.get(workload, 0) + 1
                if ended[workload] > _MOST_ENDED or file.written_at < now - KEPT_S:
                    continue
            ranks[workload] = rank = ranks.get(workload, 0) + 1
            if rank <= MOST_OF_WORKLOAD:
                ranked.append((rank, -file.written_at, file))
        ranked.sort(key=lambda each: each[:2])
        return [file for _, _, file in ranked[:MOST_FILES]]

    def _read(self, file: WorkerFile, before: _Known | None) -> _Known:
        data = file.read()
        rings = (None if data is None else decode(data, self._now())) or Rings()
        calls: dict[int, SeenCall] = {}
        spans: dict[tuple[str, str], SeenSpans] = {}
        for call in reversed(rings.calls):  # what came first has the smaller number
            old = None if before is None else before.calls.get(call.number)
            is_same = old is not None and _is_same(old.call, call)
            calls[call.number] = (
                old
                if old is not None and is_same
                else SeenCall(self._number(), file.namespace, file.workload, file.worker, call)
            )
        for of_call in reversed(rings.spans):
            key = (of_call[0].trace_id, of_call[0].span_id)
            known = None if before is None else before.spans.get(key)
            spans[key] = (
                known
                if known is not None and known.spans == of_call
                else SeenSpans(self._number(), file.namespace, file.workload, file.worker, of_call)
            )
        return _Known(file.signature, next(self._turns), calls, spans, rings.left_out)

    def _number(self) -> int:
        self._seen = next(self._numbers)
        return self._seen

    def _merged(self) -> Remembered:
        calls = [call for known in self._known.values() for call in known.calls.values()]
        calls.sort(key=lambda each: (each.call.at, each.seen), reverse=True)
        spans = [spans for known in self._known.values() for spans in known.spans.values()]
        spans.sort(key=lambda each: each.seen, reverse=True)
        return Remembered(
            self._epoch,
            self._seen,
            tuple(calls[: self._most_calls]),
            tuple(spans[: self._most_spans]),
            sum(known.left_out for known in self._known.values()),
        )


def _is_same(old: CallRecord, new: CallRecord) -> bool:
    """Say whether two records are of one call: a clock set back has moved its time, no more."""
    return (old.number, old.request_id, old.status, old.path) == (
        new.number,
        new.request_id,
        new.status,
        new.path,
    )
