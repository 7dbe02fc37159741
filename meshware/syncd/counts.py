"""What all workers of this node have counted, so that no counter ever falls.

Theory of operation
-------------------
Each worker keeps one file, `<id>.metrics` beside its report, that says what it has counted since it
began; it stays when the worker ends. The files of those that live are read when somebody asks and
they have changed.
The last file of one that has ended is folded into the *archive*, in the daemon's state directory,
and then removed. The archive is written before that, with the ids it has swallowed: a daemon that
dies between the two neither loses a count nor counts it twice.

A file is a claim. Whose side of a call its worker was on is said here, by where the file lies; of
an account it is believed that far that it is one of its own namespace. What a worker says of the
other side is taken as said. A worker that takes back what it has counted is not believed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from meshware.errors import IdentityError
from meshware.identity.spiffe import SpiffeID
from meshware.runtime.files import replace_file
from meshware.syncd.reports import MOST_REPORTS, ReportReader, WorkerFile
from meshware.telemetry.report import Counted, Reading, encode
from meshware.telemetry.series import Labels, Store

__all__ = ["Counts", "Merged"]

_MOST_SERIES = 100_000  # of one node, archived or alive

_MOST_LIVE = 2 * MOST_REPORTS  # those whose files are there, and those whose files were

_MOST_ARCHIVED = 2**62
"""Of anything that ended workers have counted: MessagePack has no larger numbers."""

_Own = tuple[str, str]
"""Namespace and workload, as the directories of a file are called."""

_Worker = tuple[str, str, str]
"""That, and its id: two workloads may give their workers the same one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What all workers have counted, by one moment."""

    store: Store
    gauges: Mapping[tuple[str, Labels], float]


@dataclass(slots=True)
class _Live:
    """A worker that has not been folded into the archive."""

    reading: Reading
    signature: tuple[int, int, int]
    counted: Counted


class _Archive(msgspec.Struct, kw_only=True):
    """What the workers that ended have counted."""

    meshware: int = 1
    swallowed: tuple[_Worker, ...] = ()  # those whose files may still be there
    counted: bytes = b""  # as `telemetry.report` writes it


class Counts:
    """Reads and merges. Safe to use from any thread.

    Args:
        reader: of the directory of reports.
        archive: where the archive lies; its directory must exist when it is written.
    """

    def __init__(self, reader: ReportReader, archive: Path) -> None:
        self._reader = reader
        self._archive = archive
        self._lock = threading.Lock()
        self._live: dict[_Worker, _Live] = {}
        self._ended = Store(_MOST_SERIES)
        self._swallowed: tuple[_Worker, ...] = ()
        self._merged: Merged | None = None  # until anything changes
        self._read_archive()

    def merged(self) -> Merged:
        """Return what was counted by now; files that have changed are read."""
        with self._lock:
            try:
                self._look(is_asked=True)
            except OSError:
                pass  # told where it is looked at each second; what is known is no less true
            if self._merged is None:
                self._merged = self._merge()
            return self._merged

    def look(self) -> None:
        """Keep what ended workers have counted; what live ones say is read when it is asked for.

        Raises:
            OSError: the archive cannot be written. The files of ended workers stay, and count.
        """
        with self._lock:
            self._look(is_asked=False)

    # --- inside -------------------------------------------------------------------------------

    def _merge(self) -> Merged:
        store = Store(_MOST_SERIES)
        _add(store, self._ended)
        gauges: dict[tuple[str, Labels], float] = {}
        for live in self._live.values():
            counted = live.counted
            store.merge(counted.series, counted.counters)
            store.left_out += counted.left_out
            for key, value in counted.gauges.items():
                gauges[key] = _together(key[0], gauges.get(key), value)
        return Merged(store=store, gauges=gauges)

    def _look(self, *, is_asked: bool) -> None:
        seen: dict[_Worker, _Live] = {}
        ended: list[WorkerFile] = []
        for file in self._reader.metrics_files():
            worker = _worker(file)
            if worker in self._swallowed:
                ended.append(file)
                continue
            live = self._live.get(worker)
            has_changed = live is None or live.signature != file.signature
            if has_changed and (is_asked or not file.is_alive):
                self._merged = None
                live = _read(file, live)
            if live is None:
                continue
            seen[worker] = live
            if not file.is_alive:
                ended.append(file)
        for worker, live in self._live.items():
            if worker not in seen and len(seen) < _MOST_LIVE:
                # Somebody removed it, or it cannot be looked at now. Its worker counts on under
                # this name or from nothing under another; either way this much was counted.
                if live.counted.gauges:
                    live.counted = msgspec.structs.replace(live.counted, gauges={})
                    self._merged = None
                seen[worker] = live
        self._live = seen
        self._swallow(ended)

    def _swallow(self, ended: list[WorkerFile]) -> None:
        """Fold what ended workers have counted into the archive, and remove their files."""
        new = [file for file in ended if _worker(file) not in self._swallowed]
        if new:
            together = Store(_MOST_SERIES)
            _add(together, self._ended)
            for file in new:
                counted = self._live[_worker(file)].counted
                together.merge(counted.series, counted.counters)
                together.left_out += counted.left_out
            _bounded(together)
            swallowed = tuple(_worker(file) for file in ended)
            self._write_archive(together, swallowed)
            self._ended, self._swallowed = together, swallowed
            for file in new:
                del self._live[_worker(file)]
        for file in ended:
            file.remove()

    def _read_archive(self) -> None:
        try:
            data = self._archive.read_bytes()
            archive = msgspec.msgpack.decode(data, type=_Archive)
        except (OSError, msgspec.MsgspecError):
            return  # there is none; counting begins anew
        counted = Reading(most=_MOST_ARCHIVED, most_rows=_MOST_SERIES).decode(archive.counted)
        if archive.meshware != 1 or counted is None:
            return
        self._ended.merge(counted.series, counted.counters)
        self._ended.left_out += counted.left_out
        self._swallowed = archive.swallowed

    def _write_archive(self, store: Store, swallowed: tuple[_Worker, ...]) -> None:
        archive = _Archive(swallowed=swallowed, counted=encode(store, {}))
        replace_file(self._archive, msgspec.msgpack.encode(archive), mode=0o600)


def _bounded(store: Store) -> None:
    """Keep sums writable, whatever workers claim."""
    for series in store.series.values():
        series.count = min(series.count, _MOST_ARCHIVED)
        for histogram in (series.duration, series.received, series.sent):
            histogram.counts = [min(count, _MOST_ARCHIVED) for count in histogram.counts]
            histogram.total = min(histogram.total, 1e300)
    for key, value in store.counters.items():
        store.counters[key] = min(value, _MOST_ARCHIVED)
    store.left_out = min(store.left_out, _MOST_ARCHIVED)


def _add(store: Store, other: Store) -> None:
    store.merge(other.series.values(), other.counters)
    store.left_out += other.left_out


def _together(name: str, before: float | None, value: float) -> float:
    """Return what several workers say of one thing that holds now."""
    if before is None:
        return value
    if name.endswith(("_endpoints", "_workers")):
        return before + value
    return min(before, value)  # the oldest generation, the certificate that ends first


def _worker(file: WorkerFile) -> _Worker:
    return file.namespace, file.workload, file.worker


def _read(file: WorkerFile, before: _Live | None) -> _Live | None:
    """Return what a worker has counted; what it said before where it says nothing sound now."""
    own = (file.namespace, file.workload)
    reading = Reading(partial(_corrected, own)) if before is None else before.reading
    data = file.read()
    counted = None if data is None else reading.decode(data)
    if before is not None and (counted is None or _calls(counted) < _calls(before.counted)):
        return _Live(reading, file.signature, before.counted)
    return None if counted is None else _Live(reading, file.signature, counted)


def _calls(counted: Counted) -> int:
    return counted.left_out + sum(series.count for series in counted.series)


def _corrected(own: _Own, labels: Labels) -> Labels:
    """Return labels with the worker's own side named by where its file lies."""
    namespace, workload = own
    named = dict(labels)
    reporter = named.get("reporter")
    # Policy may have removed the label: then it is the side that can be this worker's.
    is_source = reporter == "source" or (
        reporter is None
        and (named.get("source_workload"), named.get("source_workload_namespace"))
        == (workload, namespace)
    )
    side = "source" if is_source else "destination"
    changed = {} if reporter is None else {"reporter": side}
    mine = {f"{side}_workload": workload, f"{side}_workload_namespace": namespace}
    if reporter is None:  # of ours: where they name a workload, it is their worker's
        mine |= {"namespace": namespace, "workload": workload}
    for name, value in mine.items():
        if named.get(name, "unknown") not in (value, "unknown"):
            changed[name] = value
    principal = f"{side}_principal"
    if principal in named and not _is_of(named[principal], namespace):
        changed[principal] = "unknown"
    return tuple(sorted({**named, **changed}.items()))


def _is_of(principal: str, namespace: str) -> bool:
    """Say whether an identity may be one of a namespace; a text that is none may be policy's."""
    if not principal.startswith("spiffe:"):
        return True
    try:
        return SpiffeID.parse(principal).namespace == namespace
    except IdentityError:
        return False
