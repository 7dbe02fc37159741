"""The last calls that were refused or failed, kept for whoever looks at this process.

Theory of operation. An event may be told anywhere, also in a finalizer that garbage collection runs
on the very thread that is telling another one, so nothing waits for a lock here. A good call costs
one comparison or two. A record costs some microseconds, so of a flood only some a second are made:
so many of one kind, that a flood of these does not keep all others out, and so many in all. What is
left out is counted, and the next record says how many that were.
"""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable

from meshware.events import Event, InboundEvent
from meshware.telemetry.call_record import (
    CallRecord,
    is_inbound_trouble,
    is_outbound_trouble,
    of_call,
)

__all__ = ["MOST_A_SECOND", "MOST_CALLS", "MOST_OF_A_KIND", "CallRing"]

MOST_CALLS = 200
"""Records of one process."""

MOST_A_SECOND = 20
"""Records that are made in any one second."""

MOST_OF_A_KIND = 5
"""Those of them that have one status, reason and policy, or go to one service."""


class CallRing:
    """An event sink that keeps refused and failed calls. Safe from any thread.

    Args:
        monotonic: time in seconds.
        now: unix time in seconds.
        most_calls: are kept.
    """

    def __init__(
        self,
        monotonic: Callable[[], float],
        now: Callable[[], float],
        most_calls: int = MOST_CALLS,
    ) -> None:
        self._monotonic = monotonic
        self._now = now
        self._calls: deque[CallRecord] = deque(maxlen=most_calls)
        self.renew()

    def renew(self) -> None:
        """Begin with nothing, in a child process."""
        self._calls.clear()
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # taken without waiting
        self._second = -1
        self._kinds: dict[object, int] = {}
        self._made = 0  # in this second
        self._left_out = 0  # since the last record

    def __call__(self, event: Event) -> None:
        """Keep a call that was refused or failed; others are none of its business."""
        if isinstance(event, InboundEvent):
            if not is_inbound_trouble(event):
                return
            kind: object = (event.status, event.passage.reason, event.passage.policy)
        else:
            if not is_outbound_trouble(event):
                return
            kind = (event.status, event.flags, event.service)
        left_out = self._take(kind)
        if left_out is None:
            return
        self._calls.append(of_call(event, next(self._numbers), self._now(), left_out))

    @property
    def left_out(self) -> int:
        """How many calls were not kept since the last that was."""
        return self._left_out

    def snapshot(self) -> list[CallRecord]:
        """Return what is kept, oldest first."""
        # A copy in C does not give up the interpreter in the middle: nobody appends meanwhile.
        return list(self._calls)

    def _take(self, kind: object) -> int | None:
        """Return how many calls were left out before this one; None: leave it out, too."""
        if not self._lock.acquire(blocking=False):
            # Two threads at once, or one within itself: that it may be one too few is no matter.
            self._left_out += 1
            return None
        try:
            second = int(self._monotonic())
            if second != self._second:
                self._second, self._made = second, 0
                self._kinds.clear()
            of_kind = self._kinds.get(kind, 0)
            if self._made >= MOST_A_SECOND or of_kind >= MOST_OF_A_KIND:
                self._left_out += 1
                return None
            self._made += 1
            self._kinds[kind] = of_kind + 1
            left_out, self._left_out = self._left_out, 0
            return left_out
        finally:
            self._lock.release()
