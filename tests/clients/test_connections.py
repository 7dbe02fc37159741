"""The life of a connection, by its rule; and what its socket is told."""

from __future__ import annotations

import socket

import pytest

from meshware.clients import connections
from meshware.clients.addresses import from_host, to_host, unix_path
from meshware.clients.connections import Life, socket_options
from meshware.policy.pool_rule import Keepalive, PoolRule


class Clock:
    """Stands for the module `time` where lives are counted."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(connections, "time", clock)
    return clock


def life(**rule) -> Life:
    return Life(PoolRule(name="orders", **{"idle_s": None, **rule}))


def test_without_a_limit_it_never_ends(clock):
    """Until somebody closes it."""
    it = life()
    for _ in range(1000):
        it.begin()
        it.rest()
    clock.now += 1e9
    assert not it.is_over()


def test_it_ends_with_its_last_request(clock):
    """While that is under way already: nothing else may begin."""
    it = life(requests=2)
    it.begin()
    assert not it.is_over()
    it.begin()
    assert it.is_over()


def test_it_ends_with_its_age(clock):
    """Counted from when it was made, busy or not."""
    it = life(age_s=10.0)
    it.begin()
    clock.now += 9.9
    assert not it.is_over()
    clock.now += 0.1
    assert it.is_over()


def test_it_ends_when_it_rests_too_long(clock):
    """Being used is no rest, however long that takes."""
    it = life(idle_s=4.0)
    it.begin()
    clock.now += 100
    assert not it.is_over()
    it.rest()
    clock.now += 3.9
    assert not it.is_over()
    it.begin()
    clock.now += 100
    it.rest()
    clock.now += 4
    assert it.is_over()


def test_a_socket_takes_every_option():
    """Set before or after it connects; what is not written stays the system's."""
    rule = PoolRule(name="orders", keepalive=Keepalive(127, 32_767, 32_767))
    with socket.socket() as sock:
        before = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        for option in socket_options(PoolRule(name="a", keepalive=Keepalive(None, None, None))):
            sock.setsockopt(*option)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == before
        for option in socket_options(rule):
            sock.setsockopt(*option)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 127


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("10.0.0.1", None),
        ("2001:db8::1", None),
        ("unix:///run/App é.sock", "/run/App é.sock"),
        ("unix://@name", "\0name"),
    ],
)
def test_an_address_comes_through_a_library_that_knows_hosts(address, path):
    """As small letters, digits and marks."""
    host = to_host(address)
    assert host == host.lower()
    assert host.isascii()
    assert from_host(host) == address
    assert unix_path(address) == path
