"""Text in the cells of a terminal: how wide it is, cut and filled to a width, coloured.

Wide characters (of Chinese, Japanese, Korean, most emoji) take two cells, marks that combine none.
What is neither is one; terminals differ about a few, which costs the line of who uses them.
"""

from __future__ import annotations

import unicodedata

from meshware.legible import legible

__all__ = ["Style", "cut", "filled", "shown", "styled", "width"]

_MOST = 300  # characters of one text, however little they take up
_ELLIPSIS = "~"  # one cell in every encoding

Style = str
"""Parameters of SGR, as "1;31"; "" for none. Source: ECMA-48, 8.3.117."""


def shown(text: str, encoding: str = "utf-8") -> str:
    """Return text of others as it may be written to a terminal of an encoding."""
    try:
        return legible(text[:_MOST]).encode(encoding, "backslashreplace").decode(encoding)
    except LookupError:  # an encoding that Python does not know
        return ascii(text[:_MOST])[1:-1]


def width(text: str) -> int:
    """Return how many cells a text takes up."""
    if text.isascii():
        return len(text)
    return sum(map(_width, text))


def cut(text: str, most: int) -> str:
    """Return text that takes up at most so many cells; its end shows where some is missing."""
    if width(text) <= most:
        return text
    if most <= 0:
        return ""
    kept, room = [], most - 1
    for char in text:
        room -= _width(char)
        if room < 0:
            break
        kept.append(char)
    return "".join(kept) + _ELLIPSIS


def filled(text: str, cells: int, *, is_right: bool = False) -> str:
    """Return text cut or filled to just so many cells."""
    text = cut(text, cells)
    gap = " " * (cells - width(text))
    return gap + text if is_right else text + gap


def styled(text: str, style: Style) -> str:
    """Return text in a style, and what follows it without."""
    return f"\x1b[{style}m{text}\x1b[0m" if style else text


def _width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
