"""Let objects that hold threads, locks or file locks start afresh in a child process."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["Renewable", "renew_after_fork"]


class Renewable(Protocol):
    """What has to shed its threads and locks when the process is copied."""

    def renew(self) -> None:
        """Forget, in a child, what only the parent has. Must not wait for any lock."""
        ...


_things: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_after_fork(thing: Renewable) -> None:
    """Have `thing.renew()` called in every child that this process forks from now on."""
    _things.add(thing)


def _renew_all() -> None:
    for thing in list(_things):
        thing.renew()


os.register_at_fork(after_in_child=_renew_all)
