"""Where the dashboard is opened."""

from __future__ import annotations

import pytest

from meshware.dashboard.access import is_loopback, to_open
from meshware.syncd.listen import host_and_port


@pytest.mark.parametrize(
    ("host", "opened"),
    [
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("0:0:0:0:0:0:0:0", "::1"),  # the same, written out
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("10.0.0.7", "10.0.0.7"),
        ("mesh.example", "mesh.example"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_what_listens_everywhere_is_opened_at_the_loopback(host, opened):
    assert to_open(host) == opened
    assert host == opened or is_loopback(opened)


@pytest.mark.parametrize(
    ("listen", "address"),
    [
        ("0.0.0.0:15090", "127.0.0.1:15090"),
        ("[::]:15090", "[::1]:15090"),
        ("[0::0]:15090", "[::1]:15090"),
        ("mesh.example:80", "mesh.example:80"),
    ],
)
def test_the_address_to_open_has_the_port_that_is_listened_at(listen, address):
    assert str(host_and_port(listen).to_open) == address
