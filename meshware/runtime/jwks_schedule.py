"""Decide when the keys of each issuer are fetched, and what a fetch is worth. It has no clock.

Theory of operation
-------------------
1. An address that policy asks for is due at once. `take` hands it out, and it is due no more until
   `answered`: there are never two fetches of one address at the same time.
2. Good keys replace those before, and are fetched again after 20 minutes.
3. A bad fetch takes nothing away: the last good keys stay. The next one comes after a minute, then
   2, 4 and so on, up to an hour; each a little earlier by chance, so that a thousand machines do
   not come at once. Keys that could not be fetched for 7 days are good no longer.
4. A token that names a key which nobody knows makes its address due at once, though no sooner than
   30 s after the last fetch began: so many tokens of strangers come to one fetch in 30 s.
5. An address that policy drops is forgotten, 30 s after its last fetch: policy that flaps is no way
   around 4. What policy says of fetching has changed: all is due at once, for whoever mends policy
   waits for it.

What goes wrong is told once, and again when it is something else.

Source: Istio's JwksResolver, whose numbers these are; the 30 s are ours.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from meshware.policy.jwks_records import JwksSource, jwks_key
from meshware.policy.key_urls import shown_url
from meshware.policy.record_types import KeyFetching

__all__ = [
    "Failed",
    "Fetched",
    "FetchJob",
    "JwksFigures",
    "JwksSchedule",
    "KeyFinding",
    "Outcome",
    "wait_s",
]

REFRESH_S = 20 * 60.0  # Istio PILOT_JWT_PUB_KEY_REFRESH_INTERVAL
FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 60 * 60.0
REFETCH_S = 30.0
KEPT_S = 7 * 86400.0
_JITTER = 0.25  # of a wait, by which it may be shorter


@dataclass(frozen=True, slots=True)
class Fetched:
    """A key set that can be used, as JSON."""

    keys: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a fetch brought no keys: in one word, and in a sentence that says what to mend."""

    reason: str
    detail: str


Outcome = Fetched | Failed


@dataclass(frozen=True, slots=True)
class FetchJob:
    """One fetch: of what, and how it is allowed."""

    source: JwksSource
    rules: KeyFetching


@dataclass(frozen=True, slots=True)
class KeyFinding:
    """An address whose last fetch was bad."""

    uri: str  # as people are told of it
    message: str
    has_keys: bool  # those of before go on


@dataclass(frozen=True, slots=True, kw_only=True)
class JwksFigures:
    """What fetches came to, at one moment."""

    sources: int = 0
    missing: int = 0  # that have no keys
    unanswered: int = 0  # that were never answered, well or badly
    fetches: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))  # by outcome
    findings: tuple[KeyFinding, ...] = ()


def wait_s(failures: int, rng: random.Random) -> float:
    """Return how many seconds after a bad fetch the next one comes.

    Args:
        failures: bad fetches in a row, counting this one; at least 1.
        rng: chance.
    """
    longest = min(FIRST_WAIT_S * 2.0 ** min(failures - 1, 30), LONGEST_WAIT_S)
    return longest * (1.0 - _JITTER * rng.random())


@dataclass(slots=True)
class _Source:
    """What is known of one address."""

    source: JwksSource
    due_at: float
    keys: str | None
    good_at: float  # when its keys were fetched, or policy first asked
    asked_at: float = float("-inf")  # when the last fetch began
    dropped_at: float | None = None  # by policy
    is_asked: bool = False  # somebody fetches it now
    is_answered: bool = False  # well or badly, since policy asked for it
    failures: int = 0  # in a row
    failed: Failed | None = None  # the last fetch
    told: str | None = None  # what was told of it; None: nothing is wrong

    @property
    def earliest_at(self) -> float:
        """When the next fetch may begin, whatever asks for it."""
        return self.asked_at + REFETCH_S


