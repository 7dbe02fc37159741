"""Read YAML by the 1.2 core rules into nodes that know their lines.

PyYAML gives the events (from libyaml where it is there); what they mean is decided here, because
its own reader follows YAML 1.1: the last of two equal keys wins, `no` is False and `1:30` is 90.
Whatever two readers might read differently is refused with its remedy. What leaves the structure
in doubt ends the reading; what spoils one value or key is told, and the reading goes on, so that
one run finds all. The work is iterative and bounded before anything is built: size, depth, the
length of keys and the nodes that aliases stand for have limits.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from meshware.policy.codes import ALIAS, DEPTH, ENCODING, SIZE, SYNTAX
from meshware.policy.yaml_problems import LINE_BREAK, YAMLProblem, brief, syntax_problem

__all__ = [
    "MAX_ALIASED_NODES",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_KEY",
    "MappingNode",
    "Node",
    "ScalarNode",
    "SequenceNode",
    "YAMLProblem",
    "brief",
    "from_python",
    "read",
]

MAX_BYTES = 8 * 1024 * 1024
MAX_DEPTH = 64
MAX_ALIASED_NODES = 10_000  # in one text, counting all that the aliases stand for
MAX_KEY = 1024  # characters; YAML's own limit on keys without a question mark

# Characters that count as one more node, lest one long text be there 10,000 times.
_ALIASED_TEXT = 256

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
_FLOAT_AT_MOST = 400  # longer than any float64 written out


Tell = Callable[[YAMLProblem], None]


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A value, and the text it was written as; `is_told` if the reader told a problem with it."""

    value: str | int | float | bool | None
    text: str
    line: int
    is_told: bool = False


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


def read(data: str | bytes, tell: Tell | None = None) -> Iterator[Node]:
    """Yield the documents of a text, empty ones left out.

    Args:
        data: UTF-8, with or without a byte order mark.
        tell: takes each problem that spoils one value or key only; the reading goes on. Without it
            such a problem is raised as well.

    Raises:
        YAMLProblem: the text is not YAML, breaks a limit, or could mean two things; what was
            yielded before stands.
    """
    text = _text(data)
    builder = _Builder(tell or _raise)
    began = len(text) - len(text.lstrip("\n"))  # the line of the document at hand, from 0
    try:
        for event in yaml.parse(text, Loader=_EVENTS):
            if isinstance(event, yaml.DocumentStartEvent | yaml.DocumentEndEvent):
                mark: Any = event.start_mark  # never None of a text
                began = mark.line  # one ends where the next begins
            document = builder.take(event)
            if document is not None:
                yield document
    except yaml.MarkedYAMLError as error:
        raise syntax_problem(error, text, began) from None
    except (yaml.YAMLError, ValueError) as error:
        # ValueError: PyYAML without libyaml, about an escape beyond Unicode's last character.
        raise YAMLProblem(
            SYNTAX, 1, f"this is not YAML ({brief(str(error), 200)}); mend it"
        ) from None


def _raise(problem: YAMLProblem) -> None:
    raise problem


def _text(data: str | bytes) -> str:
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BYTES:
        raise YAMLProblem(
            SIZE, 1, f"size: more than {MAX_BYTES // 1024 // 1024} MiB; split it into files"
        )
    if isinstance(data, bytes):
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
            raise YAMLProblem(ENCODING, 1, "encoding: this looks like UTF-16; save it as UTF-8")
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            line = len(LINE_BREAK.findall(raw[: error.start].decode("utf-8"))) + 1
            raise YAMLProblem(
                ENCODING, line, f"encoding: not UTF-8 at byte {error.start}; save it as UTF-8"
            ) from None
    text = data.removeprefix("\ufeff")
    found = _FORBIDDEN.search(text)
    if found is None:
        return text
    line = len(LINE_BREAK.findall(text, 0, found.start())) + 1
    name = f"U+{ord(found[0]):04X}"
    if found[0] in _OLDLINE_BREAKS:
        message = f"{name} ends a line for some readers of YAML; write it as an escape in quotes"
    elif found[0] == "\ufeff":
        message = "a byte order mark within the text; remove it"
    else:
        message = f"a character that YAML forbids ({name}); remove it"
    raise YAMLProblem(ENCODING, line, f"encoding: {message}")


