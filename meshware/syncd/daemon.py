"""The daemon: read the sources, check them, publish or refuse, and again at each edit.

Theory of operation
-------------------
One loop in the main thread does all that matters; other threads only wake it.

1. Start: take the lock, clear away what a killed daemon left, read the sources. If they cannot be
   used, the last good policy is served: as it lies there, or from the daemon's own copy.
2. An edit is heard of (`watch`) or seen (a look at every file's times each half second). It
   settles, the sources are read whole, and are published whole or refused whole.
3. Each second: the run directory is looked after. A deleted or altered policy file is written again
   under a later generation, and so is one that workers cannot take up because they have met a
   later; files of workers that ended are removed.
4. SIGTERM or SIGINT: the loop ends, and the files stay as they are. Workers do not notice.

Failures on the way (a full disk, a lost mount) are told, and tried again; only what no retry can
mend ends the daemon: another one that took its place.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from meshware.clock import Clock
from meshware.errors import MeshError, PolicyError, SyncError
from meshware.policy.problems import Problem, Severity
from meshware.policy.record_types import MeshRecord
from meshware.policy.records import build_records
from meshware.runtime.files import remove_leftovers
from meshware.runtime.sources import Sweep
from meshware.syncd.announce import Announcer
from meshware.syncd.directory import DirectorySource
from meshware.syncd.listen import Address, Figures, Listener
from meshware.syncd.lock import RunLock
from meshware.syncd.places import Places, make_run_dir, make_state_dir
from meshware.syncd.publish import Publisher
from meshware.syncd.reports import ReportReader, Survey
from meshware.syncd.settle import Settle
from meshware.syncd.status import RefusedPolicy, Status, write_status
from meshware.syncd.wake import Wake, stopped_by_signals
from meshware.syncd.watch import Watcher

__all__ = ["Daemon", "Outcome"]

POLL_S = 0.5
"""Between looks at the sources: an edit that nobody tells of is published within a second."""

_MOST_SHARE = 0.05  # of a core, for looking; ten thousand files are looked at less often
_CARE_S = 1.0  # between looks at the run directory
_SURE_S = 2.1  # after which a second write within one tick of a file's clock would show
_PATIENCE_S = 5.0  # between publishes for workers that cannot take one up: they may be lying


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of reading the sources."""

    ok: bool
    generation: int | None  # in force now


