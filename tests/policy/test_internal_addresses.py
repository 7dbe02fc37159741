"""Which addresses the outside may have us call, in every way in which they can be written."""

from __future__ import annotations

import pytest

from meshware.policy.internal_addresses import Reach, where_is

PUBLIC, INTERNAL, NEVER = Reach.PUBLIC, Reach.INTERNAL, Reach.NEVER


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", PUBLIC),
        ("1.1.1.1", PUBLIC),
        ("172.15.255.255", PUBLIC),
        ("172.32.0.0", PUBLIC),
        ("100.63.255.255", PUBLIC),
        ("100.128.0.0", PUBLIC),
        ("192.167.255.255", PUBLIC),
        ("2606:4700::1111", PUBLIC),
        ("2a00:1450:4001::200e", PUBLIC),
        ("127.0.0.1", INTERNAL),
        ("127.255.255.254", INTERNAL),
        ("10.0.0.1", INTERNAL),
        ("172.16.0.1", INTERNAL),
        ("172.31.255.255", INTERNAL),
        ("192.168.1.1", INTERNAL),
        ("100.64.0.1", INTERNAL),
        ("198.18.0.1", INTERNAL),
        ("::1", INTERNAL),
        ("fc00::1", INTERNAL),
        ("fd12:3456::1", INTERNAL),
        ("0.0.0.0", NEVER),
        ("0.1.2.3", NEVER),
        ("169.254.0.1", NEVER),
        ("169.254.169.254", NEVER),
        ("169.254.170.2", NEVER),
        ("100.100.100.200", NEVER),
        ("168.63.129.16", NEVER),
        ("192.0.0.192", NEVER),
        ("fd00:ec2::254", NEVER),
        ("fd20:ce::254", NEVER),
        ("192.0.2.1", NEVER),
        ("198.51.100.7", NEVER),
        ("203.0.113.9", NEVER),
        ("224.0.0.1", NEVER),
        ("239.255.255.250", NEVER),
        ("240.0.0.1", NEVER),
        ("255.255.255.255", NEVER),
        ("::", NEVER),
        ("fe80::1", NEVER),
        ("fe80::1%eth0", NEVER),
        ("fec0::1", NEVER),
        ("ff02::1", NEVER),
        ("2001:db8::1", NEVER),
        ("3fff::1", NEVER),
        ("5f00::1", NEVER),
        ("100::1", NEVER),
        ("4000::1", NEVER),
    ],
)
def test_an_address_is_judged_by_its_block(address, expected):
    """At the edges of each block too."""
    assert where_is(address).reach is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("::ffff:8.8.8.8", PUBLIC),
        ("::ffff:127.0.0.1", INTERNAL),
        ("::ffff:7f00:1", INTERNAL),
        ("0:0:0:0:0:ffff:a9fe:a9fe", NEVER),
        ("::ffff:0.0.0.0", NEVER),
        ("64:ff9b::8.8.8.8", PUBLIC),
        ("64:ff9b::10.0.0.1", INTERNAL),
        ("64:ff9b::7f00:1", INTERNAL),
        ("64:ff9b::169.254.169.254", NEVER),
        ("64:ff9b:1::10.0.0.1", NEVER),
        ("::127.0.0.1", NEVER),
        ("::8.8.8.8", NEVER),
        ("2002:7f00:1::1", NEVER),
        ("2002:808:808::1", NEVER),
        ("2001:0:7f00:1::1", NEVER),
        ("2606:4700::5efe:127.0.0.1", NEVER),
        ("2606:4700::200:5efe:10.0.0.1", NEVER),
        ("::ffff:0:127.0.0.1", NEVER),
    ],
)
def test_an_address_within_another_is_judged_itself(address, expected):
    """Mapped, NAT64, compatible, 6to4, Teredo, ISATAP: clothes, or tunnels that lead nowhere."""
    assert where_is(address).reach is expected


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "0x7f000001", "127.1", "1.2.3.4.5"])
def test_what_is_no_address_is_called_by_nobody(text):
    """A resolver might make one of it; then that one is judged."""
    assert where_is(text).reach is NEVER


def test_people_are_told_what_it_is():
    """In the words of the finding."""
    assert where_is("127.0.0.1").what == "a loopback address"
    assert where_is("169.254.169.254").what == "the metadata address of a cloud"
