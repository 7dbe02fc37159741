"""What a route changes in a request and in its response: headers, path, Host.

Operations are put together when policy is compiled, so that a call carries one edit out: first
`drop`, then `append`. Only those that read the request are put together for each call.

Source: Istio, `TranslateHeadersOperations` (what is set comes before what is added), HTTPRewrite;
Envoy, `HeaderParser` (what is removed goes first; a weighted destination's operations come before
those of its route, so that the route's win).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from meshware.call import HeaderLookup, RequestHead
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
    "edit_for",
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
class _Step:
    """Operations that Envoy carries out together: all values are read before any is written."""

    remove: tuple[str, ...]
    set: tuple[tuple[str, HeaderValue], ...]
    add: tuple[tuple[str, HeaderValue], ...]


@dataclass(frozen=True, slots=True)
class HeaderEdit:
    """A change of headers; names in lower case."""

    drop: frozenset[str]
    append: tuple[tuple[str, str], ...]
    steps: tuple[_Step, ...] | None  # where a value is read from the request; else None


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
            if not path:
                return None  # Envoy: a rewrite to nothing is none
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


def _rendered(value: HeaderValue, head: RequestHead, headers: HeaderLookup) -> str:
    if isinstance(value, str):
        return value
    return "".join(part if isinstance(part, str) else _read(part, head, headers) for part in value)


def _read(wanted: _FromRequest, head: RequestHead, headers: HeaderLookup) -> str:
    """Return the first line of a header; the other one's where the request has none."""
    for name in (wanted.name, wanted.alternative):
        if name is None:
            continue
        if name in _PSEUDO:
            value: str = _PSEUDO[name](head)
            return value
        lines = headers(name)
        if lines:
            return lines[0]
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
    written = [level for level in levels if level is not None]
    steps = [_step(written)] if together else [_step([level]) for level in written]
    steps = [step for step in steps if step != _NOTHING]
    if not steps:
        return None
    values = [value for step in steps for _, value in (*step.set, *step.add)]
    if all(isinstance(value, str) for value in values):
        change = _Change()
        for step in steps:
            change.apply(step, str)  # each is one already
        return HeaderEdit(*change.result(), None)
    return HeaderEdit(frozenset(), (), tuple(steps))


def edit_for(
    edit: HeaderEdit, head: RequestHead, *, of_request: bool
) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
    """Return what to take out, and what to put behind, for one call.

    Args:
        edit: the change.
        head: the request, which values are read from.
        of_request: what is changed is the request itself, so that a later level reads what an
            earlier one has written, and a level not what it removes. Source: Envoy, `HeaderParser`.
    """
    if edit.steps is None:
        return edit.drop, edit.append
    change = _Change()

    def changed(name: str) -> Sequence[str]:
        appended = change.append.get(name, [])
        return appended if name in change.drop else (*head.headers(name), *appended)

    headers = changed if of_request else head.headers
    for step in edit.steps:
        change.apply(step, lambda value: _rendered(value, head, headers))
    return change.result()


_NOTHING = _Step((), (), ())


def _step(levels: Sequence[HeaderOperations]) -> _Step:
    removed = [name.lower() for level in levels for name in level.remove or ()]
    return _Step(
        tuple(name for name in removed if name not in _HOST and not name.startswith(":")),
        tuple(pair for level in levels for pair in _sorted(level.set)),
        tuple(pair for level in levels for pair in _sorted(level.add)),
    )


class _Change:
    """What has been taken out and put behind so far."""

    __slots__ = ("append", "drop")

    def __init__(self) -> None:
        self.drop: set[str] = set()
        self.append: dict[str, list[str]] = {}

    def apply(self, step: _Step, render: Callable[[HeaderValue], str]) -> None:
        for name in step.remove:
            self.drop.add(name)
            self.append.pop(name, None)
        # Envoy: a value that is empty changes nothing.
        to_set = [(name, text) for name, value in step.set if (text := render(value))]
        to_add = [(name, text) for name, value in step.add if (text := render(value))]
        for name, text in to_set:
            self.drop.add(name)
            self.append[name] = [text]
        for name, text in to_add:
            self.append.setdefault(name, []).append(text)

    def result(self) -> tuple[frozenset[str], tuple[tuple[str, str], ...]]:
        pairs = ((name, text) for name, texts in self.append.items() for text in texts)
        return frozenset(self.drop), tuple(pairs)


def _sorted(operations: dict[str, str] | None) -> Iterator[tuple[str, HeaderValue]]:
    for written, value in sorted((operations or {}).items()):
        name = written.lower()
        if name not in _HOST and value:  # Envoy: what is empty changes nothing
            yield name, parse_value(value)


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
