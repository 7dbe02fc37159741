"""What each client can and cannot do, as `docs/reference/clients.md` says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "clients.md"


def read_table(text: str) -> Mapping[str, Mapping[str, bool]]:
    """The last table of the page: a row's words -> a column's words -> yes or no."""
    rows = [
        line.strip("|").split("|")
        for line in text.rsplit("\n\n", maxsplit=1)[-1].strip().splitlines()
    ]
    columns = [cell.strip() for cell in rows[0][1:]]
    table: dict[str, dict[str, bool]] = {}
    for name, *cells in rows[2:]:
        words = [cell.strip().partition(":")[0] for cell in cells]
        assert len(words) == len(columns) and set(words) <= {"yes", "no"}, name
        table[name.strip()] = {
            column: word == "yes" for column, word in zip(columns, words, strict=True)
        }
    return table


TABLE = read_table(PAGE.read_text(encoding="utf-8"))