class Daemon:
    """Keeps one run directory current.

    Args:
        places: where everything lies.
        announce: told of what happens.
        clock: the machine's.
        listen: where to serve metrics; None: nowhere.
    """

    def __init__(
        self,
        places: Places,
        announce: Announcer,
        clock: Clock,
        listen: Address | None = None,
    ) -> None:
        self._places = places
        self._announce = announce
        self._clock = clock
        self._listen = listen
        self._source = DirectorySource(places.sources)
        self._lock = RunLock(places.run_dir)
        self._reports = ReportReader(places.reports)
        self._settle = Settle()
        self._survey = Survey()
        self._figures = Figures()
        self._started_at = clock.now().isoformat(timespec="seconds")
        self._refused: RefusedPolicy | None = None
        self._told: object = None  # the refusal that was announced last
        self._troubles: set[str] = set()
        self._resources: int | None = None
        self._warnings = 0
        self._swept: Sweep | None = None
        self._written: Status | None = None
        self._listening: str | None = None
        self._patient_until = float("-inf")
        self._publisher: Publisher

    # --- two ways to run ----------------------------------------------------------------------

    def run_once(self) -> Outcome:
        """Read the sources, publish or refuse them, and end.

        Raises:
            SyncError: it cannot start; the message says what to mend.
            OSError: a file cannot be written.
        """
        self._source.check()
        try:
            self._open()
            outcome = self._sync()
            self._write_status()
            return outcome
        finally:
            self._lock.release()

    def run(self) -> None:
        """Publish, watch and publish again, until SIGTERM or SIGINT. Main thread only.

        Raises:
            SyncError: it cannot start, or another daemon took its place.
            OSError: at the start, a file cannot be written.
        """
        import watchfiles  # noqa: F401  # missing: said here, in one sentence

        try:
            self._source.check()
        except SyncError as error:
            if not (self._places.policy_file.exists() or self._places.last_file.exists()):
                raise
            self._announce.note(str(error))
        with contextlib.ExitStack() as stack:
            stack.callback(self._lock.release)
            self._open()
            wake = stack.enter_context(Wake())
            stack.enter_context(stopped_by_signals(wake))
            if self._listen is not None:
                listener = Listener(self._listen, lambda: self._figures)
                stack.callback(listener.stop)
                self._listening = str(listener.address)
            watcher = Watcher(self._places.sources, wake, self._announce.note)
            stack.callback(watcher.stop)
            watcher.refresh()
            self._survey = self._reports.read()
            if not self._sync().ok:
                self._restore()
            self._write_status()
            self._loop(wake, watcher)

    def _open(self) -> None:
        """Take the run directory over."""
        make_run_dir(self._places)
        self._lock.acquire()
        make_state_dir(self._places)
        remove_leftovers(self._places.status_file)
        self._publisher = Publisher(self._places, self._clock)
        self._reports.clear_dead(self._clock.now().timestamp())

    # --- the loop -----------------------------------------------------------------------------

    def _loop(self, wake: Wake, watcher: Watcher) -> None:
        monotonic = self._clock.monotonic
        look_at = monotonic() + POLL_S
        care_at = monotonic() + _CARE_S
        sure_at, is_last_look = self._when_sure(), False
        while not wake.is_stopped():
            due_at = self._settle.due_at()
            next_at = min(at for at in (look_at, care_at, sure_at, due_at) if at is not None)
            is_woken = wake.wait(next_at - monotonic())
            if wake.is_stopped():
                return
            now = monotonic()
            if wake.take_touch():
                self._settle.changed(now)
            elif is_woken or now >= look_at:
                found = self._source.sweep()
                if found != self._swept:
                    self._swept = found
                    self._settle.changed(now)
                took_s = monotonic() - now
                look_at = now + max(POLL_S, took_s / _MOST_SHARE)
            if sure_at is not None and now >= sure_at:
                sure_at, is_last_look = None, True
                self._settle.changed(now)
            if now >= care_at:
                self._care(watcher)
                care_at = now + _CARE_S
            due_at = self._settle.due_at()
            if due_at is not None and now >= due_at:
                self._tried(self._sync)
                self._tried(self._write_status)
                # Once more and no oftener: a file may bear a time in the future.
                sure_at = None if is_last_look else self._when_sure()
                is_last_look = False

    def _when_sure(self) -> float | None:
        """Return when to read once more, for files so new that a further write may not show."""
        if self._swept is None or not self._swept.may_miss_a_change(time.time_ns()):
            return None
        return self._clock.monotonic() + _SURE_S

    def _care(self, watcher: Watcher) -> None:
        """Look after the run directory."""
        self._tried(watcher.refresh)
        self._survey = self._reports.read()
        self._tried(self._heal)
        self._reports.clear_dead(self._clock.now().timestamp())
        self._tried(self._write_status)

    def _heal(self) -> None:
        """Put back what was deleted or altered; go past what workers have met."""
        if not self._lock.is_held_here():
            make_run_dir(self._places)
            self._lock.acquire()
            self._written = None
        make_run_dir(self._places)
        make_state_dir(self._places)
        now = self._clock.monotonic()
        current = self._publisher.current
        if not self._publisher.is_in_place():
            if self._publisher.republish(self._survey.generations):
                self._count_publish()
                self._told_again("the policy file was removed or altered")
        elif (
            current is not None
            and now >= self._patient_until
            and self._survey.has_met_later(current.generation)
        ):
            self._patient_until = now + _PATIENCE_S
            if self._publisher.republish(self._survey.generations):
                self._count_publish()
                self._told_again("workers have met a later generation")

    def _told_again(self, why: str) -> None:
        header = self._publisher.current
        if header is not None:
            self._announce.kept(header.generation, why, is_republished=True)

    def _tried(self, action: Callable[[], object]) -> None:
        """Do something that may fail for a while, and tell once of each way in which it does."""
        try:
            action()
        except SyncError:
            raise
        except (OSError, MeshError) as error:
            if isinstance(error, OSError) and error.filename:
                reason = f"{error.filename}: {(error.strerror or str(error)).lower()}"
            else:
                reason = str(error)
            if reason not in self._troubles:
                self._troubles.add(reason)
                self._announce.note(f"{reason}; trying again")

    # --- reading, publishing, refusing --------------------------------------------------------

    def _sync(self) -> Outcome:
        """Read the sources, and publish or refuse them."""
        self._settle.take()
        self._swept = self._source.sweep()
        try:
            loaded = self._source.load()
            if not loaded.ok:
                count = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
                return self._refuse("1 error" if count == 1 else f"{count} errors", loaded.problems)
            records = build_records(loaded.resources)
            is_new = self._publish(records)
        except PolicyError as error:
            return self._refuse(str(error), ())
        except (OSError, MeshError):
            raise
        except Exception as error:
            # A mistake of ours that some policy brings to light must not end the daemon: the last
            # good policy stays, and another edit may be read without it.
            self._announce.note("".join(traceback.format_exception(error)).rstrip())
            return self._refuse(f"meshware failed: {type(error).__name__}: {error}", ())
        header = self._publisher.current
        assert header is not None
        was_refused, self._refused, self._told = self._refused, None, None
        self._troubles.clear()
        is_first = self._resources is None
        self._resources, self._warnings = len(loaded.resources), len(loaded.problems)
        self._figures = replace(self._figures, resources=len(loaded.resources), is_refused=False)
        if is_new:
            self._announce.published(header.generation, len(loaded.resources), loaded.problems)
        elif is_first or was_refused is not None:
            self._announce.unchanged(header.generation, len(loaded.resources), loaded.problems)
        return Outcome(True, header.generation)

    def _publish(self, records: Mapping[str, bytes]) -> bool:
        mesh = msgspec.json.decode(records["mesh"], type=MeshRecord)
        is_new = self._publisher.publish(
            records,
            trust_domain=mesh.trust_domain,
            source=self._source.name,
            claims=self._survey.generations,
        )
        if is_new:
            self._count_publish()
        return is_new

    def _count_publish(self) -> None:
        now = self._clock.now()
        self._settle.published(self._clock.monotonic())
        self._figures = replace(
            self._figures, publishes=self._figures.publishes + 1, published_at_s=now.timestamp()
        )

    def _refuse(self, reason: str, problems: Sequence[Problem]) -> Outcome:
        current = self._publisher.current
        generation = current.generation if current else None
        since = self._clock.now().isoformat(timespec="seconds")
        if self._refused is not None:
            since = self._refused.since
        self._refused = RefusedPolicy.of(since, reason, problems)
        self._figures = replace(self._figures, refusals=self._figures.refusals + 1, is_refused=True)
        told = (reason, tuple(problems))
        if told != self._told:
            self._told = told
            self._announce.refused(reason, problems, generation)
        return Outcome(False, generation)

    def _restore(self) -> None:
        """Serve the last good policy, for the sources cannot be used."""
        restored = self._publisher.restore(self._survey.generations)
        if restored is not None:
            if restored.is_republished:
                self._count_publish()
            self._announce.kept(
                restored.header.generation,
                "the sources cannot be used",
                is_republished=restored.is_republished,
            )

    # --- telling ------------------------------------------------------------------------------

    def _write_status(self) -> None:
        header = self._publisher.current
        generation = header.generation if header else None
        live = self._survey.live
        self._figures = replace(
            self._figures,
            generation=generation or 0,
            workers=len(live),
            workers_behind=sum(report.generation != generation for report in live),
        )
        status = Status(
            pid=os.getpid(),
            started_at=self._started_at,
            sources=tuple(str(path) for path in self._places.sources),
            state_dir=str(self._places.state_dir),
            listen=self._listening,
            generation=generation,
            published_at=header.made_at if header else None,
            resources=self._resources,
            warnings=self._warnings,
            refused=self._refused,
        )
        if status != self._written:
            write_status(self._places.status_file, status)
            self._written = status
