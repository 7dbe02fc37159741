"""Consistent hashing: the same key goes to the same endpoint, and few keys move when one leaves.

Two tables, both of them Envoy's. A *ring* holds many points of each endpoint, and a key belongs to
the next point behind it. *Maglev* fills a table of prime size by turns, each endpoint in an order
of its own, and a key belongs to the entry at its remainder. Whoever is out, or was tried, is passed
over: the next entry of another endpoint is taken, so that all other keys stay where they are.

Source: Envoy, "Ring hash" and "Maglev" load balancers; xxHash64 as its authors describe it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Sequence
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshware.policy.clusters import Endpoint
    from meshware.policy.hash_rule import HashRule

__all__ = ["HashTable", "build_table", "xxh64"]

_MASK = (1 << 64) - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_MOST_POINTS = 8 * 1024 * 1024  # Envoy, maximum_ring_size


def xxh64(data: bytes, seed: int = 0) -> int:
    """Return the 64-bit xxHash of some bytes: quick, well mixed, and nothing to do with secrets."""
    size, at = len(data), 0
    if size >= 32:
        lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
        while at + 32 <= size:
            for lane in range(4):
                word = int.from_bytes(data[at : at + 8], "little")
                lanes[lane] = _round(lanes[lane], word)
                at += 8
        mixed = sum(_rotl(lane & _MASK, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True))
        for lane in lanes:
            mixed = ((mixed ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        mixed = (seed + _P5) & _MASK
    mixed = (mixed + size) & _MASK
    while at + 8 <= size:
        mixed ^= _round(0, int.from_bytes(data[at : at + 8], "little"))
        mixed = (_rotl(mixed, 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= size:
        mixed ^= (int.from_bytes(data[at : at + 4], "little") * _P1) & _MASK
        mixed = (_rotl(mixed, 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        mixed ^= (byte * _P5) & _MASK
        mixed = (_rotl(mixed, 11) * _P1) & _MASK
    mixed = ((mixed ^ (mixed >> 33)) * _P2) & _MASK
    mixed = ((mixed ^ (mixed >> 29)) * _P3) & _MASK
    return mixed ^ (mixed >> 32)


def _rotl(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK


def _round(lane: int, word: int) -> int:
    return (_rotl((lane + word * _P2) & _MASK, 31) * _P1) & _MASK


class HashTable:
    """Which endpoint a hash belongs to. Immutable."""

    __slots__ = ("_entries", "_points")

    def __init__(self, entries: Sequence[Endpoint], points: Sequence[int] | None) -> None:
        self._entries = entries
        self._points = points  # of a ring, sorted; None: the entries are found by remainder

    def find(self, hashed: int, passed_over: Collection[str]) -> Endpoint | None:
        """Return the endpoint of a hash.

        Args:
            hashed: 64 bits.
            passed_over: keys of endpoints that must not be chosen.

        Returns:
            None when nobody is left.
        """
        entries, size = self._entries, len(self._entries)
        at = (hashed if self._points is None else bisect_left(self._points, hashed)) % size
        if not passed_over:
            return entries[at]
        for step in range(size):
            endpoint = entries[(at + step) % size]
            if endpoint.key not in passed_over:
                return endpoint
        return None


def build_table(rule: HashRule, endpoints: Sequence[Endpoint]) -> HashTable:
    """Return the table of some endpoints; at least one."""
    if rule.is_maglev:
        return HashTable(_maglev(endpoints, rule.size), None)
    return _ring(endpoints, rule.size)


def _ring(endpoints: Sequence[Endpoint], smallest: int) -> HashTable:
    total = sum(endpoint.weight for endpoint in endpoints)
    least = min(endpoint.weight for endpoint in endpoints) / total
    # As many points as give the lightest endpoint a whole number of them.
    scale = min(ceil(least * smallest) / least, _MOST_POINTS)
    points: list[tuple[int, int]] = []
    wanted = 0.0
    for number, endpoint in enumerate(endpoints):
        wanted += scale * endpoint.weight / total
        have = len(points)
        for replica in range(max(0, ceil(wanted - 1e-9) - have)):
            points.append((xxh64(f"{endpoint.key}_{replica}".encode()), number))
    points.sort()
    return HashTable([endpoints[number] for _, number in points], [point for point, _ in points])


def _maglev(endpoints: Sequence[Endpoint], size: int) -> list[Endpoint]:
    table: list[Endpoint | None] = [None] * size
    heaviest = max(endpoint.weight for endpoint in endpoints)
    offsets, skips = [], []
    for endpoint in endpoints:
        key = endpoint.key.encode()
        offsets.append(xxh64(key) % size)
        skips.append(xxh64(key, 1) % (size - 1) + 1)
    targets = [0] * len(endpoints)
    filled, turn = 0, 0
    while filled < size:
        turn += 1
        for number, endpoint in enumerate(endpoints):
            if filled == size:
                break
            if turn * endpoint.weight < targets[number]:
                continue  # a lighter endpoint sits out some turns
            targets[number] += heaviest
            at, skip = offsets[number], skips[number]
            while table[at] is not None:
                at = (at + skip) % size
            table[at] = endpoint
            offsets[number] = (at + skip) % size
            filled += 1
    return [entry for entry in table if entry is not None]
