"""Match a regular expression in time linear in the text, without backtracking.

Theory of operation. The tree of a pattern becomes a list of instructions: *take* a character out
of a set and go on, *fork*, *assert* a place, *accept*. Matching keeps the set of instructions that
could come next (Thompson). The sets that turn up, and where each class of characters leads from
them, are remembered, so that a text usually costs one dictionary look-up for each character.

A remembered state is the set before forks and assertions are followed, with the kind of character
just passed: assertions need to see both sides, and are settled when the next character is known.
What is remembered is bounded; past the bound it starts afresh. Safe to use from several threads:
what one thread adds is only more of the same.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Literal

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

__all__ = ["Automaton"]

_MOST_REMEMBERED = 50_000  # instructions in all remembered sets, about 3 MB

Kind = Literal["edge", "newline", "word", "other"]  # a character's, as assertions see it
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))


@dataclass(slots=True)
class _Take:
    classes: int  # one bit for each class of characters
    then: int


@dataclass(slots=True)
class _Fork:
    to: tuple[int, ...]


@dataclass(slots=True)
class _Assert:
    place: str
    then: int


@dataclass(slots=True)
class _Accept:
    pass


_Instruction = _Take | _Fork | _Assert | _Accept


@dataclass(slots=True, eq=False)
class _State:
    """Where a match may stand; `on` tells where each class of characters leads."""

    waiting: frozenset[int]
    passed: Kind
    on: dict[int, _State] = field(default_factory=dict)
    is_accepted: bool | None = None  # if the text ended here; None: not asked yet


class Automaton:
    """A compiled pattern. Whether a text matches is the only question.

    Args:
        pattern: in the dialect of RE2.

    Raises:
        ValueError: the pattern cannot be used; the message says why.
    """

    def __init__(self, pattern: str) -> None:
        tree = parse(pattern)
        self._starts = _boundaries(tree)  # where each class of characters begins
        self._class_of = [bisect_right(self._starts, point) - 1 for point in range(256)]
        self._program: list[_Instruction] = [_Accept()]
        self._has_assertions = False
        self._first = self._emit(tree, 0)
        self._forget()

    def fullmatch(self, text: str) -> bool:
        """Say whether the whole text matches."""
        state = self._start
        class_of, starts = self._class_of, self._starts
        for char in text:
            point = ord(char)
            cls = class_of[point] if point < 256 else bisect_right(starts, point) - 1
            state = state.on.get(cls) or self._step(state, cls)
            if not state.waiting:
                return False
        if state.is_accepted is None:
            state.is_accepted = any(
                isinstance(self._program[at], _Accept) for at in self._follow(state, "edge")
            )
        return state.is_accepted

    # --- running ------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._remembered = 0
        self._states: dict[tuple[frozenset[int], Kind], _State] = {}
        self._start = self._state(frozenset((self._first,)), "edge")

    def _state(self, waiting: frozenset[int], passed: Kind) -> _State:
        if not self._has_assertions:
            passed = "other"  # nobody looks
        key = (waiting, passed)
        state = self._states.get(key)
        if state is None:
            self._remembered += len(waiting) + 1
            state = self._states[key] = _State(waiting, passed)
        return state

    def _step(self, state: _State, cls: int) -> _State:
        kind = self._kind(cls)
        bit = 1 << cls
        waiting = set()
        for at in self._follow(state, kind):
            instruction = self._program[at]
            if isinstance(instruction, _Take) and instruction.classes & bit:
                waiting.add(instruction.then)
        if self._remembered > _MOST_REMEMBERED:
            self._forget()
        state.on[cls] = reached = self._state(frozenset(waiting), kind)
        return reached

    def _follow(self, state: _State, ahead: Kind) -> set[int]:
        """Return the instructions reached without taking a character, before one of a kind."""
        seen: set[int] = set()
        todo = list(state.waiting)
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            match self._program[at]:
                case _Fork(to):
                    todo += to
                case _Assert(place, then) if _holds(place, state.passed, ahead):
                    todo.append(then)
                case _:
                    pass
        return seen

    def _kind(self, cls: int) -> Kind:
        point = self._starts[cls]  # classes never mix kinds
        if point == 10:
            return "newline"
        return "word" if any(low <= point <= high for low, high in _WORD) else "other"

    # --- compiling ----------------------------------------------------------------------------

    def _add(self, instruction: _Instruction) -> int:
        self._program.append(instruction)
        return len(self._program) - 1

    def _emit(self, node: Node, then: int) -> int:
        """Add the instructions of a node that goes on at `then`; return where they begin."""
        match node:
            case Chars(ranges):
                classes = 0
                for low, high in ranges:
                    first = bisect_right(self._starts, low) - 1
                    last = bisect_right(self._starts, high) - 1
                    classes |= (1 << last + 1) - (1 << first)
                return self._add(_Take(classes, then))
            case Sequence(items):
                for item in reversed(items):
                    then = self._emit(item, then)
                return then
            case Alternatives(items):
                return self._add(_Fork(tuple(self._emit(item, then) for item in items)))
            case At(place):
                self._has_assertions = True
                return self._add(_Assert(place, then))
            case Group(item):
                return self._emit(item, then)
            case Repeat(item, least, most):
                return self._emit_repeat(item, least, most, then)

    def _emit_repeat(self, item: Node, least: int, most: int | None, then: int) -> int:
        if most is None:
            loop = _Fork(())
            at = self._add(loop)
            loop.to = (self._emit(item, at), then)
            then = at
        else:
            after = then
            for _ in range(most - least):
                then = self._add(_Fork((self._emit(item, then), after)))
        for _ in range(least):
            then = self._emit(item, then)
        return then


def _holds(place: str, passed: Kind, ahead: Kind) -> bool:
    match place:
        case "begin":
            return passed == "edge"
        case "end":
            return ahead == "edge"
        case "line-begin":
            return passed in ("edge", "newline")
        case "line-end":
            return ahead in ("edge", "newline")
        case _:
            return ((passed == "word") != (ahead == "word")) == (place == "word")


def _boundaries(tree: Node) -> list[int]:
    """Return where the classes of characters begin: nothing in the pattern tells within them."""
    found = {0}
    todo = [tree]
    while todo:
        match todo.pop():
            case Chars(ranges):
                found.update(edge for low, high in ranges for edge in (low, high + 1))
            case At():
                found.update(edge for low, high in _WORD for edge in (low, high + 1))
                found.update((10, 11))
            case Sequence(items) | Alternatives(items):
                todo += items
            case Repeat(item) | Group(item):
                todo.append(item)
    return sorted(found)
