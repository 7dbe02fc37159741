"""The table of edges as lines: as many columns as there is room for, each as wide as it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from meshware.terminal import words
from meshware.terminal.edges import EdgeRow, Edges
from meshware.terminal.text import Style, cut, filled, shown, styled, width

__all__ = ["edge_table", "summary"]

_BOLD, _REVERSED, _DIM = "1", "7", "2"
_HEALTH: dict[str, tuple[str, Style]] = {
    "good": ("healthy", "32"),
    "warn": ("degraded", "33"),
    "bad": ("failing", "1;31"),
    "idle": ("idle", _DIM),
}
_GAP = 2
_LEAST_NAME = 14  # cells; with less room columns are left out


@dataclass(frozen=True, slots=True)
class _Column:
    name: str  # as in `edges.SORTS`, where it can be sorted by
    head: str
    text: Callable[[EdgeRow], str]
    worth: int = 0  # those of the least worth are left out first; 0: never
    is_number: bool = True


def _mtls(row: EdgeRow) -> str:
    return {True: "yes", False: "no", None: words.DASH}[row.mtls]


_COLUMNS = (
    _Column("source", "SOURCE", lambda row: row.source, is_number=False),
    _Column("destination", "DESTINATION", lambda row: row.destination, is_number=False),
    _Column("rate", "RATE/s", lambda row: words.rate(row.rate)),
    _Column("errors", "ERRORS", lambda row: words.share(row.error_share)),
    _Column("p50", "P50", lambda row: words.milliseconds(row.p50_ms), worth=3),
    _Column("p95", "P95", lambda row: words.milliseconds(row.p95_ms), worth=6),
    _Column("p99", "P99", lambda row: words.milliseconds(row.p99_ms), worth=5),
    _Column("tries", "TRIES", lambda row: words.ratio(row.attempts_per_call), worth=2),
    _Column("mtls", "MTLS", _mtls, worth=4, is_number=False),
    _Column(
        "health",
        "HEALTH",
        lambda row: _HEALTH.get(row.health, (row.health, ""))[0],
        worth=1,
        is_number=False,
    ),
)


def summary(edges: Edges, count: int, namespace: str | None) -> str:
    """Return what the table is about, in a line."""
    where = "" if namespace is None else f" of namespace {namespace}"
    generation = "no policy" if edges.generation is None else f"generation {edges.generation}"
    things = "1 edge" if count == 1 else f"{count} edges"
    return f"{things}{where}, over the last {edges.window_s} s; {generation}"


def edge_table(
    rows: Sequence[EdgeRow],
    *,
    columns: int | None = None,
    sort: str | None = None,
    is_coloured: bool = False,
    encoding: str = "utf-8",
) -> list[str]:
    """Return a line of heads and one for each row.

    Args:
        rows: what is shown, in its order.
        columns: cells of a line at the most; None: as many as it takes.
        sort: the column whose head is marked.
        is_coloured: for a terminal: heads and health in styles. Health is told in a word besides.
        encoding: of what the lines are written to.
    """
    texts = [[shown(column.text(row), encoding) for column in _COLUMNS] for row in rows]
    heads = [
        column.head + ("*" if sort is not None and column.name == sort else "")
        for column in _COLUMNS
    ]
    widths = [
        max(width(heads[index]), *(width(line[index]) for line in texts), 0)
        for index in range(len(_COLUMNS))
    ]
    kept, widths = _fitted(widths, columns)
    lines = [_line(heads, kept, widths, [_BOLD] * len(heads) if is_coloured else None)]
    for row, line in zip(rows, texts, strict=True):
        styles = None
        if is_coloured:
            style = _HEALTH.get(row.health, ("", ""))[1]
            lasting = style if row.health in ("warn", "bad") else ""
            styles = [
                {"health": style, "errors": lasting}.get(column.name, "") for column in _COLUMNS
            ]
        lines.append(_line(line, kept, widths, styles))
    if columns is not None:
        # Narrower than what is never left out: cut, which leaves no room for styles.
        needed = sum(widths[index] for index in kept) + _GAP * (len(kept) - 1)
        if needed > columns:
            bare = [_line(line, kept, widths, None) for line in (heads, *texts)]
            lines = [cut(line, columns) for line in bare]
    return lines


def _fitted(widths: list[int], columns: int | None) -> tuple[list[int], list[int]]:
    """Return which columns are shown, and how wide all are."""
    kept = list(range(len(widths)))
    widths = list(widths)
    if columns is None:
        return kept, widths

    def missing(name_width: Callable[[int], int]) -> int:
        names = sum(name_width(widths[index]) for index in (0, 1))
        others = sum(widths[index] for index in kept if index > 1)
        return names + others + _GAP * (len(kept) - 1) - columns

    while missing(lambda cells: min(cells, _LEAST_NAME)) > 0:
        droppable = [index for index in kept if _COLUMNS[index].worth]
        if not droppable:
            break
        kept.remove(min(droppable, key=lambda index: _COLUMNS[index].worth))
    # The longer of the two names gives way first, down to the other; then both.
    while missing(lambda cells: cells) > 0 and max(widths[0], widths[1]) > 1:
        widths[0 if widths[0] >= widths[1] else 1] -= 1
    return kept, widths


def _line(
    texts: Sequence[str], kept: Sequence[int], widths: Sequence[int], styles: Sequence[Style] | None
) -> str:
    cells = []
    for index in kept:
        text = filled(texts[index], widths[index], is_right=_COLUMNS[index].is_number)
        cells.append(styled(text, styles[index]) if styles is not None else text)
    line = (" " * _GAP).join(cells)
    return line if styles is not None else line.rstrip()
