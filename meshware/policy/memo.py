"""Parts that are compiled when they are first asked for, and kept while their records stay."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from enum import Enum, auto
from typing import Final, Generic, Literal, TypeVar

__all__ = ["MISSING", "Digest", "Memo", "Missing"]

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Digest = str | None
"""Of a record; None: there is none."""

# Names that the mesh does not know are remembered too, but anyone can ask for any number of them.
_MOST_REMEMBERED = 10_000


class Missing(Enum):
    """Stands for "not compiled yet" where None means "does not exist"."""

    MISSING = auto()


MISSING: Final = Missing.MISSING


class Memo(Generic[K, T]):
    """Compiled parts by key, each with the records that it rests on."""

    def __init__(self) -> None:
        self._parts: dict[K, T] = {}
        self._rests_on: dict[K, Mapping[str, Digest]] = {}

    def get(self, key: K) -> T | Literal[Missing.MISSING]:
        """Return a part; `MISSING`: it was not compiled yet."""
        return self._parts.get(key, MISSING)

    def parts(self) -> list[T]:
        """Return all of them."""
        return list(self._parts.values())

    def put(self, key: K, part: T, rests_on: Mapping[str, Digest]) -> None:
        """Remember a part; all are forgotten where there are too many."""
        if len(self._parts) >= _MOST_REMEMBERED:
            self._parts.clear()
            self._rests_on.clear()
        self._rests_on[key] = rests_on
        self._parts[key] = part

    def take_over(self, previous: Memo[K, T], digest: Callable[[str], Digest]) -> None:
        """Keep what rests on records that are the same now."""
        same: dict[tuple[str, Digest], bool] = {}
        for key, part in list(previous._parts.items()):
            rests_on = previous._rests_on[key]
            for pair in rests_on.items():
                if pair not in same:
                    same[pair] = digest(pair[0]) == pair[1]
            if all(same[pair] for pair in rests_on.items()):
                self.put(key, part, rests_on)
