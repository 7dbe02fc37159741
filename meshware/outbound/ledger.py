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
from collections.abc import Collection, Iterable, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, Literal, Union

from meshware.outbound.balance import pick_least_loaded
from meshware.outbound.choice import Chooser, Wish, untried
from meshware.outbound.levels import loads
from meshware.outbound.outlier import OutlierState
from meshware.outbound.queue import Place, Queue

if TYPE_CHECKING:
    from meshware.policy.clusters import Cluster, Endpoint
    from meshware.policy.limits import Budget

__all__ = ["OVERFLOW", "ClusterState", "Lease", "Ledger", "Taken"]

OVERFLOW: Final = "overflow"
"""In place of an endpoint: one more request would be over the limit."""


_RETRY = ""  # stands for a retry among the keys of endpoints that are given back


class Lease:
    """One attempt's hold on an endpoint, or a call's on a retry.

    `release` may be called anywhere, any number of times.
    """

    __slots__ = ("_key", "_queue", "_returned")

    def __init__(self, key: str, returned: deque[str], queue: Queue | None = None) -> None:
        self._key: str | None = key
        self._returned = returned
        self._queue = queue  # of those who may wait for this to be given back

    def release(self) -> None:
        """Give the endpoint back; takes no lock."""
        key, self._key = self._key, None
        if key is not None:
            self._returned.append(key)
            if self._queue is not None:
                self._queue.call()


Taken = Union["tuple[Endpoint, Lease]", Literal["overflow", "late"], None]
"""What came of asking for an endpoint."""


class ClusterState:
    """Calls in flight by endpoint, who waits, who is ejected, and whose turn it is."""

    __slots__ = (
        "_active",
        "_chooser",
        "_lock",
        "_outlier",
        "_queue",
        "_retries",
        "_returned",
    )

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active: dict[str, int] = {}
        self._returned: deque[str] = deque()
        self._retries = 0
        self._queue = Queue()
        self._outlier = OutlierState()
        self._chooser = Chooser(self._active, self._outlier)

    def take(
        self,
        cluster: Cluster,
        tried: Sequence[str],
        rng: Random,
        now: float,
        hashed: int | None = None,
        *,
        place: Place | None = None,
        away_from: Collection[str] = (),
    ) -> Taken | Place:
        """Choose an endpoint and hold it; None when there is none, or all are ejected.

        OVERFLOW: as many requests are under way, or wait, as policy allows. A `Place`: every
        connection is busy; ask again with the place when it has been called, or `leave` it.

        Args:
            cluster: whose endpoints to choose from.
            tried: keys of endpoints to leave out while another is left, the last one at the end.
            rng: the source of chance.
            now: monotonic seconds.
            hashed: of what keeps the caller at one endpoint; None: nothing does.
            place: the one that was called.
            away_from: keys of endpoints whose levels to leave out while another is left.
        """
        if not cluster.endpoints:
            return None
        limits = cluster.limits
        with self._lock:
            self._fold()
            if limits.connections is not None:
                self._queue.fold()
                if place is not None:
                    self._queue.come()
            if limits.requests is not None and sum(self._active.values()) >= limits.requests:
                self._pass_on(place)
                return OVERFLOW
            if cluster.is_plain:  # what most clusters are
                endpoint = pick_least_loaded(untried(cluster.endpoints, tried), self._active, rng)
            else:
                wish = Wish(tried, rng, now, hashed, away_from)
                chosen = self._chooser.choose(cluster, wish)
                if chosen is None:
                    self._pass_on(place)
                    return None
                endpoint = chosen
            if limits.connections is not None and self._is_busy(limits.connections, endpoint):
                if limits.pending is not None and self._queue.length >= limits.pending:
                    self._pass_on(place)
                    return OVERFLOW
                waits = self._queue.enter(is_again=place is not None)
                self._fold()
                self._queue.fold()
                if self._is_busy(limits.connections, endpoint):
                    return waits
                self._queue.leave(waits)  # something was given back just now
            self._active[endpoint.key] = self._active.get(endpoint.key, 0) + 1
        queue = self._queue if limits.connections is not None else None
        return endpoint, Lease(endpoint.key, self._returned, queue)

    def leave(self, place: Place) -> None:
        """Give up a place in the queue that nobody came back with; takes no lock."""
        self._queue.leave(place)

    def retry(self, cluster: Cluster, budget: Budget | None = None) -> Lease | None:
        """Hold a retry, from its decision to its outcome; None: there are as many as may be.

        Args:
            cluster: where it goes.
            budget: in place of the cluster's.
        """
        limits = cluster.limits
        budget = budget or limits.budget
        with self._lock:
            self._fold()
            most = limits.retries
            if budget is not None:
                # Envoy: of the requests under way, and of those that wait for a connection.
                self._queue.fold()
                asked_for = sum(self._active.values()) + self._queue.length + self._queue.reserved
                most = max(budget.least, int(budget.ratio * asked_for))
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

    def failed(self, cluster: Cluster, key: str, now: float, *, is_connected: bool = True) -> None:
        """Count against an endpoint that no answer came, or a broken one."""
        if cluster.outlier is not None:
            with self._lock:
                self._outlier.failed(
                    key, cluster.keys, cluster.outlier, now, is_connected=is_connected
                )

    def eject(self, cluster: Cluster, key: str, now: float) -> bool:
        """Eject an endpoint, for whoever asks what would then be; False: policy does not let it."""
        if cluster.outlier is None:
            return False
        with self._lock:
            return self._outlier.eject(key, cluster.keys, cluster.outlier, now)

    def ejected(self, cluster: Cluster, now: float) -> frozenset[str]:
        """Return the keys of the endpoints that are out now."""
        if cluster.outlier is None:
            return frozenset()
        with self._lock:
            return self._outlier.ejected(cluster.keys, cluster.outlier, now)

    def standing(self, cluster: Cluster, now: float) -> list[tuple[float, frozenset[str]]]:
        """Return the share of calls of each level of a cluster, and whom of it no call goes to."""
        rule, levels = cluster.outlier, cluster.levels or ()
        out: frozenset[str] = frozenset()
        if rule is not None:
            with self._lock:
                out = self._outlier.out(cluster.keys, rule, now)
        shares = loads(levels, out, rule.min_health_percent if rule else 0)
        return [
            (share, frozenset() if panics else level.keys & out)
            for level, (share, panics) in zip(levels, shares, strict=True)
        ]

    def _pass_on(self, place: Place | None) -> None:
        """Have the next one come, in place of one that was called and gets nothing."""
        if place is not None:
            self._queue.call()

    def _is_busy(self, connections: int, endpoint: Endpoint) -> bool:
        """Say whether a request must wait for a connection; whoever was called comes first.

        Envoy: an endpoint without any connection may always have one.
        """
        active, reserved = self._active, self._queue.reserved
        if endpoint.key not in active and not reserved:
            return False
        return sum(active.values()) + reserved >= connections

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
