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

The archive and the sums have room for so many series, of which each workload has its share
(`syncd.merging`). So the archive keeps apart what each workload's workers have counted, and what
they have counted once comes first of what their workload has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from meshware.errors import IdentityError
from meshware.identity.spiffe import SpiffeID
from meshware.runtime.files import replace_file
from meshware.syncd.merging import Merged, Own, merge, shares_of
from meshware.syncd.reports import MOST_REPORTS, ReportReader, WorkerFile
from meshware.telemetry.reading import Kind, Read, Reading
from meshware.telemetry.report import encode
from meshware.telemetry.series import Labels

__all__ = ["Counts"]

_MOST_SERIES = 100_000  # of one node, archived or alive

_MOST_LIVE = 2 * MOST_REPORTS  # those whose files are there, and those whose files were

_ARCHIVE_FORMAT = 2
_NOBODY: Own = ("", "")  # whose it is that an archive of the first format has

_Worker = tuple[str, str, str]
"""That, and its id: two workloads may give their workers the same one."""


@dataclass(slots=True)
class _Live:
    """A worker that has not been folded into the archive."""

    reading: Reading
    signature: tuple[int, int, int]
    read: Read


@dataclass(frozen=True, slots=True)
class _Ended:
    """What those workers of one workload have counted that are folded into the archive."""

    reading: Reading
    data: bytes  # as it stands there
    read: Read


class _Archive(msgspec.Struct, kw_only=True):
    """What the workers that ended have counted."""

    meshware: int = _ARCHIVE_FORMAT
    swallowed: tuple[_Worker, ...] = ()  # those whose files may still be there
    parts: tuple[tuple[str, str, bytes], ...] = ()  # of each workload, as of `telemetry.report`
    counted: bytes = b""  # likewise, of all: in the first format


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
        self._ended: dict[Own, _Ended] = {}
        self._kinds: dict[Kind, Kind] = {}  # what many workers count, as one object
        self._swallowed: tuple[_Worker, ...] = ()
        self._merged: Merged | None = None  # until anything changes
        self._left_out = 0  # so far: more of it may fit by and by, and no counter falls
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
        parts = {own: [ended.read] for own, ended in self._ended.items()}
        for (namespace, workload, _), live in self._live.items():
            parts.setdefault((namespace, workload), []).append(live.read)
        merged = merge(parts, _MOST_SERIES)
        self._left_out = merged.store.left_out = max(self._left_out, merged.store.left_out)
        return merged

    def _look(self, *, is_asked: bool) -> None:
        if len(self._kinds) > 2 * _MOST_SERIES:
            self._kinds.clear()
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
                live = self._read(file, live)
            if live is None:
                continue
            seen[worker] = live
            if not file.is_alive:
                ended.append(file)
        for worker, live in self._live.items():
            if worker not in seen and len(seen) < _MOST_LIVE:
                # Somebody removed it, or it cannot be looked at now. Its worker counts on under
                # this name or from nothing under another; either way this much was counted.
                if live.read.gauges:
                    live.read = msgspec.structs.replace(live.read, gauges={})
                    self._merged = None
                seen[worker] = live
        # In the order in which they came: what came last finds no room, where there is too little.
        self._live = {worker: seen[worker] for worker in self._live if worker in seen} | seen
        self._swallow(ended)

    def _read(self, file: WorkerFile, before: _Live | None) -> _Live | None:
        """Return what a worker has counted; what it said before where it says nothing sound now."""
        if before is None:
            own = (file.namespace, file.workload)
            reading = Reading(partial(_corrected, own), self._kinds)
        else:
            reading = before.reading
        data = file.read()
        read = None if data is None else reading.decode(data)
        if before is not None and (read is None or read.calls < before.read.calls):
            return _Live(reading, file.signature, before.read)
        return None if read is None else _Live(reading, file.signature, read)

    def _swallow(self, ended: list[WorkerFile]) -> None:
        """Fold what ended workers have counted into the archive, and remove their files."""
        new: dict[Own, list[Read]] = {}
        for file in ended:
            if _worker(file) not in self._swallowed:
                reads = new.setdefault((file.namespace, file.workload), [])
                reads.append(self._live[_worker(file)].read)
        if new:
            archive = self._archived(new, tuple(map(_worker, ended)))
            replace_file(self._archive, msgspec.msgpack.encode(archive), mode=0o600)
            self._take_up(archive)
            for file in ended:
                self._live.pop(_worker(file), None)
        for file in ended:
            file.remove()

    def _archived(
        self, new: Mapping[Own, Sequence[Read]], swallowed: tuple[_Worker, ...]
    ) -> _Archive:
        """Return what is kept of workers that have ended, each workload's share of the room.

        Only what changes is put together anew: the archive may be long.
        """
        stores = {
            own: merge(
                {own: [*([self._ended[own].read] if own in self._ended else ()), *reads]},
                _MOST_SERIES,
            ).store
            for own, reads in new.items()
        }
        series = {own: len(ended.read.rows) for own, ended in self._ended.items()}
        series = shares_of(
            series | {own: len(store.series) for own, store in stores.items()}, _MOST_SERIES
        )
        counters = {own: len(ended.read.counters) for own, ended in self._ended.items()}
        counters = shares_of(
            counters | {own: len(store.counters) for own, store in stores.items()}, _MOST_SERIES
        )
        for own, ended in self._ended.items():
            is_cut = len(ended.read.rows) > series[own] or len(ended.read.counters) > counters[own]
            if is_cut and own not in stores:
                stores[own] = merge({own: [ended.read]}, _MOST_SERIES).store
        parts = {own: ended.data for own, ended in self._ended.items()}
        for own, store in stores.items():
            store.keep_first(series[own], counters[own])
            parts[own] = encode(store, {})
        return _Archive(
            swallowed=swallowed, parts=tuple((*own, data) for own, data in parts.items())
        )

    def _read_archive(self) -> None:
        try:
            archive = msgspec.msgpack.decode(self._archive.read_bytes(), type=_Archive)
        except (OSError, msgspec.MsgspecError):
            return  # there is none; counting begins anew
        if archive.meshware in (1, _ARCHIVE_FORMAT):
            self._take_up(archive)

    def _take_up(self, archive: _Archive) -> None:
        before, self._ended = self._ended, {}
        of_first_format = ((*_NOBODY, archive.counted),) if archive.counted else ()
        for namespace, workload, data in (*archive.parts, *of_first_format):
            own = (namespace, workload)
            known = before.get(own)
            if known is None:
                reading = Reading(None, self._kinds, _MOST_SERIES, is_of_many=True)
            elif known.data == data:
                self._ended[own] = known
                continue
            else:
                reading = known.reading
            read = reading.decode(data)
            if read is not None:
                self._ended[own] = _Ended(reading, data, read)
        self._swallowed = archive.swallowed


def _worker(file: WorkerFile) -> _Worker:
    return file.namespace, file.workload, file.worker


def _corrected(own: Own, labels: Labels) -> Labels:
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
