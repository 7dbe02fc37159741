"""The connections that have carried a request, for as long as aiohttp's sessions keep them.

A session's connector knows nothing of rules. So each connection is looked at when it has been
taken, and those of a rule that nobody has any more are closed when a call finds that out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Hashable
from typing import Any
from weakref import WeakKeyDictionary

from meshware.clients.connections import Life
from meshware.policy.pool_rule import PoolRule

__all__ = ["Lives", "Used"]

_MOST_USERS = 10_000


class Used:
    """A connection that has carried a request.

    Attributes:
        life: how long it may be used.
        version: of what it was made for.
    """

    __slots__ = ("_is_busy", "_loop", "life", "version")

    def __init__(self, rule: PoolRule, version: Hashable) -> None:
        self.life = Life(rule)
        self.version = version
        self._is_busy = False
        self._loop = asyncio.get_running_loop()

    def begin(self) -> None:
        """Say that a request begins to go over it."""
        self._is_busy = True
        self.life.begin()

    def rest(self) -> None:
        """Say that it is free."""
        self._is_busy = False
        self.life.rest()

    def retire(self, protocol: Any) -> None:
        """Close it, when it is free."""
        with contextlib.suppress(RuntimeError):  # its loop is no more
            self._loop.call_soon_threadsafe(
                protocol.force_close if self._is_busy else protocol.close
            )


class Lives:
    """The connections of all sessions that a middleware serves, by aiohttp's protocols."""

    def __init__(self) -> None:
        self._used: WeakKeyDictionary[Any, Used] = WeakKeyDictionary()
        self._versions: dict[Hashable, Hashable] = {}  # by user

    def get(self, protocol: Any) -> Used | None:
        """Return what is known of a connection; None: it has carried nothing."""
        return self._used.get(protocol)

    def add(self, protocol: Any, rule: PoolRule, version: Hashable) -> Used:
        """Note that a connection carries its first request."""
        used = self._used[protocol] = Used(rule, version)
        return used

    def note(self, user: Hashable, version: Hashable) -> None:
        """Note which version a user has now, and retire the connections of its last one.

        Args:
            user: who calls, such as a cluster.
            version: what changes when policy does, or a file that it names.
        """
        before = self._versions.get(user)
        if before == version:
            return
        if len(self._versions) >= _MOST_USERS:
            self._versions.clear()
        self._versions[user] = version
        if before is None or before in self._versions.values():
            return
        for protocol, used in list(self._used.items()):
            if used.version == before:
                used.retire(protocol)
