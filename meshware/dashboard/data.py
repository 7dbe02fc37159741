"""What the dashboard asks of the daemon, and in which shapes the answers come.

What is asked from the dashboard's own thread is answered from what is replaced whole, and never
waits. `counted`, `look` and `why` read files, and are asked from other threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["BOUNDS_MS", "Console", "Counted", "EndpointSeen", "Sample", "Told"]

BOUNDS_MS = (
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10000.0,
    30000.0, 60000.0, 300000.0, 600000.0, 1800000.0, 3600000.0,
)  # fmt: skip
"""Upper bounds of the buckets of durations, in ms. Source: Envoy's default histogram buckets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Counters of one series at one moment; all of them only rise, until their worker restarts.

    Attributes:
        labels: as of `istio_requests_total`: `reporter`, `source_workload`, and so on.
        requests: calls so far.
        errors: those of them that failed: answered with 5xx, or not at all.
        durations: calls so far in each bucket of `BOUNDS_MS`, not cumulative; last those beyond.
        attempts: tries so far, of a source; 0 where nobody counts them.
    """

    labels: Mapping[str, str]
    requests: float
    errors: float = 0.0
    durations: Sequence[float] = ()
    attempts: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSeen:
    """One endpoint of a service, as all its callers together have found it.

    Attributes:
        service: its host.
        address: "address:port"; "other" stands for those beyond what a worker tells apart.
        attempts: so far.
        failed: those of them that failed: answered with 5xx, or not at all.
        ejected_by: how many workers have it out now.
    """

    service: str
    address: str
    attempts: float = 0.0
    failed: float = 0.0
    ejected_by: int = 0


@dataclass(frozen=True, slots=True)
class Counted:
    """All that workers have counted, by one moment.

    Attributes:
        samples: all series.
        endpoints: all that were called or ejected.
    """

    samples: Sequence[Sample] = ()
    endpoints: Sequence[EndpointSeen] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What workers remember of calls, as it was read at one moment. Nobody changes it.

    Attributes:
        epoch: of the daemon's life; numbers of another one mean nothing.
        seen: the number of the call or trace that was seen last.
        left_out: calls that workers did not keep one by one since their last.
        calls: those that were refused or failed, the newest first. Each has a `seen`, larger for
            what was seen later, and an `id`.
        traces: the newest first. Each has a `seen`.
    """

    epoch: str
    seen: int
    left_out: int = 0
    calls: Sequence[Mapping[str, Any]] = ()
    traces: Sequence[Mapping[str, Any]] = ()


class Console(Protocol):
    """What the daemon knows. The answers are made of what JSON has."""

    def generation(self) -> int | None:
        """Return the generation of the published policy; None: there is none."""

    def counted(self) -> Counted:
        """Return what is counted by now."""

    def workers(self) -> list[dict[str, Any]]:
        """Return the live workers, in the shape of `syncd.workers.WorkerSeen`."""

    def policy(self) -> dict[str, Any]:
        """Return `resources`, `findings`, `refused` and `changes`."""

    def look(self) -> Told:
        """Read what workers remember of calls and traces, and return it."""

    def remembered(self) -> Told:
        """Return what was read last."""

    def why(self, call_id: str) -> dict[str, Any] | None:
        """Return a call with what policy says of it now; None: there is no such call."""
