"""Who waits for a connection of a cluster, in the order in which they came.

Theory of operation. A request that finds all connections busy enters the queue and is given a
`Place`, which it waits with. Each request that ends calls the next place. A place that was called
stays reserved until its owner has come for it or has left, so that nobody who comes later gets
ahead.

Entering and folding happen under the lock of the cluster's state. Calling and leaving must be safe
anywhere, also in a generator's `finally` that the garbage collector runs on the very thread that
holds this lock: they take none, pop from a deque and append to another, and the next one who holds
the lock folds that in.

A place is either called or left, never both: who claims it first decides, atomically. One that was
called and is then given up passes its call on.

Source: Envoy, HTTP/1.1 connection pool, pending requests.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import Final, Literal, TypeVar

from meshware.call import Wait, Waiter

__all__ = ["LATE", "Place", "Queue", "turn"]

T = TypeVar("T")

LATE: Final = "late"
"""In place of an endpoint: there is no time left for an attempt."""

_CALLED, _UNCALLED, _GONE = range(3)


class Place(Waiter):
    """One request's place in a queue."""

    __slots__ = ("_unclaimed",)

    def __init__(self) -> None:
        super().__init__()
        self._unclaimed = deque((None,))

    def claim(self) -> bool:
        """Decide between calling it and leaving it: True to the first who asks."""
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        return True


class Queue:
    """The places of one cluster.

    Attributes:
        length: requests that wait, as folded last.
        reserved: of them called and not here yet, as folded last.
    """

    __slots__ = ("_happened", "_waiting", "length", "reserved")

    def __init__(self) -> None:
        self.length = 0
        self.reserved = 0
        self._waiting: deque[Place] = deque()
        self._happened: deque[int] = deque()

    # --- under the lock -----------------------------------------------------------------------

    def enter(self, *, is_again: bool) -> Place:
        """Take a place at the end; in front for one that was called, and came too late."""
        place = Place()
        self.length += 1
        (self._waiting.appendleft if is_again else self._waiting.append)(place)
        return place

    def fold(self) -> None:
        """Bring the numbers up to date."""
        happened = self._happened
        while happened:
            what = happened.popleft()
            if what == _CALLED:
                self.length -= 1
                self.reserved += 1
            elif what == _UNCALLED:
                self.reserved -= 1
            else:
                self.length -= 1

    def come(self) -> None:
        """End the reservation of a place that was called: its owner is here."""
        self.reserved -= 1

    # --- anywhere -----------------------------------------------------------------------------

    def call(self) -> None:
        """Call the next one who waits, if there is one."""
        while self._waiting:
            try:
                place = self._waiting.popleft()
            except IndexError:
                return
            if place.claim():
                self._happened.append(_CALLED)
                place.wake()
                return

    def leave(self, place: Place) -> None:
        """Give a place up, for its owner, who has not come for what it was called for."""
        if place.claim():
            self._happened.append(_GONE)
        else:
            self._happened.append(_UNCALLED)
            self.call()


def turn(
    place: Place,
    take: Callable[[Place], T | Place],
    leave: Callable[[Place], None],
    until: float | None,
    monotonic: Callable[[], float],
) -> Generator[Wait, object, T | Literal["late"]]:
    """Wait for a place to be called, as often as it takes, and return what was taken then.

    Args:
        place: in the queue.
        take: asks again, for a place that was called; returns another one to wait with.
        leave: gives a place up.
        until: monotonic seconds; None: no limit.
        monotonic: seconds.

    Returns:
        LATE when the time ran out before.
    """
    held: Place | None = place
    try:
        while held is not None:
            left_s = None if until is None else until - monotonic()
            if left_s is not None and left_s <= 0:
                break
            yield Wait(held, left_s)
            if not held.is_woken:
                continue
            called, held = held, None
            taken = take(called)
            if not isinstance(taken, Place):
                return taken
            held = taken
        return LATE
    finally:
        if held is not None:
            leave(held)
