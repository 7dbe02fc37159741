"""Keys out of what a terminal sends; the terminal itself is in tests/e2e/test_top.py."""

from __future__ import annotations

import pytest

from meshware.terminal.screen import keys_of


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"", []),
        (b"q", ["q"]),
        (b"r<q", ["r", "<", "q"]),
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOCx", ["right", "x"]),
        (b"\x1b[5~\x1b[6~", ["page up", "page down"]),
        (b"\x1b", []),
        (b"\x1b\x1b[Aq", ["up", "q"]),
        (b"\x1b[1;5Qq", ["q"]),
        (b"\x1b[200~q", ["q"]),
        (b"\x1b[", []),
        ("ü".encode(), ["ü"]),
        (b"\xff", ["\ufffd"]),
    ],
)
def test_keys_are_told_by_their_names(data, keys):
    assert keys_of(data) == keys
