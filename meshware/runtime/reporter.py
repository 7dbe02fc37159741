"""Keep this worker's report: which policy it applied, what it refused, where it is reached.

A report is a claim for people and for the daemon's arithmetic, never a credential. It lies at
`reports/<namespace>/<workload>/<id>.json` below the run directory, under a random id. That its
worker lives is told by a POSIX record lock on `<id>.lock` beside it: the kernel lets go of it when
the process ends, however it ends, and a replaced report does not drop it. Closing *any* descriptor
of the lock file in this process would drop it, so nobody else opens that file.

A report is written when it has changed, and not otherwise: life is told by the lock. Its vitals are
in steps so coarse that a quiet worker writes nothing. The daemon makes `reports/`; where it is
absent or cannot be written all else works, and one warning says so.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec

from meshware.clock import Clock, SystemClock
from meshware.policy.file import FORMAT
from meshware.runtime.files import printable, replace_file
from meshware.runtime.fork import renew_after_fork
from meshware.runtime.ring_writer import RingWriter
from meshware.runtime.unknown_keys import MOST_UNKNOWN, UnknownKeys
from meshware.runtime.vitals import Signs, Vitals

if TYPE_CHECKING:
    from meshware.policy.view import Client

__all__ = [
    "MAX_REPORT_BYTES",
    "MOST_UNKNOWN",
    "NO_WORKLOAD",
    "REPORT_FORMAT",
    "Refusal",
    "Report",
    "Reporter",
]

REPORT_FORMAT = 1

MAX_REPORT_BYTES = 64 * 1024
"""No report is longer; the daemon reads no longer one."""

NO_WORKLOAD = "-"
"""Stands for the workload in the path where MESH_WORKLOAD is not set; no workload has this name."""

_FLUSH_S = 1.0
_MOST_REFUSALS = 10
_MOST_REASON = 2000  # characters: 10 of them in UTF-8, escaped, stay below the limit

_log = logging.getLogger("meshware.report")


def _nobody() -> None:
    """Believe nobody, or nobody that is known here."""


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """Policy that this worker does not use, and why."""

    reason: str
    generation: int | None = None
    subject: str = "policy"  # or the service that cannot be compiled


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker claims about itself."""

    meshware: int = REPORT_FORMAT
    reads: tuple[int, ...] = (FORMAT,)  # formats of policy files
    id: str
    pid: int
    namespace: str
    workload: str | None
    generation: int | None = None  # applied; None: no policy yet
    bundle: str | None = None  # digest of whom it believes: `identity.bundle.Bundles`
    refusals: tuple[Refusal, ...] = ()  # since then, oldest first
    address: str | None = None
    port: int | None = None
    started_at: str = ""
    unknown_keys: dict[str, int] = {}  # noqa: RUF012 - times of each `jwks/` record, by its digest
    vitals: Vitals | None = None
    heard_at: float | None = None  # unix time at which it was heard of last; the reader says that


class Counted(Protocol):
    """What a process has counted."""

    def __call__(self) -> bytes:
        """Return the file of it."""

    def hand_over(self) -> None:
        """Count from nothing: what the file says is the daemon's, which adds it up for good."""


