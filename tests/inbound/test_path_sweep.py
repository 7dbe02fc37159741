"""Every byte in a path, however an app is mounted and normalised: one decision, everywhere."""

from __future__ import annotations

from string import ascii_letters, digits

import pytest
from mounts import MODES, PLACES

TEMPLATES = {"DENY": ["/ad{}min", "/admin{}", "/{}admin"], "ALLOW": ["/public/a{}b"]}
PLAIN = f"{ascii_letters}{digits}"
ESCAPED = [f"%{code:02x}" for code in range(256)]
# As they are, where a server takes them: a query is cut off, and so is a fragment or it is refused.
UNESCAPED = [chr(code) for code in range(256) if chr(code) not in f"?#%{PLAIN}"]

KEPT = {"DENY": ("admin", "below"), "ALLOW": ("admin", "below", "other")}


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        *(pytest.param(ESCAPED, mode, id=f"escaped, {mode}") for mode in MODES),
        *(pytest.param(UNESCAPED, mode, id=f"as they are, {mode}") for mode in MODES[:3:2]),
    ],
)
@pytest.mark.parametrize("action", KEPT)
def test_a_byte_in_a_path_is_decided_alike_everywhere(action, mode, written):
    """ASGI and WSGI, within mounts and outside, prefixes of every kind; no kept handler runs."""
    wrong = []
    # In the other modes a framework's router is handed the same as in BASE, or less.
    places = [one for one in PLACES if not one.is_framework or mode in (None, "BASE")]
    for template in TEMPLATES[action]:
        for byte in written:
            target = template.format(byte)
            decided = {}
            for place in places:
                status, ran = place.decide(action, mode, target)
                decided[place.name] = status
                if set(ran) & set(KEPT[action]) or (ran and status != 200):
                    wrong.append((place.name, target, status, ran))
            if len(set(decided.values()) - {None}) > 1:
                wrong.append((target, decided))
    assert not wrong


@pytest.mark.parametrize("mode", MODES)
def test_an_honest_path_passes_everywhere(mode):
    """And runs its one handler."""
    for place in PLACES:
        for action in KEPT:
            assert place.decide(action, mode, "/public/x") == (200, ["public"]), place.name


def test_control_bytes_are_refused_everywhere():
    """400, whatever the rules say: 32 of them, and DEL."""
    for place in PLACES:
        for code in [*range(32), 127]:
            status, ran = place.decide("DENY", None, f"/a%{code:02X}b")
            assert status == 400 or (code == 10 and status is None), (place.name, code)
            assert not ran
