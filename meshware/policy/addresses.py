"""IP addresses and blocks in decisions: any text is taken without a crash, look-ups are flat."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

__all__ = ["UNIX_PREFIX", "Address", "AddressSet", "parse_address", "parse_block"]

UNIX_PREFIX = "unix://"
"""What comes before the path of a socket where an endpoint's address is one."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Block = ipaddress.IPv4Network | ipaddress.IPv6Network


_LONGEST = 64  # characters of an address, its zone included; callers may write longer texts


def parse_address(text: str | None) -> Address | None:
    """Return an address; None for what is none (a Unix socket's path, `garbage`, nothing at all).

    An IPv6 zone (`fe80::1%eth0`) is cut, and an IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`)
    is the IPv4 address.
    """
    return None if text is None or len(text) > _LONGEST else _parsed(text)


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def parse_block(text: str) -> Block:
    """Return an address or CIDR block; bits behind the prefix are ignored, as Envoy does.

    Raises:
        ValueError: it is neither.
    """
    block = ipaddress.ip_network(text, strict=False)
    if isinstance(block, ipaddress.IPv6Network):
        mapped = block.network_address.ipv4_mapped
        if mapped is not None and block.prefixlen >= 96:
            return ipaddress.ip_network((int(mapped), block.prefixlen - 96))
    return block


class AddressSet:
    """Blocks by version and prefix length: a look-up for each length that occurs.

    Raises:
        ValueError: a block is none.
    """

    __slots__ = ("_blocks",)

    def __init__(self, blocks: Iterable[str]) -> None:
        found: dict[tuple[int, int], set[int]] = {}
        for text in blocks:
            block = parse_block(text)
            shift = block.max_prefixlen - block.prefixlen
            bits = int(block.network_address) >> shift
            found.setdefault((block.version, shift), set()).add(bits)
        self._blocks = tuple(
            (version, shift, frozenset(bits)) for (version, shift), bits in found.items()
        )

    def __contains__(self, address: Address) -> bool:
        """Say whether an address lies in any block."""
        number, version = int(address), address.version
        return any(version == of and number >> shift in bits for of, shift, bits in self._blocks)
