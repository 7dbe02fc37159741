"""IP addresses in decisions: any text is taken, and blocks mean what they say."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.addresses import AddressSet, parse_address, parse_block


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("::ffff:0a00:0001%2", "10.0.0.1"),
        ("::10.0.0.1", "::a00:1"),
    ],
)
def test_an_address_is_read_without_its_zone_and_its_ipv6_clothes(text, expected):
    """So that a rule about IPv4 holds for a caller on a socket for both."""
    assert str(parse_address(text)) == expected


@pytest.mark.parametrize(
    "text",
    [None, "", " ", "garbage", "/run/app.sock", "10.0.0", "10.0.0.1:80", "[::1]", "010.0.0.1",
     "%eth0", "unix:", "10.0.0.1/8", "\u0661.0.0.1", "\x00"],
)  # fmt: skip
def test_what_is_no_address_is_none(text):
    """It is not known then, and nothing raises."""
    assert parse_address(text) is None


@given(st.text(max_size=20))
def test_no_text_raises(text):
    """A server may say anything."""
    assert parse_address(text) is None or str(parse_address(text))


@pytest.mark.parametrize(
    ("block", "address", "expected"),
    [
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.1.2.3/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("0.0.0.0/0", "1.2.3.4", True),
        ("0.0.0.0/0", "::1", False),
        ("::/0", "1.2.3.4", False),
        ("::/0", "::1", True),
        ("2001:db8::/32", "2001:db8:ffff::1", True),
        ("2001:db8::/32", "2001:db9::1", False),
        ("::ffff:10.0.0.0/104", "10.1.2.3", True),
        ("::ffff:10.0.0.0/104", "11.1.2.3", False),
    ],
)
def test_a_block_holds_the_addresses_that_share_its_prefix(block, address, expected):
    """Bits behind the prefix are ignored, as in Envoy."""
    parsed = parse_address(address)
    assert parsed is not None
    assert (parsed in AddressSet([block])) is expected
    assert (parsed in AddressSet(["192.0.2.0/24", block, "2001:db8:1::/48"])) is expected


@pytest.mark.parametrize("text", ["", "garbage", "10.0.0.0/33", "::/129", "10.0.0.0/-1", "10.0.0"])
def test_what_is_no_block_is_refused(text):
    """When policy is compiled."""
    with pytest.raises(ValueError):
        parse_block(text)


@given(
    st.lists(st.tuples(st.ip_addresses(), st.integers(0, 128)), max_size=6),
    st.ip_addresses(),
)
def test_a_set_of_blocks_agrees_with_asking_each(pairs, address):
    """Whatever the lengths of their prefixes."""
    blocks = [f"{start}/{min(bits, start.max_prefixlen)}" for start, bits in pairs]
    parsed = parse_address(str(address))
    assert parsed is not None
    networks = [ipaddress.ip_network(block, strict=False) for block in blocks]
    if any(isinstance(n, ipaddress.IPv6Network) and n.overlaps(MAPPED) for n in networks):
        return  # their own subject, above
    assert (parsed in AddressSet(blocks)) is any(parsed in network for network in networks)


MAPPED = ipaddress.ip_network("::ffff:0:0/96")