# YAML 1.2.2, 5.1: all but the printable characters; a byte order mark may only be the first; and
# what ended a line in YAML 1.1 and does not in 1.2 (5.4).
_OLDLINE_BREAKS = "\x85\u2028\u2029"
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
)


class _Open:
    """A sequence or mapping whose end has not come yet."""

    __slots__ = ("anchor", "height", "items", "key", "line", "pairs", "size")

    def __init__(self, line: int, anchor: str | None, *, is_mapping: bool) -> None:
        self.line, self.anchor = line, anchor
        self.items: list[Node] = []
        self.pairs: dict[str, tuple[int, Node]] | None = {} if is_mapping else None
        self.key: tuple[str | None, int] | None = None  # None within: a key that was told about
        self.size, self.height = 1, 1


class _Builder:
    """Builds nodes from events, with a stack of its own instead of the interpreter's."""

    def __init__(self, tell: Tell) -> None:
        self._tell_it = tell
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}
        self._aliased = 0

    def take(self, event: Any) -> Node | None:
        """Take the next event; return a document when one has ended and is not empty."""
        line = event.start_mark.line + 1
        if isinstance(event, yaml.ScalarEvent):
            scalar = self._scalar(event, line)
            size = 1 + len(scalar.text) // _ALIASED_TEXT
            return self._value(scalar, size, 0, event.anchor, line)
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._check_tag(event, line)
            if len(self._stack) >= MAX_DEPTH:
                raise self._too_deep(line)
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
            return self._value(node, done.size, done.height, done.anchor, done.line)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(str(event.anchor), line)
        if isinstance(event, yaml.DocumentStartEvent):
            self._anchors.clear()
            if event.version not in (None, (1, 2)):
                version = ".".join(map(str, event.version))
                message = f"%YAML {version}: this is read by the rules of 1.2; remove the directive"
                self._tell(line, message)
        return None

    def _alias(self, name: str, line: int) -> Node | None:
        if name not in self._anchors:
            raise YAMLProblem(
                SYNTAX, line, f"*{brief(name)} has no anchor before it; write the value out"
            )
        node, size, height = self._anchors[name]
        self._aliased += size
        if self._aliased > MAX_ALIASED_NODES:
            raise YAMLProblem(
                ALIAS,
                line,
                f"alias: aliases stand for more than {MAX_ALIASED_NODES} nodes (a long text counts "
                "as several); write them out",
            )
        if len(self._stack) + height > MAX_DEPTH:
            raise self._too_deep(line)
        return self._value(node, size, height, None, line)

    def _value(
        self, node: Node, size: int, height: int, anchor: str | None, line: int
    ) -> Node | None:
        if anchor is not None:
            self._anchors[anchor] = (node, size, height)
        if not self._stack:
            is_empty = isinstance(node, ScalarNode) and node.value is None
            return None if is_empty else node
        parent = self._stack[-1]
        parent.size += size
        parent.height = max(parent.height, height + 1)
        if parent.pairs is None:
            parent.items.append(node)
        elif parent.key is None:
            parent.key = (self._key(node, parent.pairs, line), line)
        else:
            name, key_line = parent.key
            if name is not None:
                parent.pairs[name] = (key_line, node)
            parent.key = None
        return None

    def _key(self, node: Node, pairs: Mapping[str, tuple[int, Node]], line: int) -> str | None:
        """Return a key, or None when a problem was told and its value shall be passed over."""
        if not isinstance(node, ScalarNode):
            self._tell(line, "a key is a list or a mapping; write plain text")
            return None
        text, shown = node.text, brief(node.text)
        if not text:
            self._tell(line, "a key is missing before the colon; write it")
            return None
        if len(text) > MAX_KEY:
            message = f"size: the key {shown!r} has more than {MAX_KEY} characters; shorten it"
            raise YAMLProblem(SIZE, line, message)
        if text == "<<":
            self._tell(line, "merge keys (<<) are not YAML 1.2; write the fields out")
            return None
        if text in pairs:
            first = pairs[text][0]
            message = f"the key {shown!r} is there twice, first in line {first}; keep one of them"
            self._tell(line, message, text)
            return None
        # Readers make one key of 1 and 0x1, of 1.0 and 1, of true and True.
        is_plain_number = type(node.value) is int and str(node.value) == text
        if not (isinstance(node.value, str) or is_plain_number):
            self._tell(line, f"the key {shown} is no text; quote it", text)
        return text

    def _scalar(self, event: Any, line: int) -> ScalarNode:
        text: str = event.value
        if self._check_tag(event, line):
            return ScalarNode(text, text, line, is_told=True)
        # `implicit[0]`: plain and without a tag, so the core schema says what it is.
        if not event.implicit[0]:
            # PyYAML without libyaml lets an escape make half of a character.
            if not text.isascii() and _HALF.search(text):
                raise YAMLProblem(
                    ENCODING, line, "encoding: an escape for half a character; write the character"
                )
            return ScalarNode(text, text, line)
        try:
            return ScalarNode(_resolve(text), text, line)
        except ValueError as error:
            self._tell(line, str(error))
            return ScalarNode(text, text, line, is_told=True)

    def _check_tag(self, event: Any, line: int) -> bool:
        if event.tag is None:
            return False
        self._tell(
            line,
            f"the tag {brief(event.tag)} has no meaning here; remove it (and quote the value "
            "if it is text)",
        )
        return True

    def _tell(self, line: int, message: str, key: str | None = None) -> None:
        self._tell_it(YAMLProblem(SYNTAX, line, message, self._path(key)))

    def _path(self, key: str | None) -> str | None:
        """Return the path of the field at hand: `spec.http[0].timeout`."""
        path = ""
        for parent in self._stack:
            if parent.pairs is None:
                path += f"[{len(parent.items)}]"
            elif parent.key is not None:
                path += f".{parent.key[0] or '?'}"
        if key is not None:
            path += f".{key}"
        return path.removeprefix(".") or None

    @staticmethod
    def _too_deep(line: int) -> YAMLProblem:
        return YAMLProblem(DEPTH, line, f"depth: nested deeper than {MAX_DEPTH} levels; flatten it")


