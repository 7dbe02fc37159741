"""What a route changes in a request and in its response: headers, path, Host.

Operations are put together when policy is compiled, so that a call carries one edit out: first
`drop`, then `append`.

Source: Istio, `TranslateHeadersOperations` (what is set comes before what is added), HTTPRewrite;
Envoy, `HeaderParser` (what is removed goes first; a weighted destination's operations come before
those of its route, so that the route's win).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from meshware.call import RequestHead
from meshware.policy.document.common import StringMatch
from meshware.policy.document.virtual_service import (
    HeaderOperations,
    Headers,
    HTTPRewrite,
)
from meshware.policy.regex_replace import Replacer, compile_replacer

__all__ = [
    "HeaderEdit",
    "HeaderValue",
    "Rewrite",
    "authority_of",
    "compile_edit",
    "compile_rewrite",
    "parse_value",
]

_HOST = ("host", ":authority")
_COMMAND = re.compile(
    r"%(?:%|(?:REQ|REQUEST_HEADER)\(([A-Za-z0-9_:-]+)(?:\?([A-Za-z0-9_:-]+))?\)%)"
)


@dataclass(frozen=True, slots=True)
class _FromRequest:
    """`%REQ(name?alternative)%`: a header of the request."""

    name: str
    alternative: str | None


HeaderValue = str | tuple[str | _FromRequest, ...]
"""A value as it stands, or the parts that make it up for each call."""


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """A change of headers; names in lower case."""

    drop: frozenset[str]
    append: tuple[tuple[str, HeaderValue], ...]
    depends: tuple[tuple[str, HeaderValue], ...] = ()  # of `drop`: kept where the value is empty

    def values(self, head: RequestHead) -> tuple[tuple[str, str], ...]:
        """Return what to append for a call. Envoy: a value that is empty changes nothing."""
        return tuple(
            pair
            for name, value in self.append
            if (pair := (name, value if isinstance(value, str) else _rendered(value, head)))[1]
        )

    def dropped(self, head: RequestHead) -> frozenset[str]:
        """Return what to take out for a call."""
        if not self.depends:
            return self.drop
        kept = [
            name
            for name, value in self.depends
            if not isinstance(value, str) and not _rendered(value, head)
        ]
        return self.drop.difference(kept)


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A change of path and Host.

    Source: Istio HTTPRewrite; Envoy `prefix_rewrite`, `regex_rewrite`.
    """

    uri: str | None
    prefix: int | None  # how many characters of the path `uri` replaces; None: all of them
    authority: str | None
    regex: Replacer | None = None  # in place of `uri`

    def target(self, target: str) -> str | None:
        """Return the new path with the old query; None: the path stays."""
        path, mark, query = target.partition("?")
        if self.regex is not None:
            path = self.regex.replace(path)
            slash = "" if path.startswith("/") else "/"  # without one it is no path
            return f"{slash}{path}{mark}{query}"
        if self.uri is None:
            return None
        rest = "" if self.prefix is None else path[self.prefix :]
        return f"{self.uri}{rest}{mark}{query}"


def parse_value(text: str) -> HeaderValue:
    """Return a header's value, its commands taken apart.

    Raises:
        ValueError: a `%` begins a command that there is none of; the message names it.
    """
    if "%" not in text:
        return text
    parts: list[str | _FromRequest] = []
    at = 0
    for found in _COMMAND.finditer(text):
        _append_plain(parts, text[at : found.start()])
        at = found.end()
        if found[1] is None:
            parts.append("%")
        else:
            parts.append(_FromRequest(found[1].lower(), found[2].lower() if found[2] else None))
    _append_plain(parts, text[at:])
    if all(isinstance(part, str) for part in parts):
        return "".join(part for part in parts if isinstance(part, str))
    return tuple(parts)


def _append_plain(parts: list[str | _FromRequest], text: str) -> None:
    if "%" in text:
        raise ValueError(text[text.index("%") :][:40])
    if text:
        parts.append(text)


