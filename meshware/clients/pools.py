"""One inner transport for each pool of connections, bounded in number, all closed at the end.

Connections of two pools are never shared: what one service was checked for says nothing about
another at the same address.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ["MAX_POOLS", "Lent", "Pools"]

T = TypeVar("T")

MAX_POOLS = 256
"""More services than this in one process is rare; each idle one costs a few KiB."""

_MOST_USERS = 10_000


class Lent(Generic[T]):
    """An inner transport, and how many calls use it now.

    `take` and `give_back` may run at any time in any thread, also in garbage collection, so they
    take no lock: appending to a deque and popping from it are atomic.
    """

    __slots__ = ("_users", "inner", "last_use", "version")

    def __init__(self, inner: T, version: Hashable = None) -> None:
        self.inner = inner
        self.version = version
        self.last_use = 0  # a count of uses of all pools, not a time
        self._users: deque[None] = deque()

    def take(self) -> None:
        """Say that a call begins to use it."""
        self._users.append(None)

    def give_back(self) -> None:
        """Say that a call has done with it; once for each `take`."""
        self._users.pop()

    @property
    def is_idle(self) -> bool:
        """Whether no call uses it now."""
        return not self._users


class Pools(Generic[T]):
    """Inner transports by the name of their pool. Safe to use from any thread.

    Args:
        make: makes the inner transport for a key.
        limit: how many are kept. Those in use are never dropped, so there may be more for a while.
    """

    def __init__(self, make: Callable[[Hashable], T], limit: int = MAX_POOLS) -> None:
        self._make = make
        self._limit = limit
        self._lent: dict[Hashable, Lent[T]] = {}
        self._versions: dict[Hashable, Hashable] = {}  # by user
        self._retired: list[Lent[T]] = []
        self._lock = threading.Lock()
        self._uses = 0
        _all_pools.add(self)

    def take(self, key: Hashable, user: Hashable = None, version: Hashable = None) -> Lent[T]:
        """Return the transport of a pool, taken for one call.

        Args:
            key: of the pool; all that its connections have in common.
            user: who calls for it, such as a cluster; None: nobody in particular.
            version: the part of the key that changes when policy does, or a file that it names.
                A user has one at a time: pools of one that nobody has any more are closed, each
                when no call uses it.
        """
        while True:
            if user is not None and self._versions.get(user) != version:
                self._change(user, version)
            lent = self._lent.get(key)
            if lent is None:
                with self._lock:
                    lent = self._lent.get(key)
                    if lent is None:
                        lent = self._lent[key] = Lent(self._make(key), version)
            lent.take()
            if self._lent.get(key) is lent:  # else it was taken out or retired just before
                self._uses = lent.last_use = self._uses + 1  # a race blurs only the order of use
                return lent
            lent.give_back()

    def _change(self, user: Hashable, version: Hashable) -> None:
        """Note that a user has another version, and retire the pools of its last one."""
        with self._lock:
            before = self._versions.get(user)
            if len(self._versions) >= _MOST_USERS:
                self._versions.clear()
            self._versions[user] = version
            if before is None or before in self._versions.values():
                return
            for key in [key for key, lent in self._lent.items() if lent.version == before]:
                self._retired.append(self._lent.pop(key))

    def surplus(self) -> list[T]:
        """Take out and return the idle transports that are retired, or longest unused and too many.

        The caller closes them. Cheap when there are none.
        """
        taken_out = self._take_out_retired() if self._retired else []
        if len(self._lent) <= self._limit:
            return taken_out
        with self._lock:
            idle = [(lent.last_use, key) for key, lent in self._lent.items() if lent.is_idle]
            idle.sort(key=lambda pair: pair[0])
            for _, key in idle[: max(0, len(self._lent) - self._limit)]:
                lent = self._lent.pop(key)
                if lent.is_idle:
                    taken_out.append(lent.inner)
                else:  # taken by a call since
                    self._lent[key] = lent
            return taken_out

    def _take_out_retired(self) -> list[T]:
        with self._lock:
            # A call may have found one just before it was retired, and take it just after this
            # look; `take` sees that it was, and gives it back unused.
            idle: list[T] = []
            in_use: list[Lent[T]] = []
            for lent in self._retired:
                if lent.is_idle:
                    idle.append(lent.inner)
                else:
                    in_use.append(lent)
            self._retired = in_use
            return idle

    def take_out_all(self) -> list[T]:
        """Take out and return every transport, in use or not, for the caller to close."""
        with self._lock:
            inners = [lent.inner for lent in (*self._lent.values(), *self._retired)]
            self._lent, self._versions, self._retired = {}, {}, []
            return inners

    def _forget(self) -> None:
        """Start anew in a forked child: the parent's connections are the parent's to use."""
        self._lock = threading.Lock()
        self._lent, self._versions, self._retired = {}, {}, []


_all_pools: weakref.WeakSet[Pools[Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for pools in list(_all_pools):
        pools._forget()


os.register_at_fork(after_in_child=_forget_all)
