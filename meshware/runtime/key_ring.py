"""Keep the keys of token issuers fresh, in threads of its own: no call ever waits for an issuer."""

from __future__ import annotations

import random
import time
import weakref
from collections.abc import Callable, Iterable, Mapping

from meshware.policy.jwks_records import JwksSource
from meshware.policy.record_types import KeyFetching
from meshware.runtime.background import Work, do_nothing, say_nothing
from meshware.runtime.fork import renew_after_fork
from meshware.runtime.jwks_schedule import (
    Failed,
    FetchJob,
    JwksFigures,
    JwksSchedule,
    Outcome,
)

__all__ = ["Fetch", "KeyRing"]

Fetch = Callable[[FetchJob], Outcome]
"""Fetch the keys of one issuer, from any thread; may take as long as its rule allows."""


class KeyRing:
    """The keys of the issuers that policy asks for, kept fresh. Safe to use from any thread.

    It starts with the first addresses that are wanted, and ends with `stop` or when nobody holds
    it.

    Args:
        fetch: fetches the keys of one issuer.
        rng: chance.
        tell: told in a sentence, from a thread of ours, when an address fails or is mended.
        on_change: told, from a thread of ours, that keys have changed. It must not hold the ring.
        monotonic: seconds.
    """

    def __init__(
        self,
        fetch: Fetch,
        rng: random.Random,
        tell: Callable[[str], None] = say_nothing,
        on_change: Callable[[], None] = do_nothing,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._schedule = JwksSchedule(rng)
        self._monotonic = monotonic
        self._work: Work[FetchJob, Outcome] = Work(
            self._schedule,
            fetch,
            _failed,
            tell=tell,
            on_change=on_change,
            monotonic=monotonic,
            name="meshware-keys",
        )
        weakref.finalize(self, self._work.stop).atexit = False
        renew_after_fork(self)

    def seed(self, known: Mapping[str, str]) -> None:
        """Note what was known before this process began. Once, before addresses are wanted."""
        with self._work.condition:
            self._schedule.seed(known)

    def want(self, sources: Iterable[JwksSource], rules: KeyFetching) -> None:
        """Fetch from these addresses from now on, and no others; see `JwksSchedule.want`."""
        condition = self._work.condition
        with condition:
            self._schedule.want(sources, rules, self._monotonic())
            condition.notify_all()
        self._work.start()

    def warm(self, most_s: float, *, are_known_enough: bool = True) -> None:
        """Wait until each address has a first answer.

        Args:
            most_s: seconds, and no longer.
            are_known_enough: an address whose keys are known from before need not be waited for.
        """
        schedule, condition = self._schedule, self._work.condition
        with condition:
            condition.wait_for(
                lambda: not schedule.is_waiting(are_known_enough=are_known_enough), most_s
            )

    def unknown_keys(self, keys: Iterable[str]) -> None:
        """Have addresses fetched anew whose keys do not include one that a token names.

        Args:
            keys: of the records that have their keys.
        """
        condition = self._work.condition
        with condition:
            now = self._monotonic()
            for key in keys:
                self._schedule.unknown_key(key, now)
            condition.notify_all()

    def keep_on(self) -> None:
        """See to it that the threads run: in a forked child those of the parent do not."""
        self._work.start()

    @property
    def version(self) -> int:
        """A number that grows when keys change; read without waiting."""
        return self._schedule.version

    def known(self) -> dict[str, str]:
        """Return the last good key set of each address that has one."""
        with self._work.condition:
            return self._schedule.known()

    def figures(self) -> JwksFigures:
        """Return what fetches came to so far."""
        with self._work.condition:
            return self._schedule.figures()

    def stop(self) -> None:
        """Fetch nothing any more; what is known stays known."""
        self._work.stop()

    def renew(self) -> None:
        """Forget threads and locks, in a child process: they are the parent's."""
        self._work.renew()


def _failed(error: Exception) -> Outcome:
    return Failed("error", f"meshware failed: {type(error).__name__}")