class JwksSchedule:
    """The keys that policy asks for. Not thread-safe: its owner locks.

    Args:
        rng: chance.

    Attributes:
        version: grows with every change of what is known.
    """

    def __init__(self, rng: random.Random) -> None:
        self.version = 0
        self._rng = rng
        self._sources: dict[str, _Source] = {}  # by the key of its record
        self._seeds: Mapping[str, str] = {}
        self._rules = KeyFetching()
        self._fetches: Counter[str] = Counter()

    def seed(self, known: Mapping[str, str]) -> None:
        """Note what a process before this one had fetched: it holds until there is an answer.

        Args:
            known: key sets, by address.
        """
        self._seeds = known

    def want(self, sources: Iterable[JwksSource], rules: KeyFetching, now: float) -> None:
        """Note which addresses policy asks for, all of them.

        Args:
            sources: each address once.
            rules: what policy says of fetching.
            now: monotonic seconds.
        """
        wanted = {jwks_key(source.uri): source for source in sources}
        for key, it in list(self._sources.items()):
            if key in wanted:
                it.dropped_at = None
            elif it.dropped_at is None:
                it.dropped_at = now
            if it.dropped_at is not None and now >= it.earliest_at:
                del self._sources[key]
        has_other_rules = rules != self._rules
        self._rules = rules
        for key, source in sorted(wanted.items()):
            found = self._sources.get(key)
            if found is None:
                keys = self._seeds.get(source.uri)
                self._sources[key] = _Source(source, due_at=now, keys=keys, good_at=now)
                continue
            is_other = found.source.question != source.question
            found.source = source
            if is_other:
                found.keys = None  # they were another issuer's
            if is_other or has_other_rules:
                found.due_at, found.is_answered = now, False
        self._seeds = {}
        self.version += 1

    def count(self) -> int:
        """Return how many addresses there are; safe without the lock."""
        return len(self._sources)

    def known(self) -> dict[str, str]:
        """Return the last good key set of each address that ever had one."""
        return {it.source.uri: it.keys for it in self._wanted() if it.keys is not None}

    def is_waiting(self, *, are_known_enough: bool = True) -> bool:
        """Say whether an address is still to be answered for the first time.

        Args:
            are_known_enough: one whose keys are known from before does not count.
        """
        return any(
            not it.is_answered and not (are_known_enough and it.keys) for it in self._wanted()
        )

    def unknown_key(self, key: str, now: float) -> None:
        """Note that a token names a key which is not among those of an address.

        Args:
            key: of the record that has the address's keys; one of no address means nothing.
            now: monotonic seconds.
        """
        it = self._sources.get(key)
        if it is not None and not it.is_asked and it.dropped_at is None:
            it.due_at = min(it.due_at, max(now, it.earliest_at))

    def due_at(self) -> float | None:
        """Return when the next address is due; None: none is, until one is answered or wanted."""
        return min((it.due_at for it in self._wanted() if not it.is_asked), default=None)

    def take(self, now: float) -> FetchJob | None:
        """Return the address that has been due the longest, now to be fetched; None: none is."""
        due = [it for it in self._wanted() if not it.is_asked and it.due_at <= now]
        if not due:
            return None
        it = min(due, key=lambda it: (it.due_at, it.source.uri))
        it.is_asked, it.asked_at = True, now
        return FetchJob(it.source, self._rules)

    def give_back(self) -> None:
        """Make all addresses that are being fetched due again: whoever did is gone."""
        for it in self._sources.values():
            it.is_asked = False

    def answered(self, job: FetchJob, outcome: Outcome, now: float) -> str | None:
        """Take up what a fetch came to. Returns a sentence for people, if there is news.

        Args:
            job: one that was taken.
            outcome: what came of it.
            now: monotonic seconds.
        """
        self._fetches["ok" if isinstance(outcome, Fetched) else outcome.reason] += 1
        it = self._sources.get(jwks_key(job.source.uri))
        if it is None:
            return None  # policy has dropped it meanwhile
        it.is_asked = False
        if (it.source.question, self._rules) != (job.source.question, job.rules):
            return None  # policy asks for something else meanwhile; that is due
        it.is_answered = True
        if isinstance(outcome, Fetched):
            return self._take_up(it, outcome.keys, now)
        return self._bear(it, outcome, now)

    def figures(self) -> JwksFigures:
        """Return what fetches came to so far."""
        wanted = sorted(self._wanted(), key=lambda it: it.source.uri)
        return JwksFigures(
            sources=len(wanted),
            missing=sum(it.keys is None for it in wanted),
            unanswered=sum(not it.is_answered for it in wanted),
            fetches=MappingProxyType(dict(self._fetches)),
            findings=tuple(
                KeyFinding(shown_url(it.source.uri), _what_fails(it), it.keys is not None)
                for it in wanted
                if it.failed is not None
            ),
        )

    def _wanted(self) -> list[_Source]:
        return [it for it in self._sources.values() if it.dropped_at is None]

    def _take_up(self, it: _Source, keys: str, now: float) -> str | None:
        it.failures, it.failed = 0, None
        it.good_at, it.due_at = now, now + REFRESH_S
        if it.keys != keys:
            it.keys = keys
            self.version += 1
        if it.told is None:
            return None
        it.told = None
        return f"the keys of {shown_url(it.source.uri)} are fetched again"

    def _bear(self, it: _Source, failed: Failed, now: float) -> str | None:
        it.failures, it.failed = it.failures + 1, failed
        it.due_at = now + wait_s(it.failures, self._rng)
        if it.keys is not None and now - it.good_at >= KEPT_S:
            it.keys = None
            self.version += 1
        sentence = _what_fails(it)
        if sentence == it.told:
            return None
        it.told = sentence
        return f"the keys of {shown_url(it.source.uri)} cannot be fetched: {sentence}; trying again"


def _what_fails(it: _Source) -> str:
    assert it.failed is not None
    what = (
        "those fetched before go on"
        if it.keys is not None
        else "tokens that need them are refused with 401"
    )
    return f"{it.failed.detail}; {what}"
