"""Find end users' tokens in a request, at the places where policy says that they may stand.

At one place stands one token. Two are refused, in whatever way they come: two lines of a header, a
parameter or a cookie twice, or what a server of WSGI makes of two lines, one with a comma in it; a
comma is part of no token.

What an app could take for a token is found too, and refused as one that cannot be read: `bearer` in
lower case or with a tab behind it is the same scheme to most libraries (RFC 9110, 11.1), and to
Envoy it is none at all.

Source: Envoy, jwt_authn, `extractor.cc`.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from enum import Enum, auto
from typing import Final, Literal
from urllib.parse import unquote_plus

from meshware.inbound.head import InboundHead
from meshware.policy.jwt_rules import Place, UserRules

__all__ = ["SEVERAL", "Found", "find_tokens"]


class _Several(Enum):
    SEVERAL = auto()


SEVERAL: Final = _Several.SEVERAL
"""Stands for tokens where there may be one."""

Found = str | Literal[_Several.SEVERAL]

_BLANK = " \t"


def find_tokens(head: InboundHead, rules: UserRules) -> list[tuple[Place, Found]]:
    """Return the tokens of a request with their places, in the order of the places."""
    found: list[tuple[Place, Found]] = []
    for place in rules.headers:
        lines = head.headers(place.name)
        if lines:
            token = _in_header(lines, place.prefix)
            if token is not None:
                found.append((place, token))
    if rules.params and head.query != "":
        found += _at(rules.params, _params(head, rules.params))
    if rules.cookies:
        found += _at(rules.cookies, _cookies(head, rules.cookies))
    return found


def _at(
    places: Mapping[str, Place], pairs: Iterator[tuple[str, Found]]
) -> Iterator[tuple[Place, Found]]:
    """Yield tokens with their places, in the order of the places."""
    found: dict[str, Found] = {}
    for name, value in pairs:
        found[name] = SEVERAL if name in found else value
    for name, place in places.items():
        if name in found:
            yield place, found[name]


def _in_header(lines: Sequence[str], prefix: str) -> Found | None:
    if len(lines) == 1 and lines[0].startswith(prefix):  # as nearly always
        value = lines[0].strip(_BLANK)
        if "," not in value and len(value) > len(prefix):
            return value[len(prefix) :]
    values = [line.strip(_BLANK) for line in lines]
    if prefix and not any(_has_prefix(value, prefix) for value in values):
        return None
    value = values[0]
    if len(values) > 1 or "," in value:
        return SEVERAL
    # Whatever else has the prefix in it is no token, and is refused as such.
    return value[len(prefix) :] if value.startswith(prefix) else value


def _has_prefix(value: str, prefix: str) -> bool:
    if prefix in value:
        return True
    scheme = prefix.rstrip(_BLANK)
    if scheme == prefix:
        return False
    # A server of WSGI puts the lines of a header together with commas.
    return any(
        part[: len(scheme)].lower() == scheme.lower() and part[len(scheme) :][:1].isspace()
        for part in map(str.strip, value.split(","))
    )


def _params(head: InboundHead, names: Container[str]) -> Iterator[tuple[str, Found]]:
    query = head.query
    if query is None:
        query = "" if head.target is None else head.target.partition("?")[2]
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        if "%" in name or "+" in name:
            name = unquote_plus(name)
        if name in names:
            yield name, unquote_plus(value)


def _cookies(head: InboundHead, names: Container[str]) -> Iterator[tuple[str, Found]]:
    # HTTP/2 lets a client cut the header into lines (RFC 9113, 8.2.3).
    for line in head.headers("cookie"):
        for pair in line.split(";"):
            if "," in pair:
                for part in pair.split(","):
                    name = part.partition("=")[0].strip()
                    if name in names:
                        yield name, SEVERAL
                continue
            name, _, value = pair.partition("=")
            name, value = name.strip(), value.strip(_BLANK)
            if name in names:
                if len(value) > 1 and value[0] == value[-1] == '"':
                    value = value[1:-1]
                yield name, value
