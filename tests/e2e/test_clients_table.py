"""The table of what each client can and cannot do: nothing in it but what tests look at."""

from __future__ import annotations

from pathlib import Path

from client_drivers import DRIVERS
from client_table import TABLE


def test_every_row_is_tried():
    """A row that no test asks for is a claim."""
    sources = "".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")
    )
    assert [row for row in TABLE if f'"{row}"' not in sources] == []


def test_every_client_has_its_column():
    """And no column is nobody's."""
    columns = {driver.column for driver in DRIVERS}
    assert all(set(row) == columns for row in TABLE.values())


def test_a_row_that_is_the_same_for_all_says_nothing():
    """What holds for every client needs no row."""
    assert [name for name, row in TABLE.items() if len(set(row.values())) == 1] == []
