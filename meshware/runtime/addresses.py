"""Put what DNS finds into records: at once where policy is new, and again when answers change.

The daemon does this before it publishes, and a process without a daemon when it reads YAML itself.
As long as policy asks for no name, no thread is started and no resolver is looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meshware.policy.dns_records import dns_names, known_addresses, refresh_s, with_addresses
from meshware.runtime.dns_lookup import Lookup
from meshware.runtime.dns_schedule import DnsFigures
from meshware.runtime.resolver import WARM_S, Resolver

__all__ = ["AddressBook"]

Records = Mapping[str, bytes]


class AddressBook:
    """The addresses of all names that one policy asks for. For one thread at a time.

    Args:
        make_lookup: returns the way to look names up; called with the first names.
        tell: told in a sentence, from any thread, when a name fails or is found again.
        on_change: told, from any thread, that `refill` will have news.
    """

    def __init__(
        self,
        make_lookup: Callable[[], Lookup],
        tell: Callable[[str], None],
        on_change: Callable[[], None] | None = None,
    ) -> None:
        self._make_lookup = make_lookup
        self._tell = tell
        self._on_change = on_change or (lambda: None)
        self._resolver: Resolver | None = None
        self._seeds: dict[str, tuple[str, ...]] = {}
        self._records: Records = {}
        self._filled: Records = {}
        self._version = 0

    def seed(self, published: Records) -> None:
        """Note what an earlier process had found and published: it holds until there are answers.

        So a daemon that starts while DNS is down takes no endpoint away.
        """
        self._seeds = known_addresses(published)

    def fill(self, records: Records, warm_s: float = WARM_S) -> Records:
        """Return new policy with the addresses that are known.

        Args:
            records: the whole policy; replaces the one before.
            warm_s: how long to wait for names that nobody has looked up yet.
        """
        names = dns_names(records)
        if names and self._resolver is None:
            self._resolver = Resolver(self._make_lookup(), self._tell, self._on_change)
            self._resolver.seed(self._seeds)
        if self._resolver is not None:
            self._resolver.want(names, refresh_s(records))
            self._resolver.warm(warm_s)
        self._records = records
        return self._merged()

    @property
    def records(self) -> Records:
        """The policy of the last `fill`, as it was handed in."""
        return self._records

    @property
    def has_news(self) -> bool:
        """Whether `refill` may have something to say; looks at a number, and waits for nobody."""
        return self._resolver is not None and self._resolver.version != self._version

    def refill(self) -> Records | None:
        """Return the policy of the last `fill` with newer addresses; None: it has none."""
        resolver = self._resolver
        if resolver is None:
            return None
        resolver.keep_on()
        if not self.has_news:
            return None
        before = self._filled
        filled = self._merged()
        return None if filled == before else filled

    def figures(self) -> DnsFigures:
        """Return what look-ups came to so far. From any thread."""
        return DnsFigures() if self._resolver is None else self._resolver.figures()

    def stop(self) -> None:
        """Look nothing up any more."""
        if self._resolver is not None:
            self._resolver.stop()

    def _merged(self) -> Records:
        if self._resolver is None:
            self._filled = self._records
        else:
            self._version = self._resolver.version  # first: what comes meanwhile is seen later
            self._filled = with_addresses(self._records, self._resolver.known())
        return self._filled
