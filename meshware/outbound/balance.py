"""Choose among endpoints: power of two choices, and the weighted schedule.

Pure: the calls in flight and the source of chance are handed in.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshware.policy.clusters import Endpoint

__all__ = ["Schedule", "pick_least_loaded"]


def pick_least_loaded(
    endpoints: Sequence[Endpoint], active: Mapping[str, int], rng: Random
) -> Endpoint:
    """Draw two endpoints and return the one with fewer calls in flight, the first on a tie.

    Source: Envoy, "Weighted least request", equal weights: the power of two choices.
    """
    count = len(endpoints)
    random = rng.random
    first = endpoints[int(random() * count)]
    second = endpoints[int(random() * count)]
    return second if active.get(second.key, 0) < active.get(first.key, 0) else first


class Schedule:
    """Weighted round robin by earliest deadline first.

    Each endpoint has a deadline; the earliest is taken, and moves on by one over its weight. With
    equal weights that is plain round robin. With `active` given the weight is divided by one more
    than the calls in flight, which is Envoy's least request over unequal weights. A random start
    keeps many workers from meeting at the first endpoint. Source: Envoy, EDF scheduler.
    """

    __slots__ = ("_heap",)

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        rng: Random,
        factor: Callable[[str], float] | None = None,
    ) -> None:
        start = int(rng.random() * len(endpoints))
        rotated = [*endpoints[start:], *endpoints[:start]]
        # The position breaks ties, so that endpoints themselves are never compared.
        self._heap = [
            (1 / (e.weight if factor is None else e.weight * factor(e.key)), position, e)
            for position, e in enumerate(rotated)
        ]
        heapq.heapify(self._heap)

    def next(
        self,
        tried: Collection[str],
        active: Mapping[str, int] | None,
        factor: Callable[[str], float] | None = None,
    ) -> Endpoint:
        """Return the endpoint whose turn it is, passing over `tried` while another is left.

        Args:
            tried: endpoint keys to pass over; they keep their turn.
            active: calls in flight by endpoint key; None: only the weights count.
            factor: what an endpoint's weight is multiplied by now; None: 1 for all.
        """
        heap = self._heap
        passed = []
        while heap and tried and heap[0][2].key in tried:
            passed.append(heapq.heappop(heap))
        if not heap:  # everything was tried: take turns all the same
            heap.extend(passed)
            heapq.heapify(heap)
            passed = []
        deadline, position, endpoint = heap[0]
        weight = endpoint.weight / (1 + active.get(endpoint.key, 0)) if active else endpoint.weight
        if factor is not None:
            weight *= factor(endpoint.key)
        heapq.heapreplace(heap, (deadline + 1 / weight, position, endpoint))
        for entry in passed:
            heapq.heappush(heap, entry)
        return endpoint
