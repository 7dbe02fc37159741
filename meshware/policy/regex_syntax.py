r"""Read a regular expression in the dialect of RE2 into a tree.

Istio's regular expressions are RE2's: no lookaround, no backreference, no possessive or atomic
group, so that they can be matched in time linear in the text. A pattern is taken or refused here,
with or without google-re2 installed, and the reason says what to write instead.

The names of groups are skipped: nobody refers to them. Differs from RE2: scripts (`\p{Greek}`) and
single bytes (`\C`) are refused; general categories (`\p{L}`, `\pN`) are taken.

Source: RE2, `re2/parse.cc` and the syntax page.
"""

from __future__ import annotations

import string
from dataclasses import dataclass

from meshware.policy.regex_chars import (
    LAST,
    PERL,
    POSIX,
    Ranges,
    category,
    complement,
    folded,
    merged,
)

__all__ = [
    "LONGEST",
    "Alternatives",
    "At",
    "Chars",
    "Group",
    "Node",
    "Repeat",
    "Sequence",
    "parse",
]

LONGEST = 1024  # bytes of UTF-8; Istio's limit
_DEEPEST = 100  # groups within groups; RE2 takes 1,000, but nobody writes that
_MOST_REPEATED = 1000  # RE2's kMaxRepeat, for nested repetitions multiplied
_LARGEST = 2000  # characters and classes with the repetitions written out

_ESCAPES = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_ASSERTIONS = {"A": "begin", "z": "end", "b": "word", "B": "no-word"}
_NO_COUNTERPART = {
    "=": "a lookahead",
    "!": "a negative lookahead",
    "<=": "a lookbehind",
    "<!": "a negative lookbehind",
    ">": "an atomic group",
    "#": "a comment",
    "P=": "a backreference",
    "P>": "a recursion",
    "(": "a conditional",
}


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of some."""

    ranges: Ranges


@dataclass(frozen=True, slots=True)
class Sequence:
    """One after another."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Alternatives:
    """Any of them."""

    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """The item at least `least` and at most `most` times; None: without limit."""

    item: Node
    least: int
    most: int | None
    is_lazy: bool = False  # as seldom as it goes, in place of as often


@dataclass(frozen=True, slots=True)
class Group:
    """What the item matched is asked for by this number, from 1."""

    item: Node
    number: int


@dataclass(frozen=True, slots=True)
class At:
    """A place: `begin`, `end`, `line-begin`, `line-end`, `word` or `no-word`."""

    place: str


Node = Chars | Sequence | Alternatives | Repeat | Group | At


def parse(pattern: str) -> Node:
    """Return the tree of a pattern.

    Raises:
        ValueError: RE2 would refuse it, or it is too long, too deep or too large.
    """
    try:
        length = len(pattern.encode())
    except UnicodeEncodeError:
        raise ValueError("it holds half of a surrogate pair; write valid Unicode") from None
    if length > LONGEST:
        raise ValueError(f"it is {length} bytes long; at most {LONGEST} are allowed")
    parser = _Parser(pattern)
    node = parser.alternatives(0)
    if parser.at < len(pattern):
        raise ValueError("it closes a group that was not opened; write `\\)` for the character")
    size = _size(node)
    if size > _LARGEST:
        raise ValueError(
            f"it stands for {size} characters when its repetitions are written out; "
            f"at most {_LARGEST} are allowed: use smaller counts, or `*` and `+`"
        )
    return node


def _size(node: Node) -> int:
    match node:
        case Chars() | At():
            return 1
        case Sequence(items) | Alternatives(items):
            return sum(map(_size, items)) + len(items)
        case Repeat(item, least, most):
            return (_size(item) + 1) * max(least, most or 0, 1)
        case Group(item):
            return _size(item)


def _repeated(node: Node) -> int:
    """Return how often the innermost of nested counted repetitions would be written out."""
    match node:
        case Sequence(items) | Alternatives(items):
            return max(map(_repeated, items), default=1)
        case Repeat(item, least, most):
            return _repeated(item) * max(least if most is None else most, 1)
        case Group(item):
            return _repeated(item)
        case _:
            return 1


