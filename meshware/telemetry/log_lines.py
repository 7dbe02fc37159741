"""Write the line of a call: by a format string, or as one JSON object.

What callers write stands in a line as it is, but never ends it: whatever is not printable is
escaped (`\\n`, `\\x1b`, `\\u2028`), and bytes that are no UTF-8 are `\\xff`. A tab stays, as in
Envoy. Quotes stay in text, as in Envoy, where a caller can so pretend to the end of a quoted value;
in JSON they are escaped, so whoever reads lines by machine had better ask for that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from meshware.policy.log_format import (
    DEFAULT_TEXT,
    Format,
    JsonFormat,
    compile_format,
    compile_labels,
)
from meshware.policy.telemetry_plan import LogPlan
from meshware.telemetry.log_entry import Entry, Value, ValueOf
from meshware.telemetry.log_values import Surroundings, value_of

__all__ = ["LineMaker", "line_maker", "readable"]

_SHORT = {"\n": "\\n", "\r": "\\r"}
_MOST_VALUE = 16384  # characters; no server takes a longer header
_EMPTY = "-"


class LineMaker(Protocol):
    """Makes the line of a call, without its end."""

    def __call__(self, entry: Entry) -> str:
        """Return the line."""


def line_maker(plan: LogPlan, around: Surroundings) -> LineMaker:
    """Return what makes the lines of a log.

    Raises:
        ValueError: there is no such format.
    """
    if plan.labels is not None:
        return _Json(compile_labels(plan.labels), around, omits=plan.omits_empty)
    text = DEFAULT_TEXT if plan.text is None else plan.text
    return _Text(compile_format(text.removesuffix("\n")), around, omits=plan.omits_empty)


def readable(text: str, *, in_json: bool = False) -> str:
    """Return a value as it may stand in a line.

    Args:
        text: what servers hand over is bytes that were read as Latin-1; mostly they are UTF-8.
        in_json: what JSON escapes itself is left to it.
    """
    if text.isascii() and text.isprintable():
        return text[:_MOST_VALUE]
    text = text[:_MOST_VALUE]
    if not text.isascii():
        try:
            text = text.encode("latin-1").decode("utf-8", "backslashreplace")
        except UnicodeEncodeError:
            pass  # it was read as what it is
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() or one == "\t" or (in_json and one < " ") else _escaped(one)
        for one in text
    )


def _escaped(one: str) -> str:
    number = ord(one)
    if number > 0xFFFF:
        return f"\\U{number:08x}"
    return _SHORT.get(one) or (f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}")


class _Text:
    """A line by a format string."""

    def __init__(self, format_: Format, around: Surroundings, *, omits: bool) -> None:
        self._parts: list[str | ValueOf] = [
            part if isinstance(part, str) else value_of(part, around) for part in format_
        ]
        self._empty = "" if omits else _EMPTY

    def __call__(self, entry: Entry) -> str:
        return "".join(
            part if isinstance(part, str) else _written(part(entry), self._empty)
            for part in self._parts
        )


def _written(value: Value, empty: str, *, in_json: bool = False) -> str:
    if value is None:
        return empty
    return readable(value, in_json=in_json) if isinstance(value, str) else str(value)


# --- JSON ---------------------------------------------------------------------------------------

_Node = Callable[[Entry], object]


class _Left:
    """Stands for what is left out."""


_LEFT_OUT = _Left()


class _Json:
    """A line that is a JSON object."""

    def __init__(self, labels: Mapping[str, object], around: Surroundings, *, omits: bool) -> None:
        self._object = _object(labels, around, omits=omits)

    def __call__(self, entry: Entry) -> str:
        found = self._object(entry)
        return msgspec.json.encode({} if found is _LEFT_OUT else found).decode()


def _node(value: object, around: Surroundings, *, omits: bool) -> _Node:
    if isinstance(value, JsonFormat):
        return _format(value, around, omits=omits)
    if isinstance(value, Mapping):
        return _object(value, around, omits=omits)
    if isinstance(value, tuple):
        return _list(value, around, omits=omits)
    if value is None and omits:
        return lambda _: _LEFT_OUT
    return lambda _: value


def _format(format_: JsonFormat, around: Surroundings, *, omits: bool) -> _Node:
    """Return a value: of its own type where one operator stands alone, else a text."""
    empty = "" if omits else _EMPTY
    [*parts] = (part if isinstance(part, str) else value_of(part, around) for part in format_)
    if len(parts) == 1 and not isinstance(parts[0], str):
        value_at = parts[0]

        def value(entry: Entry) -> object:
            found = value_at(entry)
            if found is None and omits:
                return _LEFT_OUT
            return readable(found, in_json=True) if isinstance(found, str) else found

        return value

    def text(entry: Entry) -> object:
        return "".join(
            part if isinstance(part, str) else _written(part(entry), empty, in_json=True)
            for part in parts
        )

    return text


def _object(members: Mapping[str, object], around: Surroundings, *, omits: bool) -> _Node:
    nodes = [(name, _node(value, around, omits=omits)) for name, value in members.items()]

    def value(entry: Entry) -> object:
        found = {name: node(entry) for name, node in nodes}
        if not omits:
            return found
        kept = {name: each for name, each in found.items() if each is not _LEFT_OUT}
        return kept or _LEFT_OUT

    return value


def _list(elements: tuple[object, ...], around: Surroundings, *, omits: bool) -> _Node:
    nodes = [_node(value, around, omits=omits) for value in elements]

    def value(entry: Entry) -> object:
        return [each for node in nodes if (each := node(entry)) is not _LEFT_OUT]

    return value
