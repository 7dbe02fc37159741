"""Values of CEL: their kinds, how they compare, and what lists and maps have.

=============  ===============================================
CEL            here
=============  ===============================================
int, uint      `int`, `Uint`; 64 bits, beyond which is an error
double         `float`
string, bytes  `str`, `bytes`
bool, null     `bool`, `None`
list, map      `tuple`, `Table`, or what attributes give as a map
timestamp      aware `datetime`
duration       `timedelta`
=============  ===============================================

Everything raises `TypeError` for kinds that do not go together, `ValueError` for values that do
not, and `KeyError` for what a map does not have. Source: the CEL specification.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from meshware.policy.cel_tree import Uint

__all__ = ["COMPARISONS", "Table", "equal", "index", "is_in", "is_number", "kind_of"]


class Table(dict[object, object]):
    """A map literal. Keys of unlike kinds stay apart: `true` is not `1`."""

    def __init__(self, pairs: Iterable[tuple[object, object]]) -> None:
        for key, value in pairs:
            plain = _key(key)
            if plain in self:
                raise ValueError(f"the map has {key!r} twice")
            self[plain] = value


def _key(key: object) -> object:
    if isinstance(key, bool):
        return ("bool", key)
    if isinstance(key, int | str) or (isinstance(key, float) and key.is_integer()):
        return key
    raise TypeError("a key is a text, a whole number or a truth value")


def is_number(value: object) -> bool:
    """Say whether a value is a number of any kind; a truth value is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def kind_of(value: object) -> str:
    """Return the name of a value's kind."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return "null" if value is None else "map"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "bool"), (Uint, "uint"), (int, "int"), (float, "double"), (str, "string"),
    (bytes, "bytes"), (tuple, "list"), (datetime, "timestamp"), (timedelta, "duration"),
)  # fmt: skip


# --- comparison -------------------------------------------------------------------------------


def equal(left: object, right: object) -> bool:
    """Say whether two values are equal; those of unlike kinds are not, but for numbers."""
    if is_number(left) and is_number(right):
        return left == right
    if kind_of(left) != kind_of(right):
        return False
    if isinstance(left, tuple) and isinstance(right, tuple):
        return len(left) == len(right) and all(map(equal, left, right))
    if isinstance(left, Table) and isinstance(right, Table):
        return left.keys() == right.keys() and all(equal(left[key], right[key]) for key in left)
    return left == right


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, object], bool]:
    def decide(left: object, right: object) -> bool:
        if is_number(left) and is_number(right):
            return compare(left, right)
        kind = kind_of(left)
        if kind != kind_of(right) or kind in ("null", "map", "list"):
            raise TypeError(f"{kind} and {kind_of(right)} have no order")
        return compare(left, right)

    return decide


COMPARISONS: Mapping[str, Callable[[object, object], bool]] = MappingProxyType(
    {
        "==": equal,
        "!=": lambda left, right: not equal(left, right),
        "<": _ordered(lambda left, right: left < right),
        "<=": _ordered(lambda left, right: left <= right),
        ">": _ordered(lambda left, right: left > right),
        ">=": _ordered(lambda left, right: left >= right),
    }
)


def is_in(item: object, of: object) -> bool:
    """Say whether a list or map has an item or key."""
    if isinstance(of, tuple):
        return any(equal(item, each) for each in of)
    if isinstance(of, Table):
        return _key(item) in of
    if kind_of(of) != "map":
        raise TypeError(f"{kind_of(of)} has nothing in it")
    return item in of  # type: ignore[operator]


def index(of: object, key: object) -> object:
    """Return a member of a list or map."""
    if isinstance(of, tuple):
        if not isinstance(key, int) or isinstance(key, bool):
            raise TypeError("the index of a list is a whole number")
        if not 0 <= key < len(of):
            raise ValueError("the list is shorter")
        return of[key]
    if isinstance(of, Table):
        return of[_key(key)]
    if kind_of(of) != "map":
        raise TypeError(f"{kind_of(of)} has no members")
    return of[key]  # type: ignore[index]
