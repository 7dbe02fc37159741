"""Keep the addresses of names fresh, in threads of its own: nobody ever waits for DNS in a call."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from meshware.runtime.background import MOST_THREADS, Work, do_nothing, say_nothing
from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.dns_schedule import Bad, DnsFigures, Outcome, Schedule
from meshware.runtime.fork import renew_after_fork

__all__ = ["MOST_THREADS", "WARM_S", "Resolver"]

WARM_S = 0.3
"""How long new policy waits for the first answers of new names: longer than DNS nearby takes, and
short enough for an edit to be published within a second."""


class Resolver:
    """The addresses of the names that policy asks for, kept fresh. Safe to use from any thread.

    It starts with the first names that are wanted, and ends with `stop` or when nobody holds it.

    Args:
        lookup: looks one name up.
        tell: told in a sentence, from a thread of ours, when a name fails or is found again.
        on_change: told, from a thread of ours, that addresses have changed. It must not hold the
            resolver, or nobody would ever let go of it.
        monotonic: seconds.
    """

    def __init__(
        self,
        lookup: Lookup,
        tell: Callable[[str], None] = say_nothing,
        on_change: Callable[[], None] = do_nothing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule = Schedule()
        self._monotonic = monotonic
        self._work: Work[str, Outcome] = Work(
            self._schedule,
            lookup,
            _failed,
            tell=tell,
            on_change=on_change,
            monotonic=monotonic,
            name="meshware-resolver",
        )
        weakref.finalize(self, self._work.stop).atexit = False
        renew_after_fork(self)

    def seed(self, known: Mapping[str, Sequence[str]]) -> None:
        """Note what was known before this process began. Once, before names are wanted."""
        with self._work.condition:
            self._schedule.seed(known)

    def want(self, names: Iterable[str], refresh_s: float) -> None:
        """Look these names up from now on, and no others; see `Schedule.want`."""
        condition = self._work.condition
        with condition:
            self._schedule.want(names, refresh_s, self._monotonic())
            condition.notify_all()
        self._work.start()

    def warm(self, most_s: float = WARM_S) -> None:
        """Wait until each name has an address or a first answer, for `most_s` seconds at most."""
        condition = self._work.condition
        with condition:
            condition.wait_for(lambda: not self._schedule.is_waiting(), most_s)

    def keep_on(self) -> None:
        """See to it that the threads run: in a forked child those of the parent do not."""
        self._work.start()

    @property
    def version(self) -> int:
        """A number that grows when addresses change; read without waiting."""
        return self._schedule.version

    def known(self) -> dict[str, tuple[str, ...]]:
        """Return the last good answer of each name that ever had one."""
        with self._work.condition:
            return self._schedule.known()

    def figures(self) -> DnsFigures:
        """Return what look-ups came to so far."""
        with self._work.condition:
            return self._schedule.figures()

    def stop(self) -> None:
        """Look nothing up any more; what is known stays known."""
        self._work.stop()

    def renew(self) -> None:
        """Forget threads and locks, in a child process: they are the parent's."""
        self._work.renew()


def _failed(error: Exception) -> Outcome:
    return Bad("error", f"{type(error).__name__}: {error}")
