"""What commands print: facts for programs, lines for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import click

__all__ = ["printed", "table", "when"]


def printed(output: str, facts: Any, lines: Iterable[str]) -> None:
    """Print facts as JSON, or lines for people.

    Args:
        output: what `--format` says.
        facts: what msgspec can encode.
        lines: the same in words; asked for only then.
    """
    import msgspec

    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
        return
    for line in lines:
        # Others may have written some of it; a terminal would obey what is not printable.
        click.echo("".join(char if char.isprintable() else "?" for char in line))


def table(rows: Iterable[Sequence[str]]) -> list[str]:
    """Return lines with columns of even width."""
    found = list(rows)
    if not found:
        return []
    widths = [max(len(row[column]) for row in found) for column in range(len(found[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in found
    ]


def when(at: datetime) -> str:
    """Return a time as it is printed."""
    return f"{at:%FT%TZ}"
