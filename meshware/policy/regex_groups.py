"""Find a regular expression in a text, and what its groups matched, without backtracking.

Theory of operation. The tree of a pattern becomes a program: *take* a character, *fork* with a
preference, *save* a position, *assert* a place, *accept*. All threads of the program advance
through the text together, in the order of their preference, and none is in one place twice (Pike).
The thread that accepts first cuts off those behind it: the leftmost match, and of those the one
that a backtracking search would find first, as RE2 finds it. Time is linear in the text.

This is for replacing; `automaton` only says whether a whole text matches, and is much faster.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshware.policy.regex_chars import Ranges
from meshware.policy.regex_syntax import (
    Alternatives,
    At,
    Chars,
    Group,
    Node,
    Repeat,
    Sequence,
    parse,
)

__all__ = ["Finder", "Spans", "count_groups"]

Spans = tuple[int | None, ...]
"""Start and end of the match and of each group, in pairs; None where a group took no part."""

_WORD = frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")


@dataclass(slots=True)
class _Take:
    ranges: Ranges
    then: int


@dataclass(slots=True)
class _Fork:
    to: tuple[int, ...]  # the preferred one first


@dataclass(slots=True)
class _Save:
    slot: int
    then: int


@dataclass(slots=True)
class _Assert:
    place: str
    then: int


@dataclass(slots=True)
class _Accept:
    pass


_Instruction = _Take | _Fork | _Save | _Assert | _Accept
_Thread = tuple[int, Spans]


def count_groups(node: Node) -> int:
    """Return how many groups a tree has."""
    match node:
        case Sequence(items) | Alternatives(items):
            return sum(map(count_groups, items))
        case Repeat(item):
            return count_groups(item)
        case Group(item):
            return 1 + count_groups(item)
        case _:
            return 0


class Finder:
    """A compiled pattern that tells where it matches. Safe to use from several threads.

    Args:
        pattern: in the dialect of RE2.

    Raises:
        ValueError: the pattern cannot be used; the message says why.
    """

    def __init__(self, pattern: str) -> None:
        tree = parse(pattern)
        self._slots = 2 * (count_groups(tree) + 1)
        self._program: list[_Instruction] = [_Accept()]
        self._first = self._emit(Group(tree, 0), 0)

    def search(self, text: str, start: int) -> Spans | None:
        """Return the leftmost match that begins at `start` or behind it; None: there is none."""
        found: Spans | None = None
        threads: list[_Thread] = []
        nothing: Spans = (None,) * self._slots
        for at in range(start, len(text) + 1):
            seen = {where for where, _ in threads}
            if found is None:  # a match may begin here, if no earlier one is on its way
                threads += self._reached((self._first, nothing), text, at, seen)
            elif not threads:
                break
            ahead: list[_Thread] = []
            met: set[int] = set()
            for where, spans in threads:
                instruction = self._program[where]
                if isinstance(instruction, _Accept):
                    found = spans
                    break
                if (
                    isinstance(instruction, _Take)
                    and at < len(text)
                    and _is_in(ord(text[at]), instruction.ranges)
                ):
                    ahead += self._reached((instruction.then, spans), text, at + 1, met)
            threads = ahead
        return found

    def _reached(self, thread: _Thread, text: str, at: int, seen: set[int]) -> list[_Thread]:
        """Return the threads that one leads to without taking a character, in their order."""
        found: list[_Thread] = []
        todo = [thread]
        while todo:
            where, spans = todo.pop()
            if where in seen:
                continue
            seen.add(where)
            match self._program[where]:
                case _Fork(to):
                    todo += [(each, spans) for each in reversed(to)]
                case _Save(slot, then):
                    todo.append((then, (*spans[:slot], at, *spans[slot + 1 :])))
                case _Assert(place, then):
                    if _holds(place, text, at):
                        todo.append((then, spans))
                case _:
                    found.append((where, spans))
        return found

    # --- compiling ----------------------------------------------------------------------------

    def _add(self, instruction: _Instruction) -> int:
        self._program.append(instruction)
        return len(self._program) - 1

    def _emit(self, node: Node, then: int) -> int:
        """Add the instructions of a node that goes on at `then`; return where they begin."""
        match node:
            case Chars(ranges):
                return self._add(_Take(ranges, then))
            case Sequence(items):
                for item in reversed(items):
                    then = self._emit(item, then)
                return then
            case Alternatives(items):
                return self._add(_Fork(tuple(self._emit(item, then) for item in items)))
            case At(place):
                return self._add(_Assert(place, then))
            case Group(item, number):
                end = self._add(_Save(2 * number + 1, then))
                return self._add(_Save(2 * number, self._emit(item, end)))
            case Repeat():
                return self._emit_repeat(node, then)

    def _emit_repeat(self, node: Repeat, then: int) -> int:
        if node.most is None:
            loop = _Fork(())
            at = self._add(loop)
            again = self._emit(node.item, at)
            loop.to = (then, again) if node.is_lazy else (again, then)
            if node.least:  # the last of those that must be is the loop's own
                return self._times(node.item, node.least - 1, again)
            return at
        after = then
        for _ in range(node.most - node.least):
            again = self._emit(node.item, then)
            then = self._add(_Fork((after, again) if node.is_lazy else (again, after)))
        return self._times(node.item, node.least, then)

    def _times(self, item: Node, count: int, then: int) -> int:
        for _ in range(count):
            then = self._emit(item, then)
        return then


def _is_in(point: int, ranges: Ranges) -> bool:
    return any(low <= point <= high for low, high in ranges)


def _holds(place: str, text: str, at: int) -> bool:
    match place:
        case "begin":
            return at == 0
        case "end":
            return at == len(text)
        case "line-begin":
            return at == 0 or text[at - 1] == "\n"
        case "line-end":
            return at == len(text) or text[at] == "\n"
        case _:
            before = at > 0 and text[at - 1] in _WORD
            behind = at < len(text) and text[at] in _WORD
            return (before != behind) == (place == "word")
