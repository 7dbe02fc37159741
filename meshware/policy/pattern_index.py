"""Find the few entries whose pattern a text may match, whatever their number.

Exact values are looked up by hash, and prefixes of a few lengths too. Else prefixes lie sorted: the
greatest of them that is not behind a text, or one that it begins with, is the longest that the text
begins with. So a look-up takes time logarithmic in their number, however many lengths there are.
Suffixes are the same, backwards.

Every prefix keeps what all the shorter ones that it begins with find. Of entries that ask the same
of everything else only the first can ever decide there, and only that one is kept.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Kept", "PatternIndex", "Prefixes", "chain_weights"]

Numbers = tuple[int, ...]

Kept = Callable[[Sequence[int]], Numbers]
"""Returns which of some entries, any number of which may match together, can ever decide."""

_FEW_LENGTHS = 6
"""With no more lengths of prefixes than that, each is looked up by hash: it touches less memory."""

_MOST_GATHERED = 32
"""So many entries of shorter prefixes are kept beside a prefix; more are looked up one by one."""


def _all(numbers: Sequence[int]) -> Numbers:
    return tuple(numbers)


class Prefixes:
    """Entry numbers by what a text begins with.

    A prefix that begins with another is below it. `_jump` leads far up: by it the lowest one that
    fits is found in logarithmic time, where many that do not are nested (Myers' skew-binary jumps).
    """

    __slots__ = ("_gathered", "_jump", "_own", "_parent", "_texts")

    def __init__(self, entries: Mapping[str, Sequence[int]], kept: Kept = _all) -> None:
        self._texts = ["", *sorted(entries)]
        self._parent = [0]
        self._jump = [0]
        self._own: list[Numbers] = [()]
        self._gathered: list[Numbers | None] = [()]  # None: too many, follow the parents
        depth = [0]
        above = [0]
        for at, text in enumerate(self._texts[1:], 1):
            while not text.startswith(self._texts[above[-1]]):
                above.pop()
            parent = above[-1]
            above.append(at)
            self._parent.append(parent)
            depth.append(depth[parent] + 1)
            far = self._jump[parent]
            is_even = depth[parent] - depth[far] == depth[far] - depth[self._jump[far]]
            self._jump.append(self._jump[far] if is_even else parent)
            own = tuple(entries[text])
            higher = self._gathered[parent]
            gathered = None if higher is None else kept(own + higher) if higher else kept(own)
            if gathered is not None and len(gathered) > _MOST_GATHERED + len(own):
                gathered = None
            self._own.append(own)
            self._gathered.append(gathered)

    def finder(self) -> Callable[[str], Sequence[int]]:
        """Return `find`, or what does the same by hash, where the prefixes are of few lengths."""
        lengths = sorted({len(text) for text in self._texts[1:]}, reverse=True)
        if len(lengths) > _FEW_LENGTHS:
            return self.find
        known: dict[str, Numbers] = {}
        for text, gathered in zip(self._texts, self._gathered, strict=True):
            if gathered is None:
                return self.find
            known[text] = gathered

        def find(text: str) -> Numbers:
            for length in lengths:
                found = known.get(text[:length])
                if found is not None:
                    return found
            return ()

        return find

    def find(self, text: str) -> Sequence[int]:
        """Return the numbers of the entries with whose prefix a text begins."""
        texts = self._texts
        at = bisect_right(texts, text) - 1
        while not text.startswith(texts[at]):
            far = self._jump[at]
            at = self._parent[at] if text.startswith(texts[far]) else far
        found = self._gathered[at]
        if found is not None:
            return found
        numbers: list[int] = []
        while at and self._gathered[at] is None:
            numbers += self._own[at]
            at = self._parent[at]
        numbers += self._gathered[at] or ()
        return numbers


class PatternIndex:
    """Entry numbers by the values of a field: `abc`, `abc*` and `*abc`.

    It answers which entries may match, never which do.
    """

    __slots__ = ("_exact", "_prefixes", "_suffixes")

    def __init__(self, entries: Mapping[str, Sequence[int]], kept: Kept = _all) -> None:
        """Take entries by value; no value is `*`.

        Args:
            entries: the numbers of the entries, by each of their values.
            kept: tells which of several that match together are needed.
        """
        exact: dict[str, Numbers] = {}
        prefixes: dict[str, Sequence[int]] = {}
        suffixes: dict[str, Sequence[int]] = {}
        for value, numbers in entries.items():
            if value.startswith("*"):
                suffixes[value[:0:-1]] = numbers
            elif value.endswith("*"):
                prefixes[value[:-1]] = numbers
            else:
                exact[value] = kept(numbers)
        self._exact = exact
        self._prefixes = Prefixes(prefixes, kept) if prefixes else None
        self._suffixes = Prefixes(suffixes, kept) if suffixes else None

    def finder(self) -> Callable[[str], Sequence[int]]:
        """Return `find`, or what does the same in fewer steps where there are prefixes alone."""
        if self._prefixes is not None and not self._exact and self._suffixes is None:
            return self._prefixes.finder()
        return self.find

    def find(self, text: str) -> Sequence[int]:
        """Return the numbers of the entries that may match; one may come twice."""
        found: Sequence[int] = self._exact.get(text, ())
        if self._prefixes is not None:
            more = self._prefixes.find(text)
            found = (*found, *more) if found and more else found or more
        if self._suffixes is not None:
            more = self._suffixes.find(text[::-1])
            found = (*found, *more) if found and more else found or more
        return found


def chain_weights(counts: Mapping[str, int]) -> dict[str, int]:
    """Return for each prefix how many entries one text finds at the most that begins with it.

    Args:
        counts: of entries, by prefix.
    """
    texts = sorted(counts)
    from_above: list[int] = []
    parents: list[int] = []
    above: list[int] = []
    for at, text in enumerate(texts):
        while above and not text.startswith(texts[above[-1]]):
            above.pop()
        parents.append(above[-1] if above else -1)
        from_above.append(counts[text] + (from_above[above[-1]] if above else 0))
        above.append(at)
    for at in range(len(texts) - 1, -1, -1):
        parent = parents[at]
        if parent >= 0 and from_above[at] > from_above[parent]:
            from_above[parent] = from_above[at]
    return dict(zip(texts, from_above, strict=True))
