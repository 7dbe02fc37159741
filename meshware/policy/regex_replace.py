"""Replace what a regular expression matches, in RE2's dialect: the rewrite of paths.

With google-re2 installed it finds the matches; without, our own `regex_groups` does, and both find
the same ones. Source: RE2, `GlobalReplace`; Envoy, `regex_rewrite`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from meshware.policy.regex import compile_re2
from meshware.policy.regex_groups import Finder, Spans, count_groups
from meshware.policy.regex_syntax import parse

__all__ = ["Replacer", "compile_replacer"]

Search = Callable[[str, int], Spans | None]


class Replacer:
    """A pattern and what to put in its place. Safe to use from several threads."""

    __slots__ = ("_parts", "_search")

    def __init__(self, search: Search, parts: tuple[str | int, ...]) -> None:
        self._search = search
        self._parts = parts  # text, or the number of a group; 0 is the whole match

    def replace(self, text: str) -> str:
        """Return the text with every match replaced, from the left, none within another."""
        pieces: list[str] = []
        at, last_end = 0, -1
        while at <= len(text):
            found = self._search(text, at)
            if found is None:
                break
            start, end = found[0], found[1]
            assert start is not None and end is not None
            pieces.append(text[at:start])
            if start == end == last_end:  # an empty match at the end of the last one: passed over
                pieces.append(text[start : start + 1])
                at = start + 1
                continue
            for part in self._parts:
                pieces.append(part if isinstance(part, str) else _group(text, found, part))
            at = last_end = end
        pieces.append(text[at:])
        return "".join(pieces)


def _group(text: str, spans: Spans, number: int) -> str:
    start, end = spans[2 * number], spans[2 * number + 1]
    return "" if start is None or end is None else text[start:end]


def compile_replacer(pattern: str, rewrite: str) -> Replacer:
    r"""Compile a pattern and its rewrite; `\1` is the first group there, `\0` the whole match.

    Raises:
        ValueError: one of them cannot be used; the message says why.
    """
    groups = count_groups(parse(pattern))
    return Replacer(_search(pattern), _parts(rewrite, groups))


def _parts(rewrite: str, groups: int) -> tuple[str | int, ...]:
    parts: list[str | int] = []
    text, at = "", 0
    while at < len(rewrite):
        char = rewrite[at]
        follows = rewrite[at + 1 : at + 2]
        at += 1
        if char != "\\":
            text += char
            continue
        at += 1
        if follows == "\\":
            text += follows
        elif follows and follows in "0123456789":
            if int(follows) > groups:
                what = {0: "no group", 1: "one group"}.get(groups, f"{groups} groups")
                raise ValueError(f"`\\{follows}` is not there: the pattern has {what}")
            if text:
                parts.append(text)
            parts.append(int(follows))
            text = ""
        else:
            raise ValueError("a backslash is followed by a digit or a backslash in a rewrite")
    return (*parts, text) if text else tuple(parts)


def _search(pattern: str) -> Search:
    compiled = compile_re2(pattern)
    return Finder(pattern).search if compiled is None else _Re2(pattern, compiled).search


class _Re2:
    """A pattern that google-re2 finds."""

    __slots__ = ("_compiled", "_pattern")

    def __init__(self, pattern: str, compiled: Any) -> None:
        self._pattern = pattern
        self._compiled = compiled

    def search(self, text: str, start: int) -> Spans | None:
        try:
            found = self._compiled.search(text, start)
        except UnicodeEncodeError:  # half of a surrogate pair; RE2 reads UTF-8 only
            return Finder(self._pattern).search(text, start)
        if found is None:
            return None
        spans: list[int | None] = []
        for number in range(found.re.groups + 1):
            low, high = found.span(number)
            spans += [None, None] if low < 0 else [low, high]
        return tuple(spans)
