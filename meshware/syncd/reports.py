"""Read what workers claim about themselves, trusting none of it.

A report lies at `reports/<namespace>/<workload>/<id>.json`, and `<id>.lock` beside it is locked as
long as its worker lives. Workers write there, so anything may lie there: links, pipes, huge files,
a million of them. Everything is opened relative to a directory that was opened before, without
following links and without waiting; only regular files with one name, of the user whose directory
it is, and of a bounded size and number are read. No workload's files keep those of another from
being read, however many they are. The lock is asked about, never taken.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import struct
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from meshware.policy.file import MAX_GENERATION
from meshware.runtime.reporter import (
    MAX_REPORT_BYTES,
    MOST_UNKNOWN,
    NO_WORKLOAD,
    REPORT_FORMAT,
    Report,
)
from meshware.syncd.generation import is_believable
from meshware.telemetry.report import MAX_BYTES as MAX_METRICS_BYTES
from meshware.telemetry.ring_file import MAX_RING_BYTES

__all__ = ["MOST_REPORTS", "ReportReader", "Survey", "WorkerFile", "open_reported"]

MOST_REPORTS = 4096
"""More workers than run on one node; what is beyond is not looked at, evenly for all workloads."""

_MOST_ENTRIES = 6 * MOST_REPORTS  # of one directory: each worker has four files, and temporary ones
_NAME = re.compile(r"[a-z0-9][-a-z0-9.]{0,252}")
_LOCK = re.compile(r"([0-9a-f]{16})\.lock")
_METRICS = re.compile(r"([0-9a-f]{16})\.metrics")
_RINGS = re.compile(r"([0-9a-f]{16})\.rings")
_LEFT = re.compile(
    r"\.([0-9a-f]{16})\.((?:json|metrics|rings)\.[0-9a-f]+|lock)\.tmp|([0-9a-f]{16})\.json"
)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ORPHAN_S = 60.0  # a worker takes less than this from its first file to its lock

_T = TypeVar("_T")

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Survey:
    """What all reports say at one moment.

    Attributes:
        live: reports whose workers live, by namespace, workload and id.
        unreadable: how many places this user may not read, or hold something else.
    """

    live: tuple[Report, ...] = ()
    unreadable: int = 0

    @property
    def generations(self) -> tuple[int | None, ...]:
        """What each live worker says it applied."""
        return tuple(report.generation for report in self.live)

    def believable(self, now_s: float) -> Survey:
        """Return this without the reports whose generation cannot be true.

        Args:
            now_s: unix time in seconds.
        """
        return Survey(
            tuple(
                report
                for report in self.live
                if report.generation is None or is_believable(report.generation, now_s)
            ),
            self.unreadable,
        )

    def has_met_later(self, generation: int) -> bool:
        """Say whether a worker cannot take up this generation, for it has met a later one.

        That is the case after the run directory and the daemon's state were lost together. A
        worker may also have met the same number with other content; it then refuses the file.
        """
        return any(
            report.generation is not None
            and (
                report.generation > generation
                or (
                    report.generation == generation
                    and any(refusal.subject == "policy" for refusal in report.refusals)
                )
            )
            for report in self.live
        )


class WorkerFile:
    """What a worker has written beside its report, as it lies there.

    Attributes:
        namespace, workload: as the directories are called.
        worker: its id.
        is_alive: its worker lives.
        signature: changes with the file.
        written_at: unix seconds, as the file says.
    """

    def __init__(
        self, place: Path, name: str, about: os.stat_result, most_bytes: int, *, is_alive: bool
    ) -> None:
        self._place = place
        self._name = name
        self._most_bytes = most_bytes
        self.namespace, self.workload = place.parent.name, place.name
        self.worker = name.partition(".")[0]
        self.signature = (about.st_ino, about.st_mtime_ns, about.st_size)
        self.written_at = about.st_mtime
        self.is_alive = is_alive

    def read(self) -> bytes | None:
        """Return its content; None: it cannot be read, or is no file to be trusted that far."""
        directory = None
        try:
            directory = os.open(self._place, _DIRECTORY)
            descriptor = open_reported(directory, self._name)
            if descriptor is None:
                return None
            with os.fdopen(descriptor, "rb") as file:
                data = file.read(self._most_bytes + 1)
        except OSError:
            return None
        finally:
            if directory is not None:
                os.close(directory)
        return data if len(data) <= self._most_bytes else None

    def remove(self) -> None:
        """Remove it: what it says is kept elsewhere, or no longer wanted."""
        with contextlib.suppress(OSError):
            (self._place / self._name).unlink()


class ReportReader:
    """Reads the reports below one directory. Never raises for anything that lies there."""

    def __init__(self, reports: Path) -> None:
        self._reports = reports
        self._unreadable = 0
        self._entries = 0

    def read(self) -> Survey:
        """Return what live workers say."""
        self._unreadable = 0
        shares: _Shares[Report] = _Shares()
        for namespace, workload, directory in self._directories():
            shares.take(namespace, self._live(namespace, workload, directory))
        found = shares.all()
        self._unreadable += shares.is_cut
        found.sort(key=lambda report: (report.namespace, report.workload or "", report.id))
        return Survey(tuple(found), self._unreadable)

    def metrics_files(self) -> list[WorkerFile]:
        """Return the files of what workers have counted, those of ended ones too."""
        return self._files(_METRICS, MAX_METRICS_BYTES)

    def ring_files(self) -> list[WorkerFile]:
        """Return the files of what workers remember of calls, those of ended ones too."""
        return self._files(_RINGS, MAX_RING_BYTES)

    def clear_dead(self, now_s: float) -> int:
        """Remove the files of workers that have ended. Returns how many files that were.

        Args:
            now_s: unix time, to compare with that of files without a lock.
        """
        removed = 0
        for _namespace, _workload, directory in self._directories():
            names = self._names(directory)
            alive = set()
            for entry in names:
                name = _LOCK.fullmatch(entry)
                if name is None:
                    continue
                if self._is_alive(directory, entry) is False:
                    removed += _remove(directory, f"{name[1]}.json") + _remove(directory, entry)
                else:
                    alive.add(name[1])
            for entry in names:
                left = _LEFT.fullmatch(entry)
                if left and not {left[1], left[3]} & alive and _is_old(directory, entry, now_s):
                    removed += _remove(directory, entry)
        return removed

    # --- inside -------------------------------------------------------------------------------

    def _files(self, kind: re.Pattern[str], most_bytes: int) -> list[WorkerFile]:
        shares: _Shares[WorkerFile] = _Shares()
        for namespace, workload, directory in self._directories():
            place = self._reports / namespace / workload
            shares.take(namespace, self._files_in(directory, place, kind, most_bytes))
        return shares.all()

    def _files_in(
        self, directory: int, place: Path, kind: re.Pattern[str], most_bytes: int
    ) -> Iterator[WorkerFile]:
        for entry in self._names(directory):
            name = kind.fullmatch(entry)
            if name is None:
                continue
            # Asked first: what a worker that has ended by then has written is its last word.
            is_alive = bool(self._is_alive(directory, f"{name[1]}.lock"))
            try:
                about = os.stat(entry, dir_fd=directory, follow_symlinks=False)
            except OSError:
                continue
            yield WorkerFile(place, entry, about, most_bytes, is_alive=is_alive)

    def _live(self, namespace: str, workload: str, directory: int) -> Iterator[Report]:
        for entry in self._names(directory):
            name = _LOCK.fullmatch(entry)
            if name is None or not self._is_alive(directory, entry):
                continue
            report = self._report(directory, name[1])
            if report is not None and (report.namespace, report.workload or NO_WORKLOAD) == (
                namespace,
                workload,
            ):
                yield msgspec.structs.replace(report, heard_at=_changed_at(directory, entry))

    def _directories(self) -> Iterator[tuple[str, str, int]]:
        """Yield each workload's namespace, name, and directory as an open descriptor."""
        with self._opened(os.fspath(self._reports), None) as top:
            for namespace in self._names(top):
                if not _NAME.fullmatch(namespace):
                    continue
                with self._opened(namespace, top) as middle:
                    for workload in self._names(middle):
                        if not (_NAME.fullmatch(workload) or workload == NO_WORKLOAD):
                            continue
                        with self._opened(workload, middle) as directory:
                            if directory is not None:
                                yield namespace, workload, directory

    @contextlib.contextmanager
    def _opened(self, name: str, within: int | None) -> Iterator[int | None]:
        try:
            descriptor = os.open(name, _DIRECTORY, dir_fd=within)
        except FileNotFoundError:
            yield None
            return
        except OSError:
            self._unreadable += 1
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _names(self, directory: int | None) -> list[str]:
        """Return a bounded number of names in a directory, sorted."""
        if directory is None:
            return []
        names: list[str] = []
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    if len(names) >= _MOST_ENTRIES:
                        self._unreadable += 1
                        break
                    names.append(entry.name)
        except OSError:
            self._unreadable += 1
        return sorted(names)

    def _is_alive(self, directory: int, name: str) -> bool | None:
        """Say whether a lock file is locked; None where it is no file to be asked about."""
        descriptor = self._open_file(directory, name)
        if descriptor is None:
            return None
        try:
            return _is_locked(descriptor)
        except OSError:
            self._unreadable += 1
            return None
        finally:
            os.close(descriptor)

    def _report(self, directory: int, worker: str) -> Report | None:
        descriptor = self._open_file(directory, f"{worker}.json")
        if descriptor is None:
            return None
        with os.fdopen(descriptor, "rb") as file:
            try:
                data = file.read(MAX_REPORT_BYTES + 1)
                report = msgspec.json.decode(data, type=Report)
            except (OSError, msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
                self._unreadable += 1
                return None
        if len(data) > MAX_REPORT_BYTES or report.id != worker or not _makes_sense(report):
            self._unreadable += 1
            return None
        return report

    def _open_file(self, directory: int, name: str) -> int | None:
        try:
            return open_reported(directory, name)
        except OSError:
            self._unreadable += 1
            return None


def _changed_at(directory: int, name: str) -> float | None:
    """Return when a file was touched last, in unix time; None: it is gone."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime
    except OSError:
        return None


class _Shares(Generic[_T]):
    """What is kept of many directories: the first of each before the second of any.

    Where even the first ones are too many, the first directory of each namespace comes first.
    """

    def __init__(self) -> None:
        self._kept: list[tuple[int, int, _T]] = []  # which of its directory, of its namespace
        self._directories: Counter[str] = Counter()
        self._most_of_one = MOST_REPORTS
        self.is_cut = False

    def take(self, namespace: str, things: Iterable[_T]) -> None:
        """Take of one directory's, in their order, no more than can be kept."""
        which = self._directories[namespace]
        self._directories[namespace] += 1
        things = iter(things)
        kept = islice(things, self._most_of_one)
        before = len(self._kept)
        self._kept += [(number, which, thing) for number, thing in enumerate(kept)]
        if len(self._kept) - before == self._most_of_one:
            self.is_cut = self.is_cut or next(things, None) is not None
        if len(self._kept) > 2 * MOST_REPORTS:
            self._cut()

    def all(self) -> list[_T]:
        """Return what is kept."""
        self._cut()
        return [thing for _, _, thing in self._kept]

    def _cut(self) -> None:
        if len(self._kept) <= MOST_REPORTS:
            return
        self.is_cut = True
        self._kept.sort(key=lambda each: each[:2])
        del self._kept[MOST_REPORTS:]
        self._most_of_one = self._kept[-1][0] + 1  # of a later one nothing beyond would be kept


def open_reported(directory: int, name: str) -> int | None:
    """Open a regular file with one name, of the owner of its directory; None: it is not there.

    Raises:
        OSError: it cannot be opened, or is something else.
    """
    try:
        descriptor = os.open(name, _FILE, dir_fd=directory)
    except FileNotFoundError:
        return None
    about, place = os.fstat(descriptor), os.fstat(directory)
    # Who may make a file in the directory could have another user's file linked there.
    is_right = stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and about.st_uid == place.st_uid
    if not is_right:
        os.close(descriptor)
        raise OSError(f"{name} is no file of its directory's owner alone")
    return descriptor


def _makes_sense(report: Report) -> bool:
    """Say whether a report is of a format known here, and its numbers can be printed and sent."""
    generations = [report.generation, *(refusal.generation for refusal in report.refusals)]
    return (
        report.meshware == REPORT_FORMAT
        and all(number is None or 0 <= number <= MAX_GENERATION for number in generations)
        and 0 <= report.pid < 2**32
        and (report.bundle is None or _DIGEST.fullmatch(report.bundle) is not None)
        and (report.port is None or 0 <= report.port <= 65535)
        and len(report.unknown_keys) <= MOST_UNKNOWN
        and all(map(_DIGEST.fullmatch, report.unknown_keys))
        and all(0 <= count < 2**63 for count in report.unknown_keys.values())
    )


def _is_locked(descriptor: int) -> bool:
    """Ask whether any other process holds a record lock, without taking one."""
    # struct flock. Linux: type, whence, start, len, pid. BSD, macOS: start, len, pid, type, whence.
    if sys.platform == "linux":
        asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        kind = 0
    else:
        asked = struct.pack("qqihh", 0, 0, 0, fcntl.F_WRLCK, os.SEEK_SET)
        kind = 20
    answer = fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
    return bool(struct.unpack_from("h", answer, kind)[0] != fcntl.F_UNLCK)


def _is_old(directory: int, name: str, now_s: float) -> bool:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False).st_mtime < now_s - _ORPHAN_S
    except OSError:
        return False


def _remove(directory: int, name: str) -> int:
    try:
        os.unlink(name, dir_fd=directory)
    except OSError:
        return 0  # its worker did so itself, or it is not ours to remove
    return 1
