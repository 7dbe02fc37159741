"""Measure how late what is due gets to run in this process: its lag.

Theory of operation
-------------------
Once a second a thread of ours looks. Where the app's event loop is known, the look asks the loop to
run a callback at once, from outside, and the callback notes how long it took to be called: what a
call waits before its next step runs. One callback waits at a time; while it waits, its waiting is
the lag. The loop is held weakly and asked only while it runs, so nothing keeps it alive, and a loop
that somebody stopped has no lag.

Without a loop the same thread is the measure: how much later than due it woke, which is what every
thread of the process waits for the interpreter and a processor. Under gevent it is a greenlet of
the hub's, and what it is late is the hub's lag.

What is told is the worst of the last ten seconds, in whole milliseconds: a loop that is blocked now
and then would else be met in a good moment, and a report be written anew for nothing.
"""

from __future__ import annotations

import sys
import weakref
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

__all__ = ["Lag", "LagOf", "Lateness"]

LagOf = Literal["loop", "thread"]

KEPT_S = 10.0
_EVERY_S = 0.9  # looks come each second, and at each change of the report besides


class Lateness(NamedTuple):
    """How late, and what was."""

    lag_s: float
    of: LagOf


class Lag:
    """The lag of one process. Looked at by one thread; loops and calls of any thread take part.

    Args:
        monotonic: seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.renew()

    def renew(self) -> None:
        """Forget the parent's loop, in a child process."""
        self._loop: weakref.ref[AbstractEventLoop] | None = None
        self._asked_at: float | None = None
        self._looked_at = float("-inf")
        self._of_loop: deque[tuple[float, float]] = deque(maxlen=16)  # seen at, late by
        self._of_thread: deque[tuple[float, float]] = deque(maxlen=16)

    @property
    def has_loop(self) -> bool:
        """Whether there is a loop to be asked; forgets one that is closed or gone."""
        loop = self._loop() if self._loop is not None else None
        if loop is None or loop.is_closed():
            self._loop = self._asked_at = None
            return False
        return True

    def meet_loop(self) -> None:
        """Take the loop that runs in this thread, where asyncio's is one; else nothing."""
        asyncio = sys.modules.get("asyncio")  # not to be imported where no app has use for it
        if asyncio is None:
            return
        try:
            self._loop = weakref.ref(asyncio.get_running_loop())
        except (RuntimeError, TypeError):  # none runs, as under trio; or one that cannot be so held
            return
        self._asked_at = None

    def woke(self, late_s: float) -> None:
        """Note how late our thread woke."""
        self._of_thread.append((self._monotonic(), max(late_s, 0.0)))

    def look(self) -> Lateness | None:
        """Return the worst lag of late, and measure anew. None: nothing was measured."""
        now = self._monotonic()
        if not self.has_loop:
            worst = _worst(self._of_thread, now)
            return None if worst is None else Lateness(worst, "thread")
        loop = self._loop() if self._loop is not None else None
        worst = _worst(self._of_loop, now)
        if loop is not None and loop.is_running():
            asked_at = self._asked_at
            if asked_at is not None:
                worst = max(worst or 0.0, round(now - asked_at, 3))
            elif now - self._looked_at >= _EVERY_S:
                self._ask(loop, now)
        return None if worst is None else Lateness(worst, "loop")

    def _ask(self, loop: AbstractEventLoop, now: float) -> None:
        self._looked_at = self._asked_at = now
        try:
            loop.call_soon_threadsafe(self._answered, now)
        except RuntimeError:  # closed since
            self._asked_at = None

    def _answered(self, asked_at: float) -> None:
        """Note when the loop ran this. In the loop's thread."""
        now = self._monotonic()
        self._of_loop.append((now, now - asked_at))
        if self._asked_at == asked_at:  # else it is of a loop that was forgotten
            self._asked_at = None


def _worst(seen: deque[tuple[float, float]], now: float) -> float | None:
    lags = [late_s for at, late_s in tuple(seen) if now - at <= KEPT_S]
    return round(max(lags), 3) if lags else None
