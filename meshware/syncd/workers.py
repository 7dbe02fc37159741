"""What a live worker's report comes to: its state, its health in words, and what is amiss.

`meshware status`, its JSON and the dashboard all tell what is decided here. A report is a claim, so
its text is made legible: what a terminal would obey or a page would turn round is escaped.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from meshware.legible import legible
from meshware.runtime.lag import LagOf
from meshware.runtime.reporter import Refusal, Report
from meshware.runtime.vitals import Certificate, Vitals

__all__ = ["CertificateSeen", "WorkerSeen", "worker_seen", "worker_state"]

_OVERDUE = 0.25  # of a certificate's life: who renews at half of it, or two thirds, has by then
_SLOW_S = 0.1  # a call that waits this long before its next step runs is felt
_SILENT_S = 10.0  # workers write each second


class CertificateSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker claims to show about itself."""

    id: str
    source: str  # `identity.provider` of its policy
    since: str  # ISO 8601, UTC
    until: str
    left_s: float  # below nought: it has ended


class WorkerSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What a live worker claims."""

    namespace: str
    workload: str | None
    id: str
    pid: int
    generation: int | None
    state: str  # "current", "behind", "refuses" or "waits"
    refusals: tuple[Refusal, ...]
    address: str | None
    port: int | None
    started_at: str
    # What follows is None where the worker does not tell.
    version: str | None = None  # of meshware
    python: str | None = None
    server: str | None = None
    applied_at: str | None = None  # ISO 8601, UTC
    policy_age_s: float | None = None  # since it was applied there
    certificate: CertificateSeen | None = None
    memory_bytes: int | None = None  # resident
    lag_s: float | None = None  # the worst of ten seconds
    lag_of: LagOf | None = None
    in_flight: int | None = None
    troubles: tuple[str, ...] = ()  # what is amiss, in words; none: all is well

    @property
    def where(self) -> str:
        """Where it is reached, for people."""
        host = f"[{self.address}]" if self.address and ":" in self.address else self.address
        if host is None and self.port is None:
            return "-"
        return f"{host or '*'}:{self.port or '?'}"


def worker_seen(report: Report, generation: int | None, now_s: float) -> WorkerSeen:
    """Return what a report comes to.

    Args:
        report: of a live worker.
        generation: that is published.
        now_s: unix time.
    """
    vitals = report.vitals or Vitals()
    applied_s, shown = vitals.applied_s, vitals.certificate
    state = worker_state(report, generation)
    return WorkerSeen(
        namespace=report.namespace,
        workload=report.workload,
        id=report.id,
        pid=report.pid,
        generation=report.generation,
        state=state,
        refusals=tuple(
            Refusal(
                reason=legible(refusal.reason, is_long=True),
                generation=refusal.generation,
                subject=legible(refusal.subject),
            )
            for refusal in report.refusals
        ),
        address=_legible(report.address),
        port=report.port,
        started_at=legible(report.started_at),
        version=_legible(vitals.version),
        python=_legible(vitals.python),
        server=_legible(vitals.server),
        applied_at=None if applied_s is None else _iso(applied_s),
        policy_age_s=None if applied_s is None else max(round(now_s - applied_s, 1), 0.0),
        certificate=None if shown is None else _seen(shown, now_s),
        memory_bytes=vitals.memory_bytes,
        lag_s=vitals.lag_s,
        lag_of=vitals.lag_of,
        in_flight=vitals.in_flight,
        troubles=_troubles(report, vitals, state, generation, now_s),
    )


def worker_state(report: Report, generation: int | None) -> str:
    """Return what a worker makes of a published generation: a word of `WorkerSeen.state`."""
    if report.refusals:
        return "refuses"
    if report.generation is None:
        return "waits"
    return "current" if report.generation == generation else "behind"


def _legible(text: str | None) -> str | None:
    return None if text is None else legible(text)


def _seen(shown: Certificate, now_s: float) -> CertificateSeen:
    return CertificateSeen(
        id=legible(shown.id),
        source=legible(shown.source),
        since=_iso(shown.from_s),
        until=_iso(shown.until_s),
        left_s=round(shown.until_s - now_s, 1),
    )


def _troubles(
    report: Report, vitals: Vitals, state: str, generation: int | None, now_s: float
) -> tuple[str, ...]:
    found = []
    if state == "refuses":
        found.append("refuses policy")
    elif state == "waits":
        found.append("has no policy yet")
    elif state == "behind" and generation is None:
        found.append("no policy is published")
    if report.generation is not None and generation is not None:
        missing = generation - report.generation
        if missing > 0:
            found.append(f"{missing} behind")
        elif missing < 0:
            found.append(f"{-missing} ahead")
    shown = vitals.certificate
    if shown is not None:
        left_s = shown.until_s - now_s
        if left_s <= 0:
            found.append("certificate has ended")
        elif left_s < _OVERDUE * (shown.until_s - shown.from_s):
            found.append("certificate ends soon")
    if report.heard_at is not None and now_s - report.heard_at > _SILENT_S:
        found.append(f"not heard of for {now_s - report.heard_at:.0f} s")
    if vitals.lag_s is not None and vitals.lag_s > _SLOW_S:
        what = "event loop lags" if vitals.lag_of == "loop" else "threads wait"
        found.append(what)
    return tuple(found)


def _iso(at_s: float) -> str:
    return datetime.fromtimestamp(int(at_s), UTC).isoformat()
