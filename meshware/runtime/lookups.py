"""Put into records what policy only names: addresses of names, keys of issuers.

The daemon does this before it publishes, and a process without a daemon when it reads YAML itself:
at once where policy is new, and again when there is something newer. As long as policy names
nothing of a kind, no thread is started for it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping

from meshware.policy.jwks_records import asked_sources, key_fetching, known_keys, with_keys
from meshware.runtime.addresses import AddressBook
from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.dns_schedule import DnsFigures
from meshware.runtime.jwks_schedule import FetchJob, JwksFigures, Outcome
from meshware.runtime.key_ring import Fetch, KeyRing
from meshware.runtime.resolver import WARM_S

__all__ = ["Lookups"]

Records = Mapping[str, bytes]


def _fetch_by(lookup: Lookup) -> Fetch:
    def fetch(job: FetchJob) -> Outcome:
        # Here, in a thread: cryptography and ssl take a while, and nobody's policy waits for them.
        from meshware.runtime.jwks_fetch import KeyFetcher

        return KeyFetcher(lookup)(job)

    return fetch


class Lookups:
    """What one policy has to be completed with. For one thread at a time.

    Args:
        make_lookup: returns the way to look names up; called when there is one to look up.
        tell: told in a sentence, from any thread, when something fails or is mended.
        on_change: told, from any thread, that `refill` will have news.
        rng: chance; None: of its own.
        make_fetch: returns the way to fetch keys.
        monotonic: seconds, by which keys fall due.

    Attributes:
        news: what the last `refill` that brought something has brought.
    """

    def __init__(
        self,
        make_lookup: Callable[[], Lookup],
        tell: Callable[[str], None],
        on_change: Callable[[], None] | None = None,
        *,
        rng: random.Random | None = None,
        make_fetch: Callable[[Lookup], Fetch] = _fetch_by,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._make_lookup = make_lookup
        self._make_fetch = make_fetch
        self._tell = tell
        self._on_change = on_change or (lambda: None)
        self._rng = rng or random.Random()
        self._monotonic = monotonic
        self._lookup: Lookup | None = None
        self._addresses = AddressBook(self._one_lookup, tell, on_change)
        self._keys: KeyRing | None = None
        self._seeds: dict[str, str] = {}
        self.news = "new addresses"
        self._version = 0  # of the keys that are in `_filled`
        self._records: Records = {}
        self._addressed: Records = {}
        self._filled: Records = {}

    def seed(self, published: Records) -> None:
        """Note what an earlier process had found and published: it holds until there are answers.

        So a daemon that starts while the network is down takes nothing away.
        """
        self._addresses.seed(published)
        self._seeds = known_keys(published)

    def fill(self, records: Records, warm_s: float = WARM_S, *, is_only: bool = False) -> Records:
        """Return new policy with what is known.

        Args:
            records: the whole policy; replaces the one before.
            warm_s: how long to wait for the first answers, of all together.
            is_only: there will be no other time: keys that are known are waited for too.
        """
        self._records = records
        self._want_keys(records)
        until = time.monotonic() + warm_s
        self._addressed = self._addresses.fill(records, warm_s)
        if self._keys is not None:
            # Policy goes without keys, and again with them: nothing else waits for an issuer.
            self._keys.warm(max(0.0, until - time.monotonic()), are_known_enough=not is_only)
        return self._merged()

    @property
    def records(self) -> Records:
        """The policy of the last `fill`, as it was handed in."""
        return self._records

    @property
    def has_news(self) -> bool:
        """Whether `refill` may have something to say; waits for nobody."""
        return self._addresses.has_news or self._has_new_keys

    def refill(self) -> Records | None:
        """Return the policy of the last `fill` with newer answers; None: there are none.

        What is newer, `news` says after it.
        """
        if self._keys is not None:
            self._keys.keep_on()
        addressed = self._addresses.refill()
        has_new_keys = self._has_new_keys
        if addressed is not None:
            self._addressed = addressed
        elif not has_new_keys:
            return None
        kinds = [("addresses", addressed is not None), ("keys", has_new_keys)]
        self.news = "new " + " and ".join(kind for kind, is_new in kinds if is_new)
        before = self._filled
        filled = self._merged()
        return None if filled == before else filled

    def unknown_keys(self, keys: Iterable[str]) -> None:
        """Note that tokens name keys which are not among those of some addresses.

        Args:
            keys: of the records that have the keys of those addresses.
        """
        if self._keys is not None:
            self._keys.unknown_keys(keys)

    def dns_figures(self) -> DnsFigures:
        """Return what look-ups of names came to so far. From any thread."""
        return self._addresses.figures()

    def jwks_figures(self) -> JwksFigures:
        """Return what fetches of keys came to so far. From any thread."""
        return JwksFigures() if self._keys is None else self._keys.figures()

    def stop(self) -> None:
        """Look for nothing any more."""
        self._addresses.stop()
        if self._keys is not None:
            self._keys.stop()

    @property
    def _has_new_keys(self) -> bool:
        return self._keys is not None and self._keys.version != self._version

    def _want_keys(self, records: Records) -> None:
        sources = asked_sources(records)
        if sources and self._keys is None:
            fetch = self._make_fetch(self._one_lookup())
            self._keys = KeyRing(
                fetch, self._rng, self._tell, self._on_change, monotonic=self._monotonic
            )
            self._keys.seed(self._seeds)
        if self._keys is not None:
            self._keys.want(sources, key_fetching(records))

    def _merged(self) -> Records:
        if self._keys is None:
            self._filled = self._addressed
        else:
            self._version = self._keys.version  # first: what comes meanwhile is seen later
            self._filled = with_keys(self._addressed, self._keys.known())
        return self._filled

    def _one_lookup(self) -> Lookup:
        if self._lookup is None:
            self._lookup = self._make_lookup()
        return self._lookup
