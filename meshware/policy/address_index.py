"""Find the entries in whose blocks an address lies, whatever their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meshware.policy.addresses import Address, parse_block

__all__ = ["AddressIndex"]


class AddressIndex:
    """Entry numbers by block: a look-up for each length of prefix that occurs.

    Raises:
        ValueError: a block is none.
    """

    __slots__ = ("_lengths",)

    def __init__(self, entries: Mapping[str, Sequence[int]]) -> None:
        lengths: dict[tuple[int, int], dict[int, list[int]]] = {}
        for text, numbers in entries.items():
            block = parse_block(text)
            shift = block.max_prefixlen - block.prefixlen
            table = lengths.setdefault((block.version, shift), {})
            table.setdefault(int(block.network_address) >> shift, []).extend(numbers)
        self._lengths = tuple((*length, table) for length, table in lengths.items())

    def find(self, address: Address) -> list[int]:
        """Return the numbers of the entries in one of whose blocks an address lies."""
        number, version = int(address), address.version
        found: list[int] = []
        for of, shift, table in self._lengths:
            if of == version:
                found += table.get(number >> shift, ())
        return found
