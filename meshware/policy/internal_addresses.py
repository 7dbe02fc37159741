"""Which addresses are somebody's own: what the outside may not have us call on its behalf.

Policy names addresses to fetch from, and names of hosts lead where their owners say. So the answer
is about the very address that would be dialled, however it is written: IPv4 in the clothes of IPv6
(mapped, NAT64) is what it wraps, and the ways of wrapping that only tunnels use lead nowhere.

============  ====================================================================================
`PUBLIC`      the internet's
`INTERNAL`    loopback, private, unique-local, shared: open where an operator says so
`NEVER`       link-local and where clouds keep their metadata, multicast, unspecified, reserved
============  ====================================================================================

Source: IANA's registries of special-purpose addresses; RFC 6052, RFC 6890, RFC 8215.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from enum import Enum

from meshware.policy.addresses import Address, parse_address

__all__ = ["Reach", "Where", "where_is"]


class Reach(Enum):
    """Who may be called at an address."""

    PUBLIC = "public"
    INTERNAL = "internal"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Where:
    """What an address is."""

    reach: Reach
    what: str  # "a loopback address"


_PUBLIC = Where(Reach.PUBLIC, "a public address")
_RESERVED = Where(Reach.NEVER, "a reserved address")

_BLOCKS: tuple[tuple[str, Reach, str], ...] = (
    # Addresses at which clouds tell a machine its secrets, before the blocks that they lie in.
    ("169.254.169.254/32", Reach.NEVER, "the metadata address of a cloud"),
    ("169.254.170.0/24", Reach.NEVER, "the metadata address of a cloud"),
    ("100.100.100.200/32", Reach.NEVER, "the metadata address of a cloud"),
    ("168.63.129.16/32", Reach.NEVER, "the metadata address of a cloud"),
    ("192.0.0.192/32", Reach.NEVER, "the metadata address of a cloud"),
    ("fd00:ec2::254/128", Reach.NEVER, "the metadata address of a cloud"),
    ("fd20:ce::254/128", Reach.NEVER, "the metadata address of a cloud"),
    ("0.0.0.0/8", Reach.NEVER, "an unspecified address"),
    ("127.0.0.0/8", Reach.INTERNAL, "a loopback address"),
    ("169.254.0.0/16", Reach.NEVER, "a link-local address"),
    ("10.0.0.0/8", Reach.INTERNAL, "a private address"),
    ("172.16.0.0/12", Reach.INTERNAL, "a private address"),
    ("192.168.0.0/16", Reach.INTERNAL, "a private address"),
    ("100.64.0.0/10", Reach.INTERNAL, "a shared address"),
    ("198.18.0.0/15", Reach.INTERNAL, "an address for benchmarks"),
    ("192.0.0.0/24", Reach.NEVER, "a reserved address"),
    ("192.0.2.0/24", Reach.NEVER, "an address for documentation"),
    ("198.51.100.0/24", Reach.NEVER, "an address for documentation"),
    ("203.0.113.0/24", Reach.NEVER, "an address for documentation"),
    ("192.88.99.0/24", Reach.NEVER, "the address of a relay"),
    ("224.0.0.0/4", Reach.NEVER, "a multicast address"),
    ("240.0.0.0/4", Reach.NEVER, "a reserved address"),
    ("::/128", Reach.NEVER, "an unspecified address"),
    ("::1/128", Reach.INTERNAL, "a loopback address"),
    ("fc00::/7", Reach.INTERNAL, "a unique-local address"),
    ("fe80::/10", Reach.NEVER, "a link-local address"),
    ("ff00::/8", Reach.NEVER, "a multicast address"),
    ("2001::/23", Reach.NEVER, "the address of a tunnel or protocol"),
    ("2001:db8::/32", Reach.NEVER, "an address for documentation"),
    ("3fff::/20", Reach.NEVER, "an address for documentation"),
    ("2002::/16", Reach.NEVER, "the address of a tunnel"),
)
_KNOWN = tuple((ipaddress.ip_network(block), Where(reach, what)) for block, reach, what in _BLOCKS)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_GLOBAL = ipaddress.IPv6Network("2000::/3")
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})  # the middle of an address that wraps IPv4


def where_is(address: str) -> Where:
    """Return what an IP address is, in whatever way it is written; any text is taken."""
    parsed = parse_address(address)
    return _RESERVED if parsed is None else _where(parsed)


def _where(address: Address) -> Where:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return _where(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
            return Where(Reach.NEVER, "the address of a tunnel")
    for block, where in _KNOWN:
        if address in block:
            return where
    if isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL:
        return _RESERVED
    return _PUBLIC
