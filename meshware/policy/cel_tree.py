"""What a CEL expression is once it has been read: a tree, with the place of every part.

Source: the CEL specification, "Syntax".
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "All",
    "Any",
    "Binary",
    "Call",
    "CelError",
    "Choice",
    "Index",
    "ListOf",
    "Literal",
    "MapOf",
    "Name",
    "Node",
    "Select",
    "Uint",
    "Unary",
]


class CelError(ValueError):
    """An expression that is not of the subset.

    Attributes:
        line: from 1.
        column: likewise, in characters.
        problem: what is wrong, and what to write.
    """

    def __init__(self, text: str, at: int, problem: str) -> None:
        before = text[:at]
        self.line = before.count("\n") + 1
        self.column = at - (before.rfind("\n") + 1) + 1
        self.problem = problem
        super().__init__(f"at line {self.line}, column {self.column}: {problem}")


class Uint(int):
    """An unsigned integer: CEL has two kinds."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant."""

    at: int
    value: object


@dataclass(frozen=True, slots=True)
class Name:
    """A name by itself."""

    at: int
    name: str


@dataclass(frozen=True, slots=True)
class Select:
    """`of.field`."""

    at: int
    of: Node
    field: str


@dataclass(frozen=True, slots=True)
class Index:
    """`of[key]`."""

    at: int
    of: Node
    key: Node


@dataclass(frozen=True, slots=True)
class Call:
    """`name(args)`, or `of.name(args)`."""

    at: int
    of: Node | None
    name: str
    args: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """`!` or `-` before something."""

    at: int
    operator: str
    of: Node


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, comparison or `in`."""

    at: int
    operator: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class All:
    """Parts joined by `&&`."""

    at: int
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """Parts joined by `||`."""

    at: int
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """`condition ? then : otherwise`."""

    at: int
    condition: Node
    then: Node
    otherwise: Node


@dataclass(frozen=True, slots=True)
class ListOf:
    """`[a, b]`."""

    at: int
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class MapOf:
    """`{a: b}`."""

    at: int
    pairs: tuple[tuple[Node, Node], ...]


Node = Literal | Name | Select | Index | Call | Unary | Binary | All | Any | Choice | ListOf | MapOf
