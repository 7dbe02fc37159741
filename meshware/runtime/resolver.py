"""Keep the addresses of names fresh, in threads of its own: nobody ever waits for DNS in a call.

The threads take names from a `Schedule` as they fall due. Several, since a name whose servers do
not answer holds its thread for seconds, and must not keep the others from being looked up.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence

from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.dns_schedule import Bad, DnsFigures, Outcome, Schedule
from meshware.runtime.fork import renew_after_fork

__all__ = ["WARM_S", "Resolver"]

MOST_THREADS = 8

WARM_S = 0.3
"""How long new policy waits for the first answers of new names: longer than DNS nearby takes, and
short enough for an edit to be published within a second."""


def _do_nothing() -> None:
    """Tell nobody of new addresses."""


def _say_nothing(_sentence: str) -> None:
    """Tell nobody what went wrong."""


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
        tell: Callable[[str], None] = _say_nothing,
        on_change: Callable[[], None] = _do_nothing,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._work = _Work(lookup, tell, on_change, monotonic)
        weakref.finalize(self, self._work.stop).atexit = False
        renew_after_fork(self)

    def seed(self, known: Mapping[str, Sequence[str]]) -> None:
        """Note what was known before this process began. Once, before names are wanted."""
        with self._work.condition:
            self._work.schedule.seed(known)

    def want(self, names: Iterable[str], refresh_s: float) -> None:
        """Look these names up from now on, and no others; see `Schedule.want`."""
        work = self._work
        with work.condition:
            work.schedule.want(names, refresh_s, work.monotonic())
            work.condition.notify_all()
        work.start()

    def warm(self, most_s: float = WARM_S) -> None:
        """Wait until each name has an address or a first answer, for `most_s` seconds at most."""
        work = self._work
        with work.condition:
            work.condition.wait_for(lambda: not work.schedule.is_waiting(), most_s)

    def keep_on(self) -> None:
        """See to it that the threads run: in a forked child those of the parent do not."""
        self._work.start()

    @property
    def version(self) -> int:
        """A number that grows when addresses change; read without waiting."""
        return self._work.schedule.version

    def known(self) -> dict[str, tuple[str, ...]]:
        """Return the last good answer of each name that ever had one."""
        with self._work.condition:
            return self._work.schedule.known()

    def figures(self) -> DnsFigures:
        """Return what look-ups came to so far."""
        with self._work.condition:
            return self._work.schedule.figures()

    def stop(self) -> None:
        """Look nothing up any more; what is known stays known."""
        self._work.stop()

    def renew(self) -> None:
        """Forget threads and locks, in a child process: they are the parent's."""
        self._work.renew()


class _Work:
    """What the threads share; they hold this and not the resolver, so that it can be let go."""

    def __init__(
        self,
        lookup: Lookup,
        tell: Callable[[str], None],
        on_change: Callable[[], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.schedule = Schedule()
        self.monotonic = monotonic
        self._lookup = lookup
        self._tell = tell
        self._on_change = on_change
        self.renew()

    def renew(self) -> None:
        self.condition = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_stopped = False
        self.schedule.give_back()

    def start(self) -> None:
        """Start as many threads as there are names, up to a limit. Cheap when they run."""
        wanted = min(MOST_THREADS, self.schedule.count())
        if len(self._threads) >= wanted and not self._is_stopped:
            return
        with self.condition:
            self._is_stopped = False
            while len(self._threads) < wanted:
                thread = threading.Thread(target=self._run, name="meshware-resolver", daemon=True)
                thread.start()
                self._threads.append(thread)

    def stop(self) -> None:
        with self.condition:
            self._is_stopped = True
            self._threads = []
            self.schedule.give_back()
            self.condition.notify_all()

    def _run(self) -> None:
        condition, me = self.condition, threading.current_thread()
        while True:
            with condition:
                name = self._next(me)
            if name is None:
                return
            outcome = self._look_up(name)
            with condition:
                if me not in self._threads:
                    return
                before = self.schedule.version
                news = self.schedule.answered(name, outcome, self.monotonic())
                is_changed = self.schedule.version != before
                condition.notify_all()
            if news is not None:
                self._tell(news)
            if is_changed:
                self._on_change()

    def _next(self, me: threading.Thread) -> str | None:
        """Wait for a name that is due; None: there is to be no more. The lock is held."""
        while me in self._threads:
            name = self.schedule.take(self.monotonic())
            if name is not None:
                return name
            due_at = self.schedule.due_at()
            self.condition.wait(None if due_at is None else max(0.0, due_at - self.monotonic()))
        return None

    def _look_up(self, name: str) -> Outcome:
        try:
            return self._lookup(name)
        except Exception as error:
            # Else the thread would end, and with it all look-ups: whatever it was, it is told.
            return Bad("error", f"{type(error).__name__}: {error}")
