"""Keep one run directory: publish the sources or refuse them, put back what went missing, tell.

The daemon's loop says when; this says what. It starts no thread and waits for nothing.

1. `read`: the sources become the policy file, whole, or are refused, whole.
2. `restore`: where they are refused at the start, the last good policy is served.
3. `heal`: a policy file that was deleted or altered is written again under a later generation, and
   so is one that workers cannot take up because they have met a later.
4. `refresh`: what DNS finds and issuers serve anew is published, the sources being as they were.
5. `keep_identities`: the service accounts of this node have their keys, and policy their bundle.
6. `write_status`: `status.json` says what came of it.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from meshware.clock import Clock
from meshware.errors import MeshError, PolicyError
from meshware.policy.places import Places as Written
from meshware.policy.problems import Problem, Severity
from meshware.policy.record_types import MeshRecord
from meshware.policy.records import build_records
from meshware.runtime.files import printable, remove_leftovers
from meshware.runtime.lookups import Lookups
from meshware.runtime.resolver import WARM_S
from meshware.runtime.sources import Sweep
from meshware.syncd.announce import Announcer
from meshware.syncd.changes import Changes, shown
from meshware.syncd.counts import Counts
from meshware.syncd.directory import DirectorySource
from meshware.syncd.identities import Identities
from meshware.syncd.listen import Figures
from meshware.syncd.lock import RunLock
from meshware.syncd.places import Places, make_run_dir, make_state_dir
from meshware.syncd.publish import Publisher
from meshware.syncd.reports import ReportReader, Survey
from meshware.syncd.rings import NodeRings
from meshware.syncd.status import (
    MOST_KEY_SOURCES,
    KeySource,
    RefusedPolicy,
    Status,
    write_status,
)

__all__ = ["Keeper", "Outcome"]

_CLEAR_S = 10.0  # between looks for what ended workers have left to be seen
_PATIENCE_S = 5.0  # between publishes for workers that cannot take one up: they may be lying


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of reading the sources."""

    ok: bool
    generation: int | None  # in force now


