"""Sets of characters as RE2 has them: named classes, categories of Unicode, case folding."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["LAST", "PERL", "POSIX", "Ranges", "category", "complement", "folded", "merged"]

Ranges = tuple[tuple[int, int], ...]
"""Code points as sorted, separate, inclusive ranges."""

LAST = sys.maxunicode
_LAST_WITH_CASE = 0x1FFFF  # no letter beyond the first two planes has cases
_DIGIT: Ranges = ((48, 57),)
_WORD: Ranges = ((48, 57), (65, 90), (95, 95), (97, 122))
_SPACE: Ranges = ((9, 10), (12, 13), (32, 32))
PERL = {"d": _DIGIT, "w": _WORD, "s": _SPACE}
POSIX: dict[str, Ranges] = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": _DIGIT,
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return ranges sorted, and those that touch as one."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)


def complement(ranges: Ranges) -> Ranges:
    """Return every character that is in none of these."""
    found = []
    start = 0
    for low, high in ranges:
        if low > start:
            found.append((start, low - 1))
        start = high + 1
    if start <= LAST:
        found.append((start, LAST))
    return tuple(found)


@lru_cache(maxsize=32)
def category(name: str) -> Ranges:
    """Return the characters of a general category of Unicode.

    Raises:
        ValueError: there is none of this name.
    """
    if name == "Any":
        return ((0, LAST),)
    points = [
        point for point in range(LAST + 1) if unicodedata.category(chr(point)).startswith(name)
    ]
    is_name = 1 <= len(name) <= 2 and name[0].isupper() and name[1:].islower() == bool(name[1:])
    if not is_name or not points or name in ("Cn", "C"):
        raise ValueError(
            f"`\\p{{{name}}}` is not supported; write a general category such as `\\p{{L}}`, "
            "or the characters as ranges"
        )
    return merged((point, point) for point in points)


def folded(ranges: Ranges) -> Ranges:
    """Add every character that differs only in case."""
    found = list(ranges)
    for point, others in _orbits().items():
        if any(low <= point <= high for low, high in ranges):
            found += [(other, other) for other in others]
    return merged(found)


@lru_cache(maxsize=1)
def _orbits() -> dict[int, tuple[int, ...]]:
    """Map each character that has cases to the others of its kind, by simple case folding."""
    orbits: dict[str, set[int]] = {}
    for point in range(_LAST_WITH_CASE + 1):
        char = chr(point)
        for other in (char.lower(), char.upper()):
            if len(other) == 1 and other != char:
                key = other.lower() if len(other.lower()) == 1 else other
                orbits.setdefault(key, set()).update((point, ord(other)))
    return {point: tuple(sorted(orbit - {point})) for orbit in orbits.values() for point in orbit}
