"""What a key does to the table, and the table as it fills a screen. Nothing here touches one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from meshware.terminal.edges import SORTS, EdgeRow, Edges, chosen, namespaces_of
from meshware.terminal.table import edge_table, summary
from meshware.terminal.text import cut, filled, shown, styled

__all__ = ["Quit", "View", "frame", "pressed"]

_SORTS = tuple(SORTS)
_HELP = "q quit  < > sort  r reverse  n namespace  v versions  p pause  arrows scroll"
_REVERSED, _ALARM = "7", "1;31"


class Quit(Exception):
    """Whoever watches has seen enough."""


@dataclass(frozen=True, slots=True)
class View:
    """How the table is looked at."""

    sort: str = "rate"
    is_reversed: bool = False
    namespace: str | None = None
    has_versions: bool = False
    is_paused: bool = False
    first: int = 0  # row shown on top

    def rows(self, edges: Edges) -> list[EdgeRow]:
        """Return what is shown of the mesh."""
        return chosen(
            edges.edges,
            sort=self.sort,
            is_reversed=self.is_reversed,
            namespace=self.namespace,
            has_versions=self.has_versions,
        )


def pressed(view: View, key: str, edges: Edges, page: int) -> View:
    """Return the view after a key.

    Args:
        view: before.
        key: a character, or "left", "right", "up", "down", "page up", "page down", "home", "end".
        edges: what is looked at.
        page: rows on the screen.

    Raises:
        Quit: the key says so.
    """
    last = max(len(view.rows(edges)) - page, 0)
    match key:
        case "q" | "Q" | "\x03":  # Ctrl-C, on a terminal that makes no signal of it
            raise Quit
        case "<" | "left":
            return replace(view, sort=_SORTS[_SORTS.index(view.sort) - 1], first=0)
        case ">" | "right":
            after = (_SORTS.index(view.sort) + 1) % len(_SORTS)
            return replace(view, sort=_SORTS[after], first=0)
        case "r":
            return replace(view, is_reversed=not view.is_reversed)
        case "v":
            return replace(view, has_versions=not view.has_versions)
        case "p" | " ":
            return replace(view, is_paused=not view.is_paused)
        case "n":
            ring = [None, *namespaces_of(edges.edges)]
            here = ring.index(view.namespace) if view.namespace in ring else 0
            return replace(view, namespace=ring[(here + 1) % len(ring)], first=0)
        case "up" | "k":
            return replace(view, first=max(min(view.first, last) - 1, 0))
        case "down" | "j":
            return replace(view, first=min(view.first + 1, last))
        case "page up":
            return replace(view, first=max(min(view.first, last) - page, 0))
        case "page down":
            return replace(view, first=min(view.first + page, last))
        case "home":
            return replace(view, first=0)
        case "end":
            return replace(view, first=last)
        case _:
            return view


def frame(
    view: View,
    edges: Edges,
    *,
    columns: int,
    lines: int,
    where: str,
    trouble: str | None = None,
    is_coloured: bool = True,
    encoding: str = "utf-8",
) -> list[str]:
    """Return the lines of a whole screen.

    Args:
        view: how the table is looked at.
        edges: what is looked at.
        columns: cells of a line.
        lines: of the screen.
        where: the daemon's address.
        trouble: why what is shown is old; None: it is not.
        is_coloured: whether there may be colours.
        encoding: of the terminal.
    """
    rows = view.rows(edges)
    page = max(lines - 4, 1)
    first = min(view.first, max(len(rows) - page, 0))
    state = "  PAUSED" if view.is_paused else ""  # first: a narrow screen cuts the end off
    title = f"meshware top{state}  {where}  {summary(edges, len(rows), view.namespace)}"
    found = [styled(filled(shown(title, encoding), columns), _REVERSED)]
    if trouble is not None:
        note = cut(shown(f"what you see is old: {trouble}", encoding), columns)
        found.append(styled(note, _ALARM if is_coloured else "1"))
    elif not rows:
        found.append(cut("no calls yet: they show within two seconds of being made", columns))
    else:
        found.append("")
    heads, *body = _table(rows, view, columns, encoding, is_coloured=is_coloured)
    found.append(heads)
    found += body[first : first + page]
    found = found[: max(lines - 1, 0)]
    found += [""] * (lines - 1 - len(found))
    below = len(rows) - first - page
    foot = _HELP if below <= 0 else f"{below} more below  {_HELP}"
    found.append(styled(cut(foot, columns), "2"))
    return found[:lines]


def _table(
    rows: Sequence[EdgeRow], view: View, columns: int, encoding: str, *, is_coloured: bool
) -> list[str]:
    return edge_table(
        rows, columns=columns, sort=view.sort, is_coloured=is_coloured, encoding=encoding
    )