class Keeper:
    """Keeps one run directory, from construction to `close`.

    Args:
        places: where everything lies.
        source: where policy comes from.
        announce: told of what happens.
        clock: the machine's.
        lookups: the addresses of names that policy has for endpoints, and the keys of issuers.

    Attributes:
        figures: what was done, for `/metrics`; replaced whole, so any thread may read it.
        listening: the address that is served, for the status file.
        has_dashboard: whether the dashboard is served there, likewise.
        publishes: times policy was written.
        swept: what the sources were like when they were read last.
        resources: of the sources that were published, as `changes.shown` returns them.
        problems: what was found when the sources were read last.
        changes: what each publish changed.
        written: where the resources of the sources that were published are written.
        counts: what workers have counted.
        rings: what workers remember of calls.

    Raises:
        SyncError: another daemon has the directory, or a place cannot be made.
        OSError: a file cannot be read or written.
    """

    def __init__(
        self,
        places: Places,
        source: DirectorySource,
        announce: Announcer,
        clock: Clock,
        lookups: Lookups,
    ) -> None:
        self._places = places
        self._source = source
        self._announce = announce
        self._clock = clock
        self._lookups = lookups
        self._unwritten: Mapping[str, bytes] | None = None  # what look-ups found anew
        self._counted: dict[tuple[str, str], int] = {}  # unknown keys, by worker and record
        self._started_at = clock.now().isoformat(timespec="seconds")
        self.figures = Figures()
        self.listening: str | None = None
        self.has_dashboard: bool | None = None
        self.swept: Sweep | None = None
        self.resources: list[dict[str, Any]] = []
        self.problems: tuple[Problem, ...] = ()
        self.changes = Changes()
        self._survey = Survey()
        self._reports = ReportReader(places.reports)
        self.written = Written()
        self.counts = Counts(ReportReader(places.reports), places.counted)
        self.rings = NodeRings(ReportReader(places.reports), lambda: clock.now().timestamp())
        self._clear_at = float("-inf")
        self._refused: RefusedPolicy | None = None
        self._told: object = None  # the refusal that was announced last
        self._resources: int | None = None
        self._warnings = 0
        self._written: Status | None = None
        self._patient_until = float("-inf")
        self._lock = RunLock(places.run_dir)
        try:
            self._hold_place()
            remove_leftovers(places.status_file)
            self._publisher = Publisher(places, clock)
            self._identities = Identities(
                places, clock, announce.note, self._publisher.last_records
            )
            self._lookups.seed(self._publisher.last_records())
            self.read_reports()
        except BaseException:
            self._lock.release()
            raise

    def close(self) -> None:
        """Let the directory go. All files stay as they are."""
        self._lock.release()

    @property
    def survey(self) -> Survey:
        """What live workers said last."""
        return self._survey

    @property
    def refusal(self) -> RefusedPolicy | None:
        """Why the sources cannot be used now; None: they can."""
        return self._refused

    @property
    def publishes(self) -> int:
        """How often policy was written."""
        return self.figures.publishes

    # --- reading, publishing, refusing --------------------------------------------------------

    def read(self, warm_s: float = WARM_S, *, is_only: bool = False) -> Outcome:
        """Read the sources, and publish or refuse them.

        Args:
            warm_s: how long to wait for what nobody has looked up yet.
            is_only: there will be no other time, so that all keys are waited for as long.

        Raises:
            TakenError: another daemon took this one's place.
            SyncError: a place cannot be made.
            OSError: the policy cannot be written; the old one stays.
        """
        self.swept = self._source.sweep()  # before reading: what changes meanwhile shows later
        before = self._lookups.records
        try:
            loaded = self._source.load()
            self.problems = loaded.problems
            if not loaded.ok:
                count = sum(problem.severity is Severity.ERROR for problem in loaded.problems)
                return self._refuse("1 error" if count == 1 else f"{count} errors", loaded.problems)
            records = self._lookups.fill(build_records(loaded.resources), warm_s, is_only=is_only)
            with self._identities.settled(loaded.resources):
                is_new = self._publish(records)
        except PolicyError as error:
            self._lookups.fill(before, 0.0)  # the names of what stays in force are kept fresh
            return self._refuse(str(error), ())
        except (OSError, MeshError):
            raise
        except Exception as error:
            # A mistake of ours that some policy brings to light must not end the daemon: the last
            # good policy stays, and another edit may be read without it.
            self._announce.note("".join(traceback.format_exception(error)).rstrip())
            return self._refuse(f"meshware failed: {type(error).__name__}: {error}", ())
        self._unwritten = None
        header = self._publisher.current
        assert header is not None
        is_news = self._resources is None or self._refused is not None
        self._refused, self._told = None, None
        self._resources, self._warnings = len(loaded.resources), len(loaded.problems)
        self.figures = replace(self.figures, resources=self._resources, is_refused=False)
        self.resources = shown(loaded.resources)
        self.written = Written(loaded.resources)
        self.changes.note(header.generation, header.made_at, self.resources)
        if is_new:
            self._announce.published(header.generation, self._resources, loaded.problems)
        elif is_news:
            self._announce.unchanged(header.generation, self._resources, loaded.problems)
        return Outcome(True, header.generation)

    def restore(self) -> None:
        """Serve the last good policy, for the sources cannot be used.

        Raises:
            SyncError: there is no generation left.
            OSError: it cannot be written.
        """
        restored = self._publisher.restore(self._survey.generations)
        if restored is not None:
            self._lookups.fill(self._publisher.wanted_records)  # its names are kept fresh, too
            if restored.is_republished:
                self._count_publish()
            self._identities.restore()
            self._announce.kept(
                restored.header.generation,
                "the sources cannot be used",
                is_republished=restored.is_republished,
            )

    @property
    def has_news(self) -> bool:
        """Whether `refresh` may have something to do."""
        return self._lookups.has_news

    def refresh(self) -> None:
        """Publish the addresses and keys that were found anew.

        Raises:
            TakenError: another daemon took this one's place.
            SyncError: a place cannot be made.
            OSError: the policy cannot be written; the next call tries again.
        """
        records = self._unwritten = self._lookups.refill() or self._unwritten
        if records is None:
            return
        is_new = self._publish(records)
        self._unwritten = None
        if is_new:
            header = self._publisher.current
            assert header is not None
            self._announce.refreshed(header.generation, self._lookups.news)

    def keep_identities(self) -> float:
        """Issue, renew and put back identities; publish their bundle where it has changed.

        Returns:
            Seconds until something is due; infinity: nothing will be.

        Raises:
            TakenError: another daemon took this one's place.
            OSError, MeshError: something went wrong; the next call tries again.
        """
        self._hold_place()
        wanted = self._publisher.wanted_records
        if not wanted:
            return float("inf")
        self._publish_bundle()
        due_s = self._identities.look(
            self._publisher.wanted_records,
            self._survey.live,
            is_in_place=self._publisher.is_in_place(),
        )
        self._publish_bundle()  # what was made is published before the next look counts on it
        return due_s

    def _publish_bundle(self) -> None:
        wanted = self._publisher.wanted_records
        if self._identities.dressed(wanted) != wanted and self._publish(wanted):
            header = self._publisher.current
            assert header is not None
            self._announce.rekeyed(header.generation)

    def current_figures(self) -> Figures:
        """Return what was done so far, for `/metrics`. From any thread."""
        return replace(
            self.figures, dns=self._lookups.dns_figures(), jwks=self._lookups.jwks_figures()
        )

    def _publish(self, records: Mapping[str, bytes]) -> bool:
        mesh = msgspec.json.decode(records["mesh"], type=MeshRecord)
        self._hold_place()
        is_new = self._publisher.publish(
            self._identities.dressed(records),
            trust_domain=mesh.trust_domain,
            source=self._source.name,
            claims=self._survey.generations,
        )
        if is_new:
            self._count_publish()
        return is_new

    def _count_publish(self) -> None:
        self.figures = replace(
            self.figures,
            publishes=self.figures.publishes + 1,
            published_at_s=self._clock.now().timestamp(),
        )

    def _refuse(self, reason: str, problems: Sequence[Problem]) -> Outcome:
        current = self._publisher.current
        generation = current.generation if current else None
        since = self._clock.now().isoformat(timespec="seconds")
        if self._refused is not None:
            since = self._refused.since
        self._refused = RefusedPolicy.of(since, reason, problems)
        self.figures = replace(self.figures, refusals=self.figures.refusals + 1, is_refused=True)
        told = (reason, tuple(problems))
        if told != self._told:
            self._told = told
            self._announce.refused(reason, problems, generation)
        return Outcome(False, generation)

    # --- looking after the run directory ------------------------------------------------------

    def read_reports(self) -> None:
        """Read what workers say, and remove the files of those that ended.

        Raises:
            OSError: what ended workers have counted cannot be kept.
        """
        self.counts.look()
        self._reports.clear_dead(self._clock.now().timestamp())
        if self._clock.monotonic() >= self._clear_at:
            self._clear_at = self._clock.monotonic() + _CLEAR_S
            self.rings.clear()
        self._survey = self._reports.read()
        self._pass_on_unknown_keys()

    def _pass_on_unknown_keys(self) -> None:
        """Have keys fetched anew of which a worker has missed one since it was asked last."""
        before = self._counted
        self._counted = {
            (report.id, digest): count
            for report in self._survey.live
            for digest, count in report.unknown_keys.items()
        }
        missed = {each[1] for each, count in self._counted.items() if before.get(each) != count}
        self._lookups.unknown_keys(f"jwks/{digest}" for digest in sorted(missed))

    def heal(self) -> None:
        """Put back what was deleted or altered; go past what workers have met.

        Raises:
            TakenError: another daemon took this one's place.
            SyncError: a place cannot be made.
            OSError: a file cannot be written.
        """
        self._hold_place()
        now = self._clock.monotonic()
        current = self._publisher.current
        if current is None:
            return
        if not self._publisher.is_in_place():
            why = "the policy file was removed or altered"
        elif now >= self._patient_until and self._has_met_later(current.generation):
            self._patient_until = now + _PATIENCE_S
            why = "workers have met a later generation"
        else:
            return
        header = self._publisher.republish(self._survey.generations)
        if header is not None:
            self._count_publish()
            self._announce.kept(header.generation, why, is_republished=True)

    def _has_met_later(self, generation: int) -> bool:
        # A number that no daemon can have reached is a lie, and publishing would never reach it.
        believable = self._survey.believable(self._clock.now().timestamp())
        return believable.has_met_later(generation)

    def _hold_place(self) -> None:
        """See to it that the directories are there and ours, whoever may have removed them."""
        make_run_dir(self._places)
        if not self._lock.is_held_here():
            self._lock.acquire()
            self._written = None  # with the directory the status file has gone
        make_state_dir(self._places)

    # --- telling ------------------------------------------------------------------------------

    def write_status(self, *, is_end: bool = False) -> None:
        """Write the status file if it would say something new.

        Args:
            is_end: the daemon ends in good order.

        Raises:
            OSError: it cannot be written.
        """
        header = self._publisher.current
        generation = header.generation if header else None
        live = self._survey.live
        self.figures = replace(
            self.figures,
            generation=generation or 0,
            workers=len(live),
            workers_behind=sum(report.generation != generation for report in live),
        )
        status = Status(
            pid=os.getpid(),
            started_at=self._started_at,
            ended_at=self._clock.now().isoformat(timespec="seconds") if is_end else None,
            sources=tuple(printable(str(path)) for path in self._places.sources),
            state_dir=printable(str(self._places.state_dir)),
            listen=self.listening,
            has_dashboard=self.has_dashboard,
            generation=generation,
            published_at=header.made_at if header else None,
            resources=self._resources,
            warnings=self._warnings,
            refused=self._refused,
            keys=tuple(
                KeySource(uri=printable(each.uri), message=printable(each.message))
                for each in self._lookups.jwks_figures().findings[:MOST_KEY_SOURCES]
            ),
        )
        if status != self._written or not self._places.status_file.exists():
            write_status(self._places.status_file, status)
            self._written = status
