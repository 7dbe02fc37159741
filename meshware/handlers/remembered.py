"""Names of handlers, made once for each: what they are read from does not change."""

from __future__ import annotations

from collections.abc import Callable, Hashable

from meshware.policy.inbound_facts import Handler

__all__ = ["remembered"]

_MOST = 4096
"""Handlers that are remembered; a caller may invent methods, each of which counts."""

_known: dict[Hashable, tuple[object, Handler]] = {}


def remembered(owner: object, key: Hashable, make: Callable[[], Handler]) -> Handler:
    """Return the names of a handler.

    Args:
        owner: the route or view; it is kept, so that its id stays its own.
        key: what else the names depend on.
        make: makes them.
    """
    place = (id(owner), key)
    found = _known.get(place)
    if found is None:
        if len(_known) >= _MOST:
            _known.clear()
        found = _known[place] = owner, make()
    return found[1]
