"""Read YAML by the 1.2 core rules into nodes that know their lines.

PyYAML gives the events (from libyaml where it is there); what they mean is decided here, because
its own reader follows YAML 1.1: the last of two equal keys wins, `no` is False and `1:30` is 90.
Whatever two readers might read differently is refused with its remedy. The work is iterative and
bounded before anything is built: size, depth and the nodes that aliases stand for have limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from meshware.policy.codes import ALIAS, DEPTH, ENCODING, SIZE, SYNTAX

__all__ = [
    "MAX_ALIASED_NODES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MappingNode",
    "Node",
    "ScalarNode",
    "SequenceNode",
    "YAMLProblem",
    "from_python",
    "read",
]

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_ALIASED_NODES = 10_000  # in one text, counting all that the aliases stand for

_EVENTS = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# YAML 1.2.2, 10.3.2: the core schema's tag resolution.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INT = re.compile(r"[-+]?[0-9]+")
_BASED = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"[-+]?(\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_DIGITS_AT_MOST = 40  # int() of a longer run of digits is work that nobody needs


class YAMLProblem(Exception):  # noqa: N818 - a finding on its way to become a Problem
    """One thing wrong with a text."""

    def __init__(self, code: str, line: int, message: str) -> None:
        super().__init__(message)
        self.code, self.line, self.message = code, line, message


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A value, and the text it was written as."""

    value: str | int | float | bool | None
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class SequenceNode:
    """A list."""

    items: tuple[Node, ...]
    line: int


@dataclass(frozen=True, slots=True)
class MappingNode:
    """A mapping; keys in the order written, each with its line and its value."""

    items: dict[str, tuple[int, Node]]
    line: int


Node = ScalarNode | SequenceNode | MappingNode


def read(data: str | bytes) -> Iterator[Node]:
    """Yield the documents of a text, empty ones left out.

    Raises:
        YAMLProblem: the text is not YAML, breaks a limit, or could mean two things; what was
            yielded before stands.
    """
    text = _text(data)
    builder = _Builder()
    try:
        for event in yaml.parse(text, Loader=_EVENTS):
            document = builder.take(event)
            if document is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        line = mark.line + 1 if mark else 1
        raise YAMLProblem(SYNTAX, line, f"this is not YAML: {what}") from None
    except yaml.reader.ReaderError as error:
        message = f"a character that YAML forbids (#x{ord(error.character):04x})"
        if not isinstance(error.character, str):
            message = "a byte that YAML forbids"
        line = text.count("\n", 0, error.position) + 1
        raise YAMLProblem(ENCODING, line, f"encoding: {message}; remove it") from None
    except yaml.YAMLError as error:
        raise YAMLProblem(SYNTAX, 1, f"this is not YAML: {error}") from None


def _text(data: str | bytes) -> str:
    if len(data) > MAX_BYTES:
        raise YAMLProblem(
            SIZE, 1, f"size: more than {MAX_BYTES // 1024 // 1024} MiB; split it into files"
        )
    if isinstance(data, bytes):
        if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise YAMLProblem(ENCODING, 1, "encoding: UTF-16; save it as UTF-8")
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            raise YAMLProblem(
                ENCODING, line, f"encoding: not UTF-8 at byte {error.start}; save it as UTF-8"
            ) from None
    # yaml's C reader takes neither lone surrogates nor some control characters kindly.
    for found in _FORBIDDEN.finditer(data):
        line = data.count("\n", 0, found.start()) + 1
        raise YAMLProblem(
            ENCODING,
            line,
            f"encoding: a character that YAML forbids (U+{ord(found[0]):04X}); remove it",
        )
    return data.removeprefix("\ufeff")


# YAML 1.2.2, 5.1: all but the printable characters; a byte order mark may only be the first.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class _Open:
    """A sequence or mapping whose end has not come yet."""

    __slots__ = ("anchor", "items", "key", "line", "pairs", "size")

    def __init__(self, line: int, anchor: str | None, *, is_mapping: bool) -> None:
        self.line, self.anchor = line, anchor
        self.items: list[Node] = []
        self.pairs: dict[str, tuple[int, Node]] | None = {} if is_mapping else None
        self.key: tuple[str, int] | None = None
        self.size = 1


