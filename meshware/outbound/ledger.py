"""The only mutable heart of the outbound side: what is in flight, and whose turn it is.

Theory of operation
-------------------
There is one `ClusterState` for each cluster name. It outlives policy swaps, so that a new
snapshot neither forgets the calls in flight nor starts the round again; `Ledger.retain` drops
the clusters that no policy names any more.

Taking an endpoint happens under the state's lock, and nothing else does: no I/O, no callback, no
`yield`. Giving one back must be safe anywhere, also in a generator's `finally` that the garbage
collector runs on the very thread that holds this lock. So it only appends to a deque, and the
next one who takes an endpoint folds the deque in. Whoever reads the numbers folds first, too.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from meshware.outbound.balance import Schedule, pick_least_loaded
from meshware.outbound.outlier import OutlierState

if TYPE_CHECKING:
    from meshware.policy.clusters import Cluster, Endpoint
    from meshware.policy.hash_table import HashTable

__all__ = ["OVERFLOW", "ClusterState", "Lease", "Ledger"]

OVERFLOW: Final = "overflow"
"""In place of an endpoint: one more request would be over the limit."""


_RETRY = ""  # stands for a retry among the keys of endpoints that are given back


class Lease:
    """One attempt's hold on an endpoint, or a call's on a retry.

    `release` may be called anywhere, any number of times.
    """

    __slots__ = ("_key", "_returned")

    def __init__(self, key: str, returned: deque[str]) -> None:
        self._key: str | None = key
        self._returned = returned

    def release(self) -> None:
        """Give the endpoint back; takes no lock."""
        key, self._key = self._key, None
        if key is not None:
            self._returned.append(key)


class ClusterState:
    """Calls in flight by endpoint, who is ejected, and the schedule of the balancers that have one.

    The schedule is that of weighted and round-robin balancers.
    """

    __slots__ = (
        "_active",
        "_lock",
        "_outlier",
        "_retries",
        "_returned",
        "_schedule",
        "_scheduled",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[str, int] = {}
        self._returned: deque[str] = deque()
        self._retries = 0
        self._outlier = OutlierState()
        self._schedule: Schedule | None = None
        self._scheduled: tuple[Endpoint, ...] = ()

    def take(
        self,
        cluster: Cluster,
        tried: Collection[str],
        rng: Random,
        now: float,
        hashed: int | None = None,
    ) -> tuple[Endpoint, Lease] | Literal["overflow"] | None:
        """Choose an endpoint and hold it; None when there is none, or all are ejected.

        OVERFLOW: as many requests are under way as policy allows.

        Args:
            cluster: whose endpoints to choose from.
            tried: keys of endpoints to leave out while another is left.
            rng: the source of chance.
            now: monotonic seconds.
            hashed: of what keeps the caller at one endpoint; None: nothing does.
        """
        endpoints = cluster.endpoints
        out: frozenset[str] = frozenset()
        if not endpoints:
            return None
        with self._lock:
            self._fold()
            limit = cluster.limits.requests
            if limit is not None and sum(self._active.values()) >= limit:
                return OVERFLOW
            if cluster.outlier is not None:
                out = self._outlier.ejected(cluster.keys, cluster.outlier, now)
                if out:
                    endpoints = tuple([e for e in endpoints if e.key not in out])
                    if not endpoints:
                        return None
            if len(endpoints) == 1:
                endpoint = endpoints[0]
            elif cluster.table is not None and hashed is not None:
                endpoint = _belonging(cluster.table, hashed, out, tried)
            elif cluster.hash is not None or cluster.balance == "RANDOM":
                # Envoy: where there is no key to hash any will do; weights do not count.
                endpoint = rng.choice(_untried(endpoints, tried))
            elif cluster.balance == "LEAST_REQUEST" and not cluster.is_weighted:
                endpoint = pick_least_loaded(_untried(endpoints, tried), self._active, rng)
            else:
                endpoint = self._next(cluster, endpoints, tried, rng)
            self._active[endpoint.key] = self._active.get(endpoint.key, 0) + 1
        return endpoint, Lease(endpoint.key, self._returned)

    def retry(self, cluster: Cluster) -> Lease | None:
        """Hold a retry, from its decision to its outcome; None: there are as many as may be."""
        limits = cluster.limits
        with self._lock:
            self._fold()
            most = limits.retries
            if limits.budget is not None:
                active = sum(self._active.values())
                most = max(limits.budget.least, int(limits.budget.ratio * active))
            if most is not None and self._retries >= most:
                return None
            self._retries += 1
        return Lease(_RETRY, self._returned)

    def retries(self) -> int:
        """Return how many retries are under way or waited for."""
        with self._lock:
            self._fold()
            return self._retries

    def active(self) -> dict[str, int]:
        """Return the calls in flight by endpoint key, those without any left out."""
        with self._lock:
            self._fold()
            return dict(self._active)

    def answered(self, cluster: Cluster, key: str, status: int, now: float) -> None:
        """Count an answer of an endpoint for or against it.

        Args:
            cluster: the endpoint's.
            key: the endpoint's.
            status: of HTTP, as gRPC's means it where there is one.
            now: monotonic seconds.
        """
        if cluster.outlier is not None:
            with self._lock:
                self._outlier.answered(key, status, cluster.keys, cluster.outlier, now)

    def failed(self, cluster: Cluster, key: str, now: float) -> None:
        """Count against an endpoint that no answer came, or a broken one."""
        if cluster.outlier is not None:
            with self._lock:
                self._outlier.failed(key, cluster.keys, cluster.outlier, now)

    def ejected(self, cluster: Cluster, now: float) -> frozenset[str]:
        """Return the keys of the endpoints that are out now."""
        if cluster.outlier is None:
            return frozenset()
        with self._lock:
            return self._outlier.ejected(cluster.keys, cluster.outlier, now)

    def _next(
        self,
        cluster: Cluster,
        endpoints: tuple[Endpoint, ...],
        tried: Collection[str],
        rng: Random,
    ) -> Endpoint:
        # Anew for other endpoints: one that comes back would have all its missed turns at once.
        if self._schedule is None or (
            self._scheduled is not endpoints and self._scheduled != endpoints
        ):
            self._schedule = Schedule(endpoints, rng)
            self._scheduled = endpoints
        active = self._active if cluster.balance == "LEAST_REQUEST" else None
        return self._schedule.next(tried, active)

    def _fold(self) -> None:
        """Take returned leases off the numbers. The lock is held."""
        returned, active = self._returned, self._active
        while returned:
            key = returned.popleft()
            if key == _RETRY:
                self._retries -= 1
                continue
            left = active.get(key, 0) - 1
            if left > 0:
                active[key] = left
            else:
                active.pop(key, None)


def _belonging(
    table: HashTable, hashed: int, out: frozenset[str], tried: Collection[str]
) -> Endpoint:
    """Return the endpoint that a hash belongs to, one of those that are not out."""
    found = table.find(hashed, out.union(tried) if tried else out)
    found = found or table.find(hashed, out)  # all were tried: the first again
    assert found is not None, "somebody is not out"
    return found


def _untried(endpoints: tuple[Endpoint, ...], tried: Collection[str]) -> tuple[Endpoint, ...]:
    """Leave out what was tried, unless nothing would be left.

    Differs from Envoy, which redraws up to five times and may meet a tried endpoint all the same.
    """
    if not tried:
        return endpoints
    return tuple(e for e in endpoints if e.key not in tried) or endpoints


class Ledger:
    """The states of all clusters, by cluster name. Kept across policy swaps."""

    __slots__ = ("_lock", "_states")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[str, ClusterState] = {}

    def cluster(self, name: str) -> ClusterState:
        """Return the state of a cluster, made when first asked for."""
        state = self._states.get(name)
        if state is None:
            with self._lock:
                state = self._states.setdefault(name, ClusterState())
        return state

    def retain(self, names: Iterable[str]) -> None:
        """Forget the clusters that are not named, once nothing is in flight in them."""
        wanted = set(names)
        with self._lock:
            for name in [n for n in self._states if n not in wanted]:
                if not self._states[name].active() and not self._states[name].retries():
                    del self._states[name]

    def in_flight(self) -> dict[str, dict[str, int]]:
        """Return the calls in flight by cluster and endpoint; empty when nothing is."""
        found = {name: state.active() for name, state in list(self._states.items())}
        return {name: active for name, active in found.items() if active}
