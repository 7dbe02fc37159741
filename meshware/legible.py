"""Make text of others fit to be shown: what a terminal would obey is escaped, and shows."""

from __future__ import annotations

__all__ = ["legible"]


def legible(text: str, *, is_long: bool = False) -> str:
    r"""Return text of which every character shows: others are written as `\x1b`.

    Args:
        text: what somebody claims.
        is_long: it may have several lines.
    """
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or (is_long and char == "\n")
        else char.encode("unicode_escape", "backslashreplace").decode("ascii")
        for char in text
    )
