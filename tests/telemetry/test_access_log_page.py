"""The page about access logs names every operator, where it belongs."""

from __future__ import annotations

import re
from pathlib import Path

from meshware.policy.log_format import DEFAULT_LABELS
from meshware.policy.log_operators import ELSEWHERE, OPERATORS

PAGE = (Path(__file__).resolve().parents[2] / "docs/reference/access-logs.md").read_text()
NAMED = set(re.findall(r"`([A-Z][A-Z0-9_]+)(?:\([^`]*)?`", PAGE))
ABSENT = PAGE.partition("### What says nothing in process")[2]


def test_every_operator_that_says_something_is_named():
    """And none is that there is not."""
    said = {name for name, one in OPERATORS.items() if not one.absent}
    assert said - NAMED == set()
    tables = PAGE.partition("## Operators")[2].partition("### What says nothing")[0]
    first = "".join(line.split("|")[1] for line in tables.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([A-Z][A-Z0-9_]+)(?:\([^`]*)?`", first)) == said


def test_every_operator_that_says_nothing_is_covered():
    """By its name, or by what its name is like."""
    rest = {
        name
        for name, one in OPERATORS.items()
        if one.absent
        and f"`{name}`" not in ABSENT
        and "_WIRE_BYTES_" not in name
        and "_HEADER_BYTES_" not in name
        and not name.startswith(("DOWNSTREAM_", "UPSTREAM_"))
    }
    assert rest == set()
    assert all(f"`{name}`" in ABSENT for name in ELSEWHERE)


def test_the_members_of_json_are_named():
    """All of Istio's."""
    assert all(f"`{name}`" in PAGE for name in DEFAULT_LABELS)
