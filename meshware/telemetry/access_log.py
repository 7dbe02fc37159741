"""Access logs: one line for each call that is over, as policy says, to files and to `logging`.

A sink of events. Where policy wants no log, an event costs a look at the plan. Else the line is
made on the thread of the call, since what it refers to is gone afterwards, and handed to a thread
that may block: `log_files` for files, another for the standard library's logging.

A plan that names a file writes there, and tells the logger `meshware.access` too where that one
has handlers of its own; a plan without one tells the logger alone. Records are of level INFO, and
bear the line as their message, and the fields of `LoggingFilter`.

What fails costs the line, is told once, and is counted.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from meshware.events import Event, InboundEvent
from meshware.policy.telemetry_plan import LogPlan, TelemetryPlan
from meshware.telemetry.attributes import attributes_of
from meshware.telemetry.ending import Background
from meshware.telemetry.log_entry import Entry, entry_of
from meshware.telemetry.log_files import LogFile, log_file
from meshware.telemetry.log_lines import LineMaker, line_maker
from meshware.telemetry.log_values import Surroundings
from meshware.telemetry.losses import LOST

if TYPE_CHECKING:
    from meshware.policy.snapshot import Snapshot
    from meshware.telemetry.series import CounterKey

__all__ = ["FAILURES", "AccessLog"]

FAILURES = (LOST, (("kind", "access_log"),))
"""The counter of lines that were lost."""

LOGGER = logging.getLogger("meshware.access")
_log = logging.getLogger("meshware")
_MOST_WAITING = 8192  # records that wait for handlers


class _Log:
    """One log of one side, compiled."""

    __slots__ = ("filter", "line", "out")

    def __init__(self, plan: LogPlan, around: Surroundings) -> None:
        self.filter = plan.filter
        self.line: LineMaker = line_maker(plan, around)
        self.out: LogFile | None = None if plan.path is None else log_file(plan.path)


_Compiled = tuple[TelemetryPlan, tuple[_Log, ...], tuple[_Log, ...]]


class AccessLog:
    """An event sink that logs calls. Safe from any thread, and in garbage collection.

    Args:
        snapshot_of: returns the policy in force.
        now: returns the aware UTC time.
        environ: for `%ENVIRONMENT(X)%`; read when policy changes.
        on_error: is told of exceptions that calls were spared.
    """

    def __init__(
        self,
        snapshot_of: Callable[[], Snapshot | None],
        now: Callable[[], datetime],
        environ: Mapping[str, str],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._snapshot_of = snapshot_of
        self._now = now
        self._environ = environ
        self._on_error = on_error
        self._compiled: _Compiled | None = None  # of the plan in force
        self._next: _Compiled | None = None  # of the one that comes next
        self._records = Background(_MOST_WAITING, "meshware-access")
        self._failed = 0
        self._files: set[LogFile] = set()
        self._told_of: dict[object, int] = {}
        self._is_told = False

    def __call__(self, event: Event) -> None:
        """Log a call, where policy says so."""
        snapshot = self._snapshot_of()
        if snapshot is None:
            return
        plan = snapshot.telemetry
        is_inbound = isinstance(event, InboundEvent)
        if not (plan.inbound if is_inbound else plan.outbound).logs:
            return
        if not isinstance(event, InboundEvent) and event.is_mirror:
            return  # Envoy logs no copies either
        compiled = self._compiled
        if compiled is None or compiled[0] is not plan:
            compiled = self._compiled = self._compiled_of(plan)
        entry: Entry | None = None
        for log in compiled[1] if is_inbound else compiled[2]:
            try:
                if log.filter is not None and not _passes(log, event, self._now):
                    continue
                if log.out is None and not self._is_heard():
                    continue
                if entry is None:
                    entry = entry_of(event, snapshot, self._now())
                self._tell(log, entry)
            except Exception as error:
                # One log's mistake is not another's loss; the caller has its answer already.
                self._failed += 1
                self._on_error(error)

    def prepare(self, snapshot: Snapshot) -> None:
        """Compile the logs of a policy and start their threads, before its first call."""
        plan, current = snapshot.telemetry, self._compiled
        is_known = current is not None and current[0] is plan
        if not is_known and (plan.inbound.logs or plan.outbound.logs):
            self._next = self._compile(plan)

    def renew(self) -> None:
        """Begin with nothing, in a child process: what its parent has lost is the parent's."""
        self._records.renew()
        self._told_of.clear()
        self._failed = self._records.lost = 0

    def failures(self) -> dict[CounterKey, int]:
        """Return how many lines were lost since this was last asked, by counter."""
        lost = 0
        sources: list[tuple[object, int]] = [
            ("failed", self._failed),
            ("records", self._records.lost),
        ]
        sources += [(each.path, each.lost) for each in list(self._files)]
        for source, count in sources:
            lost += max(0, count - self._told_of.get(source, 0))
            self._told_of[source] = count
        return {FAILURES: lost} if lost else {}

    # --- inside -------------------------------------------------------------------------------

    def _compiled_of(self, plan: TelemetryPlan) -> _Compiled:
        found = self._next
        return found if found is not None and found[0] is plan else self._compile(plan)

    def _compile(self, plan: TelemetryPlan) -> _Compiled:
        """Compile a plan's logs; one that cannot be is left out, and told once."""
        around = Surroundings(self._environ, socket.gethostname())
        sides: list[tuple[_Log, ...]] = []
        for side in (plan.inbound, plan.outbound):
            logs: list[_Log] = []
            for each in side.logs:
                try:
                    logs.append(_Log(each, around))
                except ValueError as error:
                    self._failed += 1
                    _log.error(
                        "the access log of provider %r is off: its format has a problem %s",
                        each.provider,
                        error,
                    )
            sides.append(tuple(logs))
            for log in logs:
                if log.out is None:
                    self._records.start(waits=False)
                    continue
                log.out.start()
                if log.out not in self._files:
                    self._told_of[log.out.path] = log.out.lost  # what another's log has lost
                    self._files.add(log.out)
        return plan, sides[0], sides[1]

    def _is_heard(self) -> bool:
        """Say whether the logger takes records; where not, that is told once."""
        if LOGGER.isEnabledFor(logging.INFO):
            return True
        if not self._is_told:
            self._is_told = True
            _log.warning(
                "policy wants access logs by the standard library's logging, and the logger "
                "meshware.access is not enabled for INFO, so there are none; set its level: "
                'logging.getLogger("meshware.access").setLevel("INFO")'
            )
        return False

    def _tell(self, log: _Log, entry: Entry) -> None:
        line = log.line(entry)
        if log.out is not None:
            log.out.put(line.encode("utf-8", "backslashreplace") + b"\n")
        if log.out is None or (LOGGER.handlers and LOGGER.isEnabledFor(logging.INFO)):
            self._records.start(waits=False)  # in a child process, there is none yet
            self._records.put(partial(_emit, line, _fields(entry), entry.ended_at.timestamp()))


def _passes(log: _Log, event: Event, now: Callable[[], datetime]) -> bool:
    """Say whether a call is logged. Source: Envoy's CEL filter: what fails is not."""
    try:
        return log.filter is not None and log.filter(attributes_of(event, now)) is True
    except (KeyError, TypeError, ValueError):
        return False


def _fields(entry: Entry) -> dict[str, str | None]:
    """Return what `LoggingFilter` would say of a call, were it not over."""
    trace = entry.trace
    peer = entry.event.peer if isinstance(entry.event, InboundEvent) else None
    return {
        "trace_id": None if trace is None else trace.trace_id,
        "span_id": None if trace is None else trace.span_id,
        "request_id": entry.request_id,
        "peer": None if peer is None else peer.id,
        "route": entry.route,
    }


def _emit(line: str, fields: Mapping[str, str | None], at: float) -> None:
    """Hand a record to the handlers, on a thread that they may keep."""
    record = LOGGER.makeRecord(
        LOGGER.name, logging.INFO, __file__, 0, "%s", (line,), None, "access"
    )
    record.created, record.msecs = at, int(at % 1 * 1000) + 0.0
    for name, value in fields.items():
        setattr(record, name, value or "-")
    LOGGER.handle(record)