class _Builder:
    """Builds nodes from events, with a stack of its own instead of the interpreter's."""

    def __init__(self) -> None:
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int]] = {}
        self._aliased = 0

    def take(self, event: Any) -> Node | None:
        """Take the next event; return a document when one has ended and is not empty."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            return self._value(_scalar(event, line), 1, event.anchor, line)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._refuse_tag(event, line)
            if len(self._stack) >= MAX_DEPTH:
                raise YAMLProblem(
                    DEPTH, line, f"depth: nested deeper than {MAX_DEPTH} levels; flatten it"
                )
            is_mapping = isinstance(event, yaml.MappingStartEvent)
            self._stack.append(_Open(line, event.anchor, is_mapping=is_mapping))
            return None
        if isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._stack.pop()
            node: Node = (
                SequenceNode(tuple(done.items), done.line)
                if done.pairs is None
                else MappingNode(done.pairs, done.line)
            )
            return self._value(node, done.size, done.anchor, done.line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event.anchor, line)
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
        return None

    def _alias(self, name: str, line: int) -> Node | None:
        if name not in self._anchors:
            raise YAMLProblem(SYNTAX, line, f"*{name} has no anchor before it")
        node, size = self._anchors[name]
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            raise YAMLProblem(
                ALIAS,
                line,
                f"alias: aliases stand for more than {MAX_ALIASED_NODES} nodes; write them out",
            )
        return self._value(node, size, None, line)

    def _value(self, node: Node, size: int, anchor: str | None, line: int) -> Node | None:
        if anchor is not None:
            self._anchors[anchor] = (node, size)
        if not self._stack:
            is_empty = isinstance(node, ScalarNode) and node.value is None
            return None if is_empty else node
        parent = self._stack[-1]
        parent.size += size
        if parent.pairs is None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = (_key(node, parent.pairs, line), line)
        else:
            name, key_line = parent.key
            parent.pairs[name] = (key_line, node)
            parent.key = None
        return None

    @staticmethod
    def _refuse_tag(event: Any, line: int) -> None:
        if event.tag is not None and event.tag != "!":
            raise YAMLProblem(SYNTAX, line, f"the tag {event.tag} has no meaning here; remove it")


def _key(node: Node, pairs: Mapping[str, object], line: int) -> str:
    if not isinstance(node, ScalarNode):
        raise YAMLProblem(SYNTAX, line, "a key must be plain text, not a list or a mapping")
    if node.value is None:
        raise YAMLProblem(SYNTAX, line, "a key is missing before the colon")
    if node.text == "<<":
        raise YAMLProblem(SYNTAX, line, "merge keys (<<) are not YAML 1.2; write the fields out")
    if node.text in pairs:
        raise YAMLProblem(SYNTAX, line, f"the key {node.text!r} is there twice; keep one of them")
    return node.text


def _scalar(event: Any, line: int) -> ScalarNode:
    _Builder._refuse_tag(event, line)
    text: str = event.value
    # `implicit[0]`: plain and without a tag, so the core schema says what it is.
    return ScalarNode(_resolve(text, line) if event.implicit[0] else text, text, line)


def _resolve(text: str, line: int) -> str | int | float | bool | None:
    """Return what a plain scalar means in YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _LEADING_ZERO.fullmatch(text):
        raise YAMLProblem(
            SYNTAX,
            line,
            f"{text[:40]} is {text.lstrip('+-0') or '0'} to some readers of YAML and octal to "
            "others; drop the leading zero, or quote it if it is text",
        )
    if _INT.fullmatch(text):
        return int(text) if len(text) <= _DIGITS_AT_MOST else text
    if _BASED.fullmatch(text):
        return int(text, 0) if len(text) <= _DIGITS_AT_MOST else text
    if _FLOAT.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    if _INFINITE.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text


def from_python(value: object, line: int = 1, depth: int = 0) -> Node:
    """Return the node of a value made of dicts, lists and scalars, as a test hands it over.

    Raises:
        YAMLProblem: it holds anything else, or is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise YAMLProblem(DEPTH, line, f"depth: nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, Mapping):
        pairs = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise YAMLProblem(SYNTAX, line, f"the key {key!r} is not text")
            pairs[key] = (line, from_python(item, line, depth + 1))
        return MappingNode(pairs, line)
    if isinstance(value, str):
        return ScalarNode(value, value, line)
    if value is None or isinstance(value, bool | int | float):
        return ScalarNode(value, str(value), line)
    if isinstance(value, Sequence):
        return SequenceNode(tuple(from_python(item, line, depth + 1) for item in value), line)
    raise YAMLProblem(SYNTAX, line, f"{type(value).__name__} is not a value that YAML has")
