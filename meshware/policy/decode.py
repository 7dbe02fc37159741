"""Build documents from nodes, and find *all* that is wrong with them on the way.

msgspec reads policy files, but it stops at the first error and knows no lines. This walker goes
through a node tree beside the document's types: unknown fields, wrong types, words and ranges, and
fields that are not carried out each become a problem with their path, line and remedy.
"""

from __future__ import annotations

import difflib
import math
import re
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union

import msgspec

from meshware.policy.codes import INVALID, NOT_APPLICABLE, NOT_SUPPORTED_YET, UNKNOWN_FIELD
from meshware.policy.document.common import Document
from meshware.policy.durations import parse_duration
from meshware.policy.support import Status, is_partly_done, support_of
from meshware.policy.yaml12 import MappingNode, Node, ScalarNode, SequenceNode, brief

__all__ = ["BAD", "Decoder", "nearest", "parse_duration"]

Report = Callable[[str, str, int, str], None]
"""Take a problem: code, field path, line, message."""


class _Bad:
    """Stands for a value that could not be made; the problem has been told."""


BAD = _Bad()

_INTEGER = (-(2**31), 2**32 - 1)  # the CRDs' int32 and uint32
_LONGEST_NAME = 253  # a longer field name is like none of ours: looking for one would be waste


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of a document, as the walker needs it."""

    attribute: str
    name: str  # as written in YAML
    type: Any
    is_required: bool


@cache
def _fields(document: type[Document]) -> Mapping[str, _Field]:
    hints = typing.get_type_hints(document, include_extras=True)
    return {
        f.encode_name: _Field(f.name, f.encode_name, hints[f.name], f.required)
        for f in msgspec.structs.fields(document)
    }


@dataclass(slots=True)
class Decoder:
    """Decodes one resource.

    Attributes:
        report: takes each problem.
        lines: filled with the line of every field, by its path.
        keeps_the_rest: leave out what is bad and go on, for a document that is refused and whose
            other parts are referred to all the same.
    """

    report: Report
    lines: dict[str, int] = field(default_factory=dict)
    keeps_the_rest: bool = False

    def document(self, node: Node, kind: type[Document], path: str, generic: str) -> Any:
        """Return a document, or BAD.

        Args:
            node: what was written.
            kind: the type of document.
            path: where it stands: `spec.http[0]`.
            generic: the same in the words of the support table: `VirtualService.spec.http[]`.
        """
        if not isinstance(node, MappingNode):
            return self._wrong(node, path, "a mapping of fields")
        known = _fields(kind)
        values: dict[str, Any] = {}
        is_bad = False
        for name, (line, child) in node.items.items():
            here = f"{path}.{name}"
            self.lines[here] = line
            found = known.get(name)
            if found is None:
                self.report(UNKNOWN_FIELD, here, line, _unknown(name, known, kind, generic))
                is_bad = True
                continue
            there = f"{generic}.{name}"
            if self._is_refused(there, here, line):
                is_bad = True
                continue
            value = self._value(child, found.type, here, there)
            if value is BAD:
                is_bad = True
                continue
            values[found.attribute] = value
        for name, wanted in known.items():
            if wanted.is_required and name not in node.items:
                self.report(INVALID, f"{path}.{name}", node.line, f"{name} is missing; add it")
                is_bad = True
        if is_bad and not (
            self.keeps_the_rest
            and all(f.attribute in values for f in known.values() if f.is_required)
        ):
            return BAD
        return kind(**values)

    def _is_refused(self, generic: str, path: str, line: int) -> bool:
        support = support_of(generic)
        if support.status is Status.LATER:
            if is_partly_done(generic):
                return False  # part of it is carried out: the fields that are not say so themselves
            note = f" ({support.note})" if support.note else ""
            self.report(
                NOT_SUPPORTED_YET,
                path,
                line,
                f"{path.rpartition('.')[2]} is not supported yet{note}; remove it",
            )
            return True
        if support.status is Status.NOT_APPLICABLE:
            self.report(
                NOT_APPLICABLE,
                path,
                line,
                f"{path.rpartition('.')[2]} is not applicable: {support.note}; remove it",
            )
            return True
        return False

    def _value(self, node: Node, kind: Any, path: str, generic: str) -> Any:
        if isinstance(node, ScalarNode):
            if node.is_told:
                return BAD
            if node.value is None:
                return self._problem(node, path, "is empty; give it a value or remove it")
        origin = typing.get_origin(kind)
        if origin in (Union, types.UnionType):
            inner = next(part for part in typing.get_args(kind) if part is not type(None))
            return self._value(node, inner, path, generic)
        if origin is Annotated:
            base, *notes = typing.get_args(kind)
            return self._annotated(node, base, notes[0], path)
        if origin is tuple:
            return self._list(node, typing.get_args(kind)[0], path, generic)
        if origin is dict:
            return self._mapping(node, typing.get_args(kind)[1], path, generic)
        if origin is Literal:
            return self._word(node, typing.get_args(kind), path)
        if isinstance(kind, type) and issubclass(kind, Document):
            return self.document(node, kind, path, generic)
        return self._scalar(node, kind, path)

    def _list(self, node: Node, kind: Any, path: str, generic: str) -> Any:
        if not isinstance(node, SequenceNode):
            return self._wrong(node, path, "a list")
        values = []
        for index, child in enumerate(node.items):
            here = f"{path}[{index}]"
            self.lines[here] = child.line
            values.append(self._value(child, kind, here, f"{generic}[]"))
        if BAD in values and not self.keeps_the_rest:
            return BAD
        return tuple(value for value in values if value is not BAD)

    def _mapping(self, node: Node, kind: Any, path: str, generic: str) -> Any:
        if not isinstance(node, MappingNode):
            return self._wrong(node, path, "a mapping")
        values = {}
        for name, (line, child) in node.items.items():
            here = f"{path}[{name}]"
            self.lines[here] = line
            values[name] = self._value(child, kind, here, f"{generic}{{}}")
        if BAD in values.values() and not self.keeps_the_rest:
            return BAD
        return {name: value for name, value in values.items() if value is not BAD}

    def _annotated(self, node: Node, base: Any, meta: msgspec.Meta, path: str) -> Any:
        if meta.extra and meta.extra.get("format") == "duration":
            return self._duration(node, path)
        if meta.extra and meta.extra.get("format") == "json":
            return self._json(node, path)
        written = node.value if isinstance(node, ScalarNode) else None
        if type(written) is int and _is_outside(written, meta):
            return self._problem(node, path, f"is {brief(str(written))}; write {_range(meta)}")
        value = self._scalar(node, base, path)
        if value is BAD:
            return BAD
        if _is_outside(value, meta):
            return self._problem(node, path, f"is {value}; write {_range(meta)}")
        return value

    def _duration(self, node: Node, path: str) -> Any:
        if isinstance(node, ScalarNode) and isinstance(node.value, str):
            try:
                return parse_duration(node.value)
            except ValueError:
                pass
        return self._wrong(node, path, "a duration such as 5s, 0.5s, 10ms or 1m30s")

    def _json(self, node: Node, path: str) -> Any:
        """Return a mapping of anything."""
        if not isinstance(node, MappingNode):
            return self._wrong(node, path, "a mapping")
        value = self._anything(node, path)
        return BAD if value is BAD else value

    def _anything(self, node: Node, path: str) -> Any:
        self.lines[path] = node.line
        if isinstance(node, MappingNode):
            members = {
                name: self._anything(child, f"{path}.{name}")
                for name, (_, child) in node.items.items()
            }
            return BAD if BAD in members.values() else members
        if isinstance(node, SequenceNode):
            items = [self._anything(child, f"{path}[{at}]") for at, child in enumerate(node.items)]
            return BAD if BAD in items else items
        return BAD if node.is_told else node.value

    def _word(self, node: Node, words: tuple[str, ...], path: str) -> Any:
        value = node.value if isinstance(node, ScalarNode) else None
        if value in words:
            return value
        near = nearest(value, words) if isinstance(value, str) else None
        hint = f" (did you mean {near}?)" if near else ""
        return self._wrong(node, path, f"one of {', '.join(words)}{hint}")

    def _scalar(self, node: Node, kind: Any, path: str) -> Any:
        value = node.value if isinstance(node, ScalarNode) else node
        if kind is str:
            if isinstance(value, str):
                return value
            if isinstance(node, ScalarNode):
                quoted = f'"{brief(node.text)}"'
                return self._problem(node, path, f"is {_what(node)}, not text; quote it: {quoted}")
            return self._wrong(node, path, "text")
        if kind is bool:
            return value if isinstance(value, bool) else self._wrong(node, path, "true or false")
        if kind is int:
            return self._integer(node, value, path)
        if kind is float:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return self._wrong(node, path, "a number")
            if math.isfinite(value):
                return float(value)
            return self._wrong(node, path, "a number")
        raise TypeError(f"no way to decode {kind} at {path}")

    def _integer(self, node: Node, value: object, path: str) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            if _INTEGER[0] <= value <= _INTEGER[1]:
                return value
            low, high = _INTEGER
            return self._problem(node, path, f"is a number out of range; write {low} to {high}")
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,10}", value):
            return self._problem(node, path, f"is text; remove the quotes: {value}")
        return self._wrong(node, path, "a whole number")

    def _wrong(self, node: Node, path: str, wanted: str) -> _Bad:
        return self._problem(node, path, f"is {_what(node)}; write {wanted}")

    def _problem(self, node: Node, path: str, rest: str) -> _Bad:
        self.report(INVALID, path, node.line, f"{path.rpartition('.')[2]} {rest}")
        return BAD


def _is_outside(value: float, meta: msgspec.Meta) -> bool:
    return (meta.ge is not None and value < meta.ge) or (meta.le is not None and value > meta.le)


def _range(meta: msgspec.Meta) -> str:
    if meta.le is None:
        return f"a number of at least {meta.ge}"
    return f"a number from {meta.ge} to {meta.le}"


def _what(node: Node) -> str:
    """Say what was written, for a message."""
    if isinstance(node, MappingNode):
        return "a mapping"
    if isinstance(node, SequenceNode):
        return "a list"
    if node.value is None:
        return "empty"
    if isinstance(node.value, str):
        return f"the text {brief(node.text)!r}"
    return f"the {'truth value' if isinstance(node.value, bool) else 'number'} {brief(node.text)}"


def nearest(text: str, words: Collection[str]) -> str | None:
    """Return the word that a slip of the pen may have meant, whatever its case."""
    if len(text) > _LONGEST_NAME:
        return None
    folded: dict[str, str] = {}
    for word in words:
        folded.setdefault(_folded(word), word)  # of two spellings the first is the usual one
    near = difflib.get_close_matches(_folded(text), folded, 1, 0.6)
    return folded[near[0]] if near else None


def _folded(text: str) -> str:
    return text.casefold().replace("_", "").replace("-", "")


def _unknown(name: str, known: Mapping[str, _Field], kind: type[Document], generic: str) -> str:
    if any(name in _fields(wider) for wider in kind.__subclasses__()):
        ours = f"meshware.dev/v1alpha1 {generic.partition('.')[0]}"
        return (
            f"there is no field {name!r} in Istio's own kind: it is of {ours}; write that "
            "apiVersion, with which all of Istio's fields go on"
        )
    near = nearest(name, known)
    if near is not None:
        return f"there is no field {name!r}; did you mean {near!r}?"
    fields = ", ".join(sorted(known))
    return f"there is no field {brief(name)!r}; remove it, or write one of {fields}"
