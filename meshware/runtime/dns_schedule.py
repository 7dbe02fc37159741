"""Decide when each name is looked up, and what its answers are worth. It has no clock of its own.

Theory of operation
-------------------
1. A name that policy asks for is due at once. `take` hands it out, and it is due no more until
   `answered`.
2. A good answer replaces the one before and holds for its TTL, from 1 s to an hour; one without a
   TTL, or with 0, holds for `refresh_s`, as with Envoy.
3. A bad answer (no such name, a failing server, none at all, nothing that can be dialled) takes
   nothing away: the last good one stays, however old. The next look-up comes after 1 s, then 2, 4
   and so on, up to `refresh_s`.
4. A name that policy drops is forgotten.

What goes wrong is told once: a name that flaps tells the same again after ten minutes, and that it
is found again only after it told that it was not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from meshware.policy.addresses import parse_address

__all__ = ["Bad", "DnsFigures", "Good", "Outcome", "Schedule", "hold_s", "usable"]

SHORTEST_S = 1.0
"""TTLs are whole seconds; and more often than this no worker wants new policy."""

LONGEST_S = 3600.0
"""A TTL of a week is most often a mistake, and nobody could tell us that it was one."""

_TELL_AGAIN_S = 600.0

Reason = Literal["nxdomain", "nodata", "servfail", "timeout", "unusable", "error"]


@dataclass(frozen=True, slots=True)
class Good:
    """Addresses of a name, in the order of the answer; at least one."""

    addresses: tuple[str, ...]
    ttl_s: float | None = None  # None: the source knows no such thing


@dataclass(frozen=True, slots=True)
class Bad:
    """Why a look-up brought no address, and that in words."""

    reason: Reason
    detail: str


Outcome = Good | Bad


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsFigures:
    """What look-ups came to, at one moment."""

    names: int = 0
    failing: int = 0  # names whose last look-up was bad
    unresolved: int = 0  # names that never had an address
    lookups: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # by outcome


def hold_s(ttl_s: float | None, refresh_s: float) -> float:
    """Return for how many seconds a good answer holds."""
    if not ttl_s:
        return max(SHORTEST_S, refresh_s)
    return min(max(SHORTEST_S, ttl_s), LONGEST_S)


def wait_s(failures: int, refresh_s: float) -> float:
    """Return how many seconds after a bad answer the next look-up comes.

    Args:
        failures: bad answers in a row, counting this one; at least 1.
        refresh_s: the longest wait.
    """
    return min(SHORTEST_S * 2.0 ** min(failures - 1, 30), max(SHORTEST_S, refresh_s))


def usable(addresses: Iterable[str]) -> tuple[str, ...]:
    """Return the addresses that can be dialled, each once: no `0.0.0.0`, no multicast."""
    return tuple(
        dict.fromkeys(
            str(place)
            for place in map(parse_address, addresses)
            if place is not None and not place.is_unspecified and not place.is_multicast
        )
    )


@dataclass(slots=True)
class _Name:
    """What is known of one name."""

    due_at: float
    addresses: tuple[str, ...] = ()
    is_asked: bool = False  # somebody looks it up now
    is_answered: bool = False  # well or badly, since policy asked for it
    failures: int = 0  # in a row
    told_at: dict[str, float] = field(default_factory=dict)  # by reason
    is_told: bool = False  # that it fails, and not yet that it is found again


class Schedule:
    """The names that policy asks for. Not thread-safe: its owner locks.

    Attributes:
        version: grows with every change of what is known.
    """

    def __init__(self) -> None:
        self.version = 0
        self._names: dict[str, _Name] = {}
        self._seeds: Mapping[str, Sequence[str]] = {}
        self._refresh_s = 60.0
        self._lookups: Counter[str] = Counter()

    def seed(self, known: Mapping[str, Sequence[str]]) -> None:
        """Note what a process before this one had found: it holds until there is an answer."""
        self._seeds = known

    def want(self, names: Iterable[str], refresh_s: float, now: float) -> None:
        """Note which names policy asks for, all of them.

        Args:
            names: in lower case.
            refresh_s: how long an answer without a TTL holds, and the longest wait for the next.
            now: monotonic seconds.
        """
        self._refresh_s = refresh_s
        wanted = set(names)
        for name in [name for name in self._names if name not in wanted]:
            del self._names[name]
        for name in sorted(wanted.difference(self._names)):
            self._names[name] = _Name(now, usable(self._seeds.get(name, ())))
        self._seeds = {}
        self.version += 1

    def count(self) -> int:
        """Return how many names there are; safe without the lock."""
        return len(self._names)

    def known(self) -> dict[str, tuple[str, ...]]:
        """Return the last good answer of each name that ever had one."""
        return {name: it.addresses for name, it in self._names.items() if it.addresses}

    def is_waiting(self) -> bool:
        """Say whether a name without an address is still to be answered for the first time."""
        return any(not it.is_answered and not it.addresses for it in self._names.values())

    def due_at(self) -> float | None:
        """Return when the next name is due; None: none is, until one is answered or wanted."""
        return min((it.due_at for it in self._names.values() if not it.is_asked), default=None)

    def take(self, now: float) -> str | None:
        """Return the name that has been due the longest, now to be looked up; None: none is."""
        due = [(it.due_at, name) for name, it in self._names.items() if not it.is_asked]
        if not due or min(due)[0] > now:
            return None
        name = min(due)[1]
        self._names[name].is_asked = True
        return name

    def give_back(self) -> None:
        """Make all names that are being looked up due again: whoever did is gone."""
        for it in self._names.values():
            it.is_asked = False

    def answered(self, name: str, outcome: Outcome, now: float) -> str | None:
        """Take up what looking a name up came to. Returns a sentence for people, if there is news.

        Args:
            name: one that was taken.
            outcome: what came of it.
            now: monotonic seconds.
        """
        self._lookups["ok" if isinstance(outcome, Good) else outcome.reason] += 1
        it = self._names.get(name)
        if it is None:
            return None  # policy has dropped it meanwhile
        it.is_asked, it.is_answered = False, True
        if isinstance(outcome, Good):
            it.failures = 0
            it.due_at = now + hold_s(outcome.ttl_s, self._refresh_s)
            if it.addresses != outcome.addresses:
                it.addresses = outcome.addresses
                self.version += 1
            if not it.is_told:
                return None
            it.is_told = False
            return f"{name} is found again: {', '.join(outcome.addresses)}"
        it.failures += 1
        it.due_at = now + wait_s(it.failures, self._refresh_s)
        told_at = it.told_at.get(outcome.reason)
        if told_at is not None and now - told_at < _TELL_AGAIN_S:
            return None
        it.told_at[outcome.reason] = now
        it.is_told = True
        what = (
            f"calls go on to {', '.join(it.addresses)}, as it was answered last"
            if it.addresses
            else "it has no endpoint until it is found, and calls are 503"
        )
        return f"{name} cannot be looked up: {outcome.detail}; {what}; trying again"

    def figures(self) -> DnsFigures:
        """Return what look-ups came to so far."""
        names = self._names.values()
        return DnsFigures(
            names=len(names),
            failing=sum(it.failures > 0 for it in names),
            unresolved=sum(not it.addresses for it in names),
            lookups=MappingProxyType(dict(self._lookups)),
        )