_HALF = re.compile("[\ud800-\udfff]")


def _resolve(text: str) -> str | int | float | bool | None:
    """Return what a plain scalar means in YAML 1.2's core schema.

    Raises:
        ValueError: readers differ about it.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _LEADING_ZERO.fullmatch(text):
        number = text.lstrip("+-0") or "0"
        raise ValueError(
            f"{brief(text)} is {brief(number)} to some readers of YAML and octal to others; drop "
            "the leading zero, or quote it if it is text"
        )
    number_of_it: int | float
    if _INT.fullmatch(text) or _BASED.fullmatch(text):
        if len(text) <= _DIGITS_AT_MOST:
            return int(text, 0)
        number_of_it = math.inf
    elif _FLOAT.fullmatch(text):
        number_of_it = float(text) if len(text) <= _FLOAT_AT_MOST else math.inf
    elif _INFINITE.fullmatch(text):
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    else:
        return text
    if not math.isfinite(number_of_it):
        raise ValueError(f"{brief(text)} is too large for a number; quote it if it is text")
    return number_of_it


def from_python(value: object, line: int = 1, depth: int = 0) -> Node:
    """Return the node of a value made of dicts, lists and scalars, as a test hands it over.

    Raises:
        YAMLProblem: it holds anything else, or is nested too deep.
    """
    if depth > MAX_DEPTH:
        raise YAMLProblem(DEPTH, line, f"depth: nested deeper than {MAX_DEPTH} levels; flatten it")
    if isinstance(value, Mapping):
        pairs = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise YAMLProblem(
                    SYNTAX, line, f"the key {brief(ascii(key))} is not text; quote it"
                )
            pairs[_whole(key, line)] = (line, from_python(item, line, depth + 1))
        return MappingNode(pairs, line)
    if isinstance(value, str):
        return ScalarNode(_whole(value, line), value, line)
    if isinstance(value, int) and abs(value) >= 1 << 64:
        raise YAMLProblem(SYNTAX, line, "a number is out of every range; write a smaller one")
    if value is None or isinstance(value, bool | int | float):
        return ScalarNode(value, str(value), line)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return SequenceNode(tuple(from_python(item, line, depth + 1) for item in value), line)
    raise YAMLProblem(
        SYNTAX, line, f"{type(value).__name__} is not a value that YAML has; write text"
    )


def _whole(text: str, line: int) -> str:
    """Return a text if UTF-8 can hold it."""
    if not text.isascii() and _HALF.search(text):
        raise YAMLProblem(
            ENCODING, line, "encoding: half of a character (a surrogate); write the whole one"
        )
    return text
