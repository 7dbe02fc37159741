"""Put a check in front of a framework's own method, once for each class that has one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["guard"]

_MARK = "_meshware_guard"
_lock = threading.Lock()
_guarded: set[tuple[type, str]] = set()


def guard(owner: type, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Replace a method wherever a class or its bases define it. Does so once for each.

    Args:
        owner: the class.
        name: the method's name.
        make: gets the method, and returns the one in its place.
    """
    if (owner, name) in _guarded:
        return
    with _lock:
        for base in owner.__mro__[:-1]:
            method = vars(base).get(name)
            if callable(method) and not hasattr(method, _MARK):
                made = functools.wraps(method)(make(method))
                setattr(made, _MARK, True)
                setattr(base, name, made)
        _guarded.add((owner, name))
