"""Whether a path can be of a route and meet a pattern of policy: decided without a path at hand.

Both are short sequences of characters and gaps. A gap is one segment or part of one (`{id}`), or
any characters (`{rest:path}`, `*`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from meshware.policy.match import is_path_template
from meshware.policy.paths import capital_hex, encoded

__all__ = ["Pieces", "literal_of", "may_meet", "pattern_pieces", "template_pieces"]

_PARAMETER = re.compile(
    r"\{(?P<a>\w+)(?::(?P<b>[^{}]*))?\}|<(?:(?P<c>[^<>:(]*)(?:\([^<>]*\))?:)?(?P<d>\w+)>"
)
_REGEX = re.compile(r"[\\^$(]")
# Converters that take no slash; others may take anything.
_WITHIN_SEGMENT = frozenset(
    {None, "", "str", "string", "default", "int", "float", "uuid", "slug", "any"}
)

_NO_SLASH, _ANY = "no slash", "any"  # gaps; a piece of one character is that character

Pieces = tuple[tuple[str, bool], ...]
"""Each a character or a gap, and whether it may stand any number of times, none included."""

_SEGMENT: Pieces = ((_NO_SLASH, False), (_NO_SLASH, True))
_REST: Pieces = ((_ANY, True),)


def template_pieces(routes: Sequence[str]) -> Pieces:
    """Return what paths a handler has, by its route as the framework writes it and in braces."""
    if not routes:
        return _REST
    written = routes[0]
    if _REGEX.search(written.split("<", 1)[0]) or "(?P<" in written:
        braced = [route for route in routes if route.startswith("/")]
        return tuple(_pieces(braced[-1], is_known=False)) if braced else _REST
    return tuple(_pieces(written if written.startswith("/") else f"/{written}", is_known=True))


def _pieces(template: str, *, is_known: bool) -> Iterator[tuple[str, bool]]:
    at = 0
    for found in _PARAMETER.finditer(template):
        yield from _literal(template[at : found.start()])
        converter = found["b"] if found["a"] else found["c"]
        yield from _SEGMENT if is_known and converter in _WITHIN_SEGMENT else _REST
        at = found.end()
    yield from _literal(template[at:])


def _literal(text: str) -> Iterator[tuple[str, bool]]:
    return ((char, False) for char in capital_hex(encoded(text)))


def pattern_pieces(value: str) -> Pieces:
    """Return what paths a value of `paths` takes."""
    value = capital_hex(value)
    if is_path_template(value):
        pieces: list[tuple[str, bool]] = []
        for part in re.split(r"(\{\*\*?\})", value):
            if part in ("{*}", "{**}"):
                pieces += _SEGMENT if part == "{*}" else _REST
            else:
                pieces += ((char, False) for char in part)
        return tuple(pieces)
    if value.endswith("*"):
        return (*((char, False) for char in value[:-1]), *_REST)
    if value.startswith("*"):
        return (*_REST, *((char, False) for char in value[1:]))
    return tuple((char, False) for char in value)


def literal_of(pieces: Pieces) -> str | None:
    """Return the one path that pieces take; None: there are more."""
    if all(len(what) == 1 for what, _ in pieces):
        return "".join(what for what, _ in pieces)
    return None


def may_meet(one: Pieces, other: Pieces) -> bool:
    """Say whether some path is of both."""
    for (mine, _), (theirs, _) in zip(one, other, strict=False):
        if len(mine) > 1 or len(theirs) > 1:
            break
        if mine != theirs:
            return False  # the usual case, found at once
    seen: set[tuple[int, int]] = set()
    todo = [(0, 0)]
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        i, j = place
        if i == len(one) and j == len(other):
            return True
        if i < len(one) and one[i][1]:
            todo.append((i + 1, j))
        if j < len(other) and other[j][1]:
            todo.append((i, j + 1))
        if i < len(one) and j < len(other) and _share(one[i][0], other[j][0]):
            todo.append((i if one[i][1] else i + 1, j if other[j][1] else j + 1))
    return False


def _share(one: str, other: str) -> bool:
    """Say whether some character is of both pieces."""
    if len(one) == 1 and len(other) == 1:
        return one == other
    gap, what = (one, other) if len(one) > 1 else (other, one)
    return len(what) > 1 or gap == _ANY or what != "/"