class _Parser:
    """A recursive descent over one pattern; `flags` holds those of `imsU` that are on."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.flags: frozenset[str] = frozenset()
        self.groups = 0

    # --- structure ----------------------------------------------------------------------------

    def alternatives(self, depth: int) -> Node:
        """Read up to the end or to an unread `)`; flags set within end there."""
        if depth > _DEEPEST:
            raise ValueError(f"its groups are nested more than {_DEEPEST} deep")
        outer = self.flags
        branches = [self._sequence(depth)]
        while self._take("|"):
            branches.append(self._sequence(depth))
        self.flags = outer
        return branches[0] if len(branches) == 1 else Alternatives(tuple(branches))

    def _sequence(self, depth: int) -> Node:
        items: list[Node] = []
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)":
            start = self.at
            counts = self._repetition()
            if counts is not None:
                operator = self.pattern[start : self.at]
                if not items:  # flags alone, as in `(?i)*`, are nothing to repeat
                    raise ValueError(f"there is nothing for `{operator}` to repeat")
                items[-1] = self._repeat(items[-1], counts, operator)
            else:
                self._item(items, depth)
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _repeat(self, item: Node, counts: tuple[int, int | None], operator: str) -> Node:
        least, most = counts
        is_lazy = self._take("?") != ("U" in self.flags)
        follows = self.at
        if self._repetition() is not None:
            second = self.pattern[follows : self.at]
            if second == "+":
                raise ValueError("possessive repetition is not part of RE2; write it without `+`")
            raise ValueError(f"`{operator}{second}` repeats a repetition; put it into a group")
        node = Repeat(item, least, most, is_lazy)
        if _repeated(node) > _MOST_REPEATED:
            raise ValueError(f"it repeats something more than {_MOST_REPEATED} times")
        return node

    def _repetition(self) -> tuple[int, int | None] | None:
        """Read `*`, `+`, `?` or `{n,m}`; a brace that is not one is a character."""
        if self._take("*"):
            return (0, None)
        if self._take("+"):
            return (1, None)
        if self._take("?"):
            return (0, 1)
        end = self.pattern.find("}", self.at)
        if not self.pattern.startswith("{", self.at) or end < 0:
            return None
        first, comma, second = self.pattern[self.at + 1 : end].partition(",")
        if not _is_number(first) or (second and not _is_number(second)):
            return None
        least = int(first)
        most = int(second) if second else (None if comma else least)
        if max(least, most or 0) > _MOST_REPEATED:
            raise ValueError(f"it repeats something more than {_MOST_REPEATED} times")
        if most is not None and most < least:
            raise ValueError(f"`{{{least},{most}}}` ends before it begins; swap the numbers")
        self.at = end + 1
        return (least, most)

    def _item(self, items: list[Node], depth: int) -> None:
        """Read one item that is not a repetition; flags add none, `\\Q...\\E` adds several."""
        char = self._next()
        match char:
            case "(":
                group = self._group(depth)
                if group is not None:
                    items.append(group)
            case "[":
                items.append(self._class())
            case ".":
                excluded: Ranges = () if "s" in self.flags else ((10, 10),)
                items.append(Chars(complement(excluded)))
            case "^":
                items.append(At("line-begin" if "m" in self.flags else "begin"))
            case "$":
                items.append(At("line-end" if "m" in self.flags else "end"))
            case "\\":
                self._escape(items)
            case _:
                items.append(self._chars(((ord(char), ord(char)),)))

    def _group(self, depth: int) -> Node | None:
        """Read behind a `(`; None for flags that hold from here on."""
        outer = self.flags
        number: int | None = None
        if not self._take("?") or self._name():
            self.groups += 1
            number = self.groups
        elif not self._flags():
            return None
        node = self.alternatives(depth + 1)
        if not self._take(")"):
            raise ValueError("a group is not closed; write `)`, or `\\(` for the character")
        self.flags = outer
        return node if number is None else Group(node, number)

    def _name(self) -> bool:
        """Read `P<name>` or `<name>` behind `(?`."""
        rest = self.pattern[self.at :]
        for opening, what in _NO_COUNTERPART.items():
            if rest.startswith(opening):
                raise ValueError(f"`(?{opening}` is {what}, which RE2 does not have")
        if not rest.startswith(("P<", "<")):
            return False
        name, closing, _ = rest.partition("<")[2].partition(">")
        if not closing or not name or not all(c == "_" or c.isalnum() for c in name):
            raise ValueError("a group's name is letters, digits and `_`, as in `(?P<name>...)`")
        self.at += rest.index(">") + 1
        return True

    def _flags(self) -> bool:
        """Read flags behind `(?`; say whether a group follows, as in `(?i:...)`."""
        flags = set(self.flags)
        adding, is_empty = True, False
        while True:
            char = self._next("a group `(?` is not closed")
            if char in "imsU":
                (flags.add if adding else flags.discard)(char)
                is_empty = False
            elif char == "-" and adding:
                adding, is_empty = False, True
            elif char in ":)" and not is_empty:
                self.flags = frozenset(flags)
                return char == ":"
            else:
                raise ValueError(f"`(?...{char}` is not known to RE2; its flags are i, m, s and U")

    # --- characters ---------------------------------------------------------------------------

    def _escape(self, items: list[Node]) -> None:
        if self._take("Q"):
            text, _, _ = self.pattern[self.at :].partition("\\E")
            self.at = min(self.at + len(text) + 2, len(self.pattern))
            items += [self._chars(((ord(char), ord(char)),)) for char in text]
            return
        place = _ASSERTIONS.get(self.pattern[self.at : self.at + 1])
        if place is not None:
            self.at += 1
            items.append(At(place))
            return
        found = self._named_class()
        if found is None:
            point = self._escaped()
            found = ((point, point),)
        items.append(self._chars(found))

    def _named_class(self) -> Ranges | None:
        r"""Read `\d`, `\pL`, `\p{Lu}` or the like behind the backslash."""
        letter = self.pattern[self.at : self.at + 1]
        if letter and letter in "dwsDWS":
            self.at += 1
            ranges = PERL[letter.lower()]
            return ranges if letter.islower() else complement(ranges)
        if letter not in ("p", "P"):
            return None
        self.at += 1
        name = self._next("`\\p` names no category")
        if name == "{":
            name, closing, _ = self.pattern[self.at :].partition("}")
            if not closing:
                raise ValueError("`\\p{` is not closed")
            self.at += len(name) + 1
        is_negated = (letter == "P") != name.startswith("^")
        ranges = category(name.removeprefix("^"))
        return complement(ranges) if is_negated else ranges

    def _escaped(self) -> int:
        """Read one escaped character behind the backslash."""
        char = self._next("it ends in a lone backslash; write `\\\\`")
        if char in _ESCAPES:
            return _ESCAPES[char]
        if char == "x":
            return self._hexadecimal()
        octal = self.pattern[self.at - 1 : self.at + 2]
        digits = octal[: len(octal) - len(octal.lstrip("01234567"))]
        if char == "0" or (char in "1234567" and len(digits) > 1):
            self.at += len(digits) - 1
            return int(digits, 8)
        if char.isdigit():
            raise ValueError(f"`\\{char}` is a backreference, which RE2 does not have")
        if ord(char) < 128 and not char.isalnum():
            return ord(char)
        raise ValueError(f"`\\{char}` is not known to RE2")

    def _hexadecimal(self) -> int:
        if self._take("{"):
            digits, closing, _ = self.pattern[self.at :].partition("}")
            self.at += len(digits) + 1
        else:
            digits = self.pattern[self.at : self.at + 2]
            closing = "}" if len(digits) == 2 else ""
            self.at += 2
        if not digits or not closing or not set(digits) <= set(string.hexdigits):
            raise ValueError("`\\x` needs two hexadecimal digits, or braces as in `\\x{1F600}`")
        if int(digits, 16) > LAST:
            raise ValueError("`\\x{...}` is beyond the last character of Unicode, 10FFFF")
        return int(digits, 16)

    def _class(self) -> Node:
        """Read behind a `[`."""
        is_negated = self._take("^")
        ranges: list[tuple[int, int]] = []
        is_first = True
        while is_first or not self._take("]"):
            is_first = False
            ranges += self._class_part()
        found = merged(ranges)
        if "i" in self.flags:
            found = folded(found)
        # Unlike in other dialects, a negated class takes the newline.
        return Chars(complement(found) if is_negated else found)

    def _class_part(self) -> Ranges:
        """Read a character, a range or a named class."""
        if self.pattern.startswith("[:", self.at):
            name, closing, _ = self.pattern[self.at + 2 :].partition(":]")
            if closing:
                known = POSIX.get(name.removeprefix("^"))
                if known is None:
                    raise ValueError(f"`[:{name}:]` is not a class that RE2 knows")
                self.at += len(name) + 4
                return complement(known) if name.startswith("^") else known
        if self._take("\\"):
            named = self._named_class()
            if named is not None:
                return named
            low = self._escaped()
        else:
            low = ord(self._next("a class is not closed; write `]`, or `\\[` for the character"))
        rest = self.pattern[self.at : self.at + 2]
        if len(rest) < 2 or rest[0] != "-" or rest[1] == "]":
            return ((low, low),)
        self.at += 1
        high = self._escaped() if self._take("\\") else ord(self._next())
        if high < low:
            raise ValueError(f"the range `{chr(low)}-{chr(high)}` ends before it begins")
        return ((low, high),)

    def _chars(self, ranges: Ranges) -> Chars:
        return Chars(folded(ranges) if "i" in self.flags else ranges)

    # --- reading ------------------------------------------------------------------------------

    def _next(self, otherwise: str = "it ends too early") -> str:
        if self.at >= len(self.pattern):
            raise ValueError(otherwise)
        self.at += 1
        return self.pattern[self.at - 1]

    def _take(self, text: str) -> bool:
        if not self.pattern.startswith(text, self.at):
            return False
        self.at += len(text)
        return True


def _is_number(text: str) -> bool:
    return bool(text) and len(text) <= 9 and set(text) <= set(string.digits)
