"""What all workers of this node have counted, so that no counter ever falls.

Theory of operation
-------------------
Each worker keeps one file, `<id>.metrics` beside its report, that says what it has counted since it
began; it stays when the worker ends. The files of those that live are read when they have changed.
The last file of one that has ended is folded into the *archive*, in the daemon's state directory,
and then removed. The archive is written before that, with the ids it has swallowed: a daemon that
dies between the two neither loses a count nor counts it twice.

A file is a claim. Whose side of a call its worker was on is said here, by where the file lies and
by policy; what a worker says of the other side is taken as said.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from meshware.runtime.files import replace_file
from meshware.syncd.reports import MetricsFile, ReportReader
from meshware.telemetry.report import Counted, decode, encode
from meshware.telemetry.series import Labels, Series, Store

__all__ = ["Counts", "Merged"]

_MOST_SERIES = 100_000  # of one node, archived or alive

_Own = tuple[str, str]
"""Namespace and workload, as the directories of a file are called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What all workers have counted, by one moment."""

    store: Store
    gauges: Mapping[tuple[str, Labels], float]


class _Archive(msgspec.Struct, kw_only=True):
    """What the workers that ended have counted."""

    meshware: int = 1
    swallowed: tuple[str, ...] = ()  # ids whose files may still be there
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
        self._live: dict[str, tuple[tuple[int, int, int], Counted]] = {}  # by id
        self._ended = Store(_MOST_SERIES)
        self._swallowed: tuple[str, ...] = ()
        self._read_archive()

    def merged(self) -> Merged:
        """Return what was counted by now; files that have changed are read."""
        with self._lock:
            try:
                self._look()
            except OSError:
                pass  # told where it is looked at each second; what is known is no less true
            store = Store(_MOST_SERIES)
            _add(store, self._ended)
            gauges: dict[tuple[str, Labels], float] = {}
            for _, counted in self._live.values():
                store.merge(counted.series, counted.counters)
                store.left_out += counted.left_out
                for key, value in counted.gauges.items():
                    gauges[key] = _together(key[0], gauges.get(key), value)
            return Merged(store=store, gauges=gauges)

    def look(self) -> None:
        """Read what has changed, and keep what ended workers have counted.

        Raises:
            OSError: the archive cannot be written. The files of ended workers stay, and count.
        """
        with self._lock:
            self._look()

    # --- inside -------------------------------------------------------------------------------

    def _look(self) -> None:
        seen: dict[str, tuple[tuple[int, int, int], Counted]] = {}
        ended: list[MetricsFile] = []
        for file in self._reader.metrics_files():
            if file.worker in self._swallowed:
                ended.append(file)
                continue
            known = self._live.get(file.worker)
            if known is None or known[0] != file.signature:
                data = file.read()
                counted = None if data is None else decode(data)
                if counted is None:
                    if known is None:
                        continue
                    known = (file.signature, known[1])  # what it said before was sound
                else:
                    known = (file.signature, _as_of((file.namespace, file.workload), counted))
            seen[file.worker] = known
            if not file.is_alive:
                ended.append(file)
        self._live = seen
        self._swallow(ended)

    def _swallow(self, ended: list[MetricsFile]) -> None:
        """Fold what ended workers have counted into the archive, and remove their files."""
        new = [file for file in ended if file.worker not in self._swallowed]
        if new:
            together = Store(_MOST_SERIES)
            _add(together, self._ended)
            for file in new:
                counted = self._live[file.worker][1]
                together.merge(counted.series, counted.counters)
                together.left_out += counted.left_out
            swallowed = tuple(file.worker for file in ended)
            self._write_archive(together, swallowed)
            self._ended, self._swallowed = together, swallowed
            for file in new:
                del self._live[file.worker]
        for file in ended:
            file.remove()

    def _read_archive(self) -> None:
        try:
            data = self._archive.read_bytes()
            archive = msgspec.msgpack.decode(data, type=_Archive)
        except (OSError, msgspec.MsgspecError):
            return  # there is none; counting begins anew
        counted = decode(archive.counted)
        if archive.meshware != 1 or counted is None:
            return
        self._ended.merge(counted.series, counted.counters)
        self._ended.left_out += counted.left_out
        self._swallowed = archive.swallowed

    def _write_archive(self, store: Store, swallowed: tuple[str, ...]) -> None:
        archive = _Archive(swallowed=swallowed, counted=encode(store, {}))
        replace_file(self._archive, msgspec.msgpack.encode(archive), mode=0o600)


def _add(store: Store, other: Store) -> None:
    store.merge(other.series.values(), other.counters)
    store.left_out += other.left_out


def _together(name: str, before: float | None, value: float) -> float:
    """Return what several workers say of one thing that holds now."""
    if before is None:
        return value
    if name.endswith("_endpoints"):
        return before + value
    return min(before, value)  # the oldest generation, the certificate that ends first


def _as_of(own: _Own, counted: Counted) -> Counted:
    """Return what was counted with the worker's own side named by where its file lies."""
    return msgspec.structs.replace(counted, series=tuple(_corrected(own, counted.series)))


def _corrected(own: _Own, series: tuple[Series, ...]) -> Iterator[Series]:
    namespace, workload = own
    for one in series:
        labels = dict(one.labels)
        side = "source" if labels.get("reporter") == "source" else "destination"
        for label, value in (("workload", workload), ("workload_namespace", namespace)):
            name = f"{side}_{label}"
            if name in labels and labels[name] not in (value, "unknown"):
                labels[name] = value
        one.labels = tuple(sorted(labels.items()))
        yield one