def _rendered(parts: tuple[str | _FromRequest, ...], head: RequestHead) -> str:
    return "".join(part if isinstance(part, str) else _read(part, head) for part in parts)


def _read(wanted: _FromRequest, head: RequestHead) -> str:
    for name in (wanted.name, wanted.alternative):
        if name is None:
            continue
        value = _PSEUDO[name](head) if name in _PSEUDO else ",".join(head.headers(name))
        if value:
            return value
    return ""  # Envoy writes "-" in logs, and nothing in headers


_PSEUDO = {
    ":method": lambda head: head.method,
    ":path": lambda head: head.target,
    ":scheme": lambda head: head.scheme,
    ":authority": lambda head: head.authority,
    "host": lambda head: head.authority,
}


def compile_edit(
    levels: Sequence[HeaderOperations | None], *, together: bool = False
) -> HeaderEdit | None:
    """Put the operations of several levels together; None: nothing changes.

    Args:
        levels: in their order.
        together: they are one level to Envoy: all that is removed goes first, what is added comes
            last. Else each level is done with before the next.
    """
    drop: set[str] = set()
    removed: set[str] = set()
    append: dict[str, list[HeaderValue]] = {}
    for step in [levels] if together else [[level] for level in levels]:
        written = [level for level in step if level is not None]
        for name in (name.lower() for level in written for name in level.remove or ()):
            if name not in _HOST and not name.startswith(":"):
                drop.add(name)
                removed.add(name)
                append.pop(name, None)
        for name, value in (pair for level in written for pair in _sorted(level.set)):
            drop.add(name)
            append[name] = [parse_value(value)]
        for name, value in (pair for level in written for pair in _sorted(level.add)):
            append.setdefault(name, []).append(parse_value(value))
    if not drop and not append:
        return None
    depends = tuple(
        (name, append[name][0]) for name in sorted(drop - removed) if _is_computed(append[name][0])
    )
    return HeaderEdit(
        frozenset(drop),
        tuple((name, value) for name, values in append.items() for value in values),
        depends,
    )


def _is_computed(value: HeaderValue) -> bool:
    return not isinstance(value, str)


def _sorted(operations: dict[str, str] | None) -> Iterator[tuple[str, str]]:
    for written, value in sorted((operations or {}).items()):
        name = written.lower()
        if name not in _HOST and value:  # Envoy: what is empty changes nothing
            yield name, value


def authority_of(rewrite: HTTPRewrite | None, levels: Sequence[Headers | None]) -> str | None:
    """Return the Host that a call goes out with; None: as the caller wrote it.

    `rewrite.authority` beats a `host` that is set, and that beats one that is added.
    """
    if rewrite is not None and rewrite.authority:
        return rewrite.authority
    chosen = None
    for level in levels:
        request = level.request if level is not None else None
        for operations in (request.add, request.set) if request is not None else ():
            for written, value in (operations or {}).items():
                if written.lower() in _HOST:
                    chosen = value
    return chosen


def compile_rewrite(
    rewrite: HTTPRewrite | None, uri: StringMatch | None, authority: str | None
) -> Rewrite | None:
    """Return what a route makes of path and Host.

    Args:
        rewrite: as written.
        uri: what the route matched the path with; without any it is the prefix `/`.
        authority: the Host to go out with, from wherever it comes.
    """
    path = rewrite.uri if rewrite is not None else None
    regex = rewrite.uri_regex_rewrite if rewrite is not None else None
    if path is None and regex is None and authority is None:
        return None
    replacer = compile_replacer(regex.match or "", regex.rewrite or "") if regex else None
    prefix: int | None = 1
    if uri is not None and (uri.exact is not None or uri.regex is not None):
        prefix = None
    elif uri is not None and uri.prefix is not None:
        prefix = len(uri.prefix)
    return Rewrite(path or None, prefix, authority, replacer)