class Reporter:
    """Keeps the report of this process current, from `start` to `stop`. Safe from any thread.

    Args:
        run_dir: the run directory.
        client: the workload that this process is.
        address: where it is reached, from MESH_ADDRESS; None: not known.
        port: likewise, from MESH_PORT or the server.
        clock: tells when the worker started.
        bundle_of: returns the digest of whom this process believes; None: it has no policy yet.
        counted: returns the file of what this process has counted; None: nothing is.
        signs: gathers the vitals of this process; None: it tells none.
        rings: writes what this process remembers of calls; None: nothing is.
    """

    def __init__(
        self,
        run_dir: Path,
        client: Client,
        address: str | None = None,
        port: int | None = None,
        *,
        clock: Clock | None = None,
        bundle_of: Callable[[], str | None] = _nobody,
        counted: Counted | None = None,
        signs: Signs | None = None,
        rings: RingWriter | None = None,
    ) -> None:
        self._reports = run_dir / "reports"
        self._client = client
        self._address = address
        self._port = port
        self._clock: Clock = clock or SystemClock()
        self._bundle_of = bundle_of
        self._counted = counted
        self._signs = signs
        self._rings = rings
        self._generation: int | None = None
        self._refusals: tuple[Refusal, ...] = ()
        self._unknown_keys = UnknownKeys()
        self._unknown: dict[str, int] = {}
        self._lock_descriptor: int | None = None
        self.renew()
        renew_after_fork(self)

    def renew(self) -> None:
        """Forget, in a child process, what only the parent has: thread, locks and report."""
        if self._lock_descriptor is not None:
            # The record lock is the parent's; closing this copy of the descriptor leaves it so.
            os.close(self._lock_descriptor)
        self._lock_descriptor = None
        self._id = ""
        self._lock_identity: tuple[int, int] | None = None
        self._written = b""
        self._written_counts = b""
        if self._rings is not None:
            self._rings.renew()
        self._started_at = ""
        self._is_warned = False
        self._is_started = False
        self._is_stopped = False
        self._starting = threading.Lock()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._changed = threading.Event()

    # --- what happened ------------------------------------------------------------------------

    def applied(self, generation: int) -> None:
        """Note that a generation is in force; what was refused before it is of the past."""
        self._generation, self._refusals = generation, ()
        self._changed.set()

    def refused(self, reason: str, generation: int | None = None, subject: str = "policy") -> None:
        """Note that something is not used, and why; the last ten are kept."""
        short = printable(reason[:_MOST_REASON])
        refusal = Refusal(reason=short, generation=generation, subject=subject)
        if refusal not in self._refusals:
            self._refusals = (*self._refusals, refusal)[-_MOST_REFUSALS:]
            self._changed.set()

    def key_unknown(self, uri: str) -> None:
        """Note that a token names a key which is not among those of an address.

        Nobody is woken for it: whatever was noted goes out with the flush of each second.
        """
        self._unknown_keys.note(uri)

    def reached_at(self, port: int | None) -> None:
        """Note where this process is reached, which its server tells when it starts."""
        self._port = port
        self._changed.set()

    # --- its life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Keep a report, in a thread. Idempotent, and cheap when started."""
        if self._is_started:
            return
        with self._starting:
            if self._thread is not None:
                return  # another thread was faster
            self._is_stopped = False
            self._changed = threading.Event()
            self._changed.set()
            thread = threading.Thread(
                target=_keep, args=(weakref.ref(self),), name="meshware-reporter", daemon=True
            )
            try:
                thread.start()
            except RuntimeError as error:  # no thread to be had, or the interpreter is ending
                self._warn(str(error))
                return
            self._thread = thread
            self._is_started = True
            atexit.register(_stop, weakref.ref(self))

    def stop(self) -> None:
        """Remove the report and let go of the lock. `start` begins a new one."""
        with self._starting:
            thread, self._thread = self._thread, None
            self._is_started = False
            with self._writing:
                self._is_stopped = True
                self._flush_last()
                self._let_go()
            self._changed.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=5)

    def flush_once(self) -> bool:
        """Write the report if it has changed or was removed. Returns whether it was written."""
        with self._writing:
            if self._is_stopped:
                return False
            self._changed.clear()
            try:
                return self._flush()
            except OSError as error:
                if isinstance(error, FileNotFoundError) and self._generation is None:
                    return False  # no daemon has been here yet: neither report nor policy
                self._warn(f"{error.filename or self._reports}: {error.strerror or error}")
                return False

    # --- inside -------------------------------------------------------------------------------

    def _flush(self) -> bool:
        try:
            directory = self._directory()
        except OSError:
            self._counts()  # there is nowhere to write it, but new kinds of calls are sorted in
            raise
        self._hold(directory)
        self._count_unknown_keys()
        body = msgspec.json.encode(
            Report(
                id=self._id,
                pid=os.getpid(),
                namespace=self._client.namespace,
                workload=self._client.name,
                generation=self._generation,
                bundle=self._bundle_of(),
                refusals=self._refusals,
                address=self._address,
                port=self._port,
                started_at=self._started_at,
                unknown_keys=self._unknown,
                vitals=self._vitals(),
            )
        )
        counts = self._counts()  # new kinds of calls are sorted in, whatever the disk says below
        path = directory / f"{self._id}.json"
        is_new = body != self._written or not path.exists()
        if is_new:  # before the counts, which are many times as long: the daemon knows us by it
            replace_file(path, body, mode=0o600)
            self._written = body
        if self._rings is not None:
            self._rings.write(directory, self._id)
        self._write_counts(directory, counts)
        if self._lock_descriptor is not None:
            os.utime(self._lock_descriptor)  # a process that hangs would seem well for ever
        return is_new

    def _counts(self) -> bytes:
        """Return the file of what was counted; nothing where it cannot be made."""
        if self._counted is None:
            return b""
        try:
            return self._counted()
        except Exception:
            # A mistake in counting must not cost the report, by which the daemon knows us.
            if not self._is_warned:
                self._is_warned = True
                _log.exception("what was counted cannot be reported; all else works")
            return b""

    def _vitals(self) -> Vitals | None:
        """Return how this process is; None where that cannot be told."""
        if self._signs is None:
            return None
        try:
            return self._signs()
        except Exception:
            # As above: a report without vitals is worth more than none.
            if not self._is_warned:
                self._is_warned = True
                _log.exception("memory, lag and certificate cannot be reported; all else works")
            return None

    def _write_counts(self, directory: Path, counts: bytes) -> None:
        """Write what was counted, if it has grown; the daemon keeps it when this process ends."""
        if counts and counts != self._written_counts:
            replace_file(directory / f"{self._id}.metrics", counts, mode=0o600)
            self._written_counts = counts

    def _flush_last(self) -> None:
        """Write what was counted since the last flush: this process ends."""
        if self._lock_descriptor is None:
            return
        try:
            directory = self._directory()
            if self._rings is not None:
                self._rings.write(directory, self._id)
            self._write_counts(directory, self._counts())
        except OSError as error:
            self._warn(f"{error.filename or self._reports}: {error.strerror or error}")

    def _count_unknown_keys(self) -> None:
        """Count what was noted: each time is another number, so that the daemon sees it anew."""
        for key in self._unknown_keys.take():
            digest = key.rpartition("/")[2]
            count = self._unknown.pop(digest, 0) + 1
            self._unknown[digest] = count  # the newest is the last
        for digest in tuple(self._unknown)[:-MOST_UNKNOWN]:
            del self._unknown[digest]

    def _directory(self) -> Path:
        """Return this workload's directory of reports, which must not be reached by a link."""
        directory = self._reports
        if not directory.is_dir():
            raise FileNotFoundError(2, "No such directory", str(directory))
        for name in (self._client.namespace, self._client.name or NO_WORKLOAD):
            directory = directory / name
            with contextlib.suppress(FileExistsError):
                directory.mkdir(mode=0o700)
        return directory

    def _hold(self, directory: Path) -> None:
        """See to it that this worker has an id, and the lock that shows that it lives."""
        if self._lock_descriptor is not None:
            try:
                about = (directory / f"{self._id}.lock").stat(follow_symlinks=False)
            except FileNotFoundError:
                pass  # somebody removed it, maybe the whole run directory: begin anew
            else:
                if (about.st_dev, about.st_ino) == self._lock_identity:
                    return
            self._let_go()
        self._id = os.urandom(8).hex()
        self._started_at = self._started_at or self._clock.now().isoformat(timespec="seconds")
        # Locked before it bears its name: nobody can meet it unlocked and think this worker dead.
        hidden = directory / f".{self._id}.lock.tmp"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(hidden, flags, 0o600)
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            hidden.rename(directory / f"{self._id}.lock")
        except BaseException:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        about = os.fstat(descriptor)
        self._lock_descriptor = descriptor
        self._lock_identity = (about.st_dev, about.st_ino)
        self._written = b""

    def _let_go(self) -> None:
        """Remove report and lock file, and close the lock."""
        if self._lock_descriptor is None:
            return
        directory = self._reports / self._client.namespace / (self._client.name or NO_WORKLOAD)
        for suffix in (".json", ".lock"):
            try:
                (directory / f"{self._id}{suffix}").unlink(missing_ok=True)
            except OSError:
                continue  # on a file system gone read-only; the daemon clears away what is dead
        os.close(self._lock_descriptor)
        self._lock_descriptor = None
        if self._written_counts and self._counted is not None:
            # Without a lock the daemon takes the file for the last word of its name. What was not
            # written is lost; under the next name it would be counted beside what was.
            self._counted.hand_over()
        self._written_counts = b""

    def _warn(self, reason: str) -> None:
        if not self._is_warned:
            self._is_warned = True
            _log.warning("no report of this worker is kept (%s); all else works", reason)


def _keep(reporter_ref: weakref.ref[Reporter]) -> None:
    """Flush at each change and once a second, until stopped or until nobody holds the reporter."""
    reporter = reporter_ref()
    while reporter is not None and not reporter._is_stopped:
        try:
            reporter.flush_once()
        except Exception:
            # A report is telemetry: whatever is wrong with it, the process goes on without.
            if not reporter._is_warned:
                reporter._is_warned = True
                _log.exception("no report of this worker is kept; all else works")
        changed, monotonic = reporter._changed, reporter._clock.monotonic
        del reporter
        slept_at = monotonic()
        is_news = changed.wait(_FLUSH_S)
        late_s = monotonic() - slept_at - _FLUSH_S
        reporter = reporter_ref()
        if reporter is not None and reporter._signs is not None and not is_news:
            reporter._signs.woke(late_s)


def _stop(reporter_ref: weakref.ref[Reporter]) -> None:
    """Remove the report as the interpreter ends."""
    reporter = reporter_ref()
    if reporter is not None and reporter._is_started:
        reporter.stop()
