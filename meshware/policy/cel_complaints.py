"""What is said of an expression that cannot be used: its place, what is wrong, and what to write.

Everything here is said where policy is loaded, by the kinds that show there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from meshware.policy.cel_arithmetic import ARITHMETIC, NEGATIVE, results_of
from meshware.policy.cel_attributes import ABSENT, ATTRIBUTES
from meshware.policy.cel_functions import FUNCTIONS, METHODS
from meshware.policy.cel_tree import Binary, Call, CelError, Node

__all__ = ["ROOTS", "UNKNOWN_KIND", "Complaints", "a_kind"]

ROOTS = frozenset(root for root, _ in (*ATTRIBUTES, *ABSENT))
"""The first names of attributes."""

UNKNOWN_KIND = "dyn"
"""Stands for a kind that shows only when a call is asked about."""

_MACROS = frozenset(("all", "exists", "exists_one", "map", "filter"))
_NUMBERS = ("int", "uint", "double")
_WRITTEN_AS_TEXT = (*_NUMBERS, "bool")


class Complaints:
    """Finds and words what is wrong with the parts of one text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def at(self, at: int, problem: str) -> CelError:
        """Return an error at a place of the text."""
        return CelError(self._text, at, problem)

    def unless_count(self, tree: Call, count: int) -> None:
        """Raise where a call has not as many arguments as it takes."""
        if len(tree.args) != count:
            what = "no argument" if count == 0 else "one argument"
            raise self.at(tree.at, f"{tree.name}() takes {what}, and there are {len(tree.args)}")

    def unless_kind(self, at: int, name: str, kind: str, wanted: tuple[str, ...]) -> None:
        """Raise where something is of no kind that is wanted."""
        if kind not in (UNKNOWN_KIND, *wanted):
            remedy = ""
            if wanted == ("string",) and kind in _WRITTEN_AS_TEXT:
                remedy = "; write string(...) around it"
            elif "int" in wanted and kind in ("string", "uint"):
                remedy = "; write int(...) around it"
            raise self.at(
                at, f"{name} is for {' and '.join(wanted)}, and this is {a_kind(kind)}{remedy}"
            )

    def unless_negative(self, at: int, kind: str) -> None:
        """Raise where a value has no opposite."""
        self.unless_kind(at, "-", kind, NEGATIVE)

    def unless_ordered(self, tree: Binary, left: str, right: str) -> None:
        """Raise where two kinds have no order, and the operator asks for it."""
        if tree.operator in ("==", "!="):
            return
        if UNKNOWN_KIND in (left, right) or left == right or {left, right} <= set(_NUMBERS):
            return
        remedy = "; write int(...) around the text" if "string" in (left, right) else ""
        raise self.at(
            tree.at, f"{tree.operator} cannot compare {a_kind(left)} and {a_kind(right)}{remedy}"
        )

    def result_of(self, tree: Binary, left: str, right: str) -> str:
        """Return the kind that arithmetic gives; raise where its two sides do not go together."""
        found = results_of(
            tree.operator,
            None if left == UNKNOWN_KIND else left,
            None if right == UNKNOWN_KIND else right,
        )
        if not found:
            both = tuple(kind for kind in (left, right) if kind != UNKNOWN_KIND)
            what = " and ".join(map(a_kind, both))
            raise self.at(
                tree.at, f"{tree.operator} cannot take {what}; {_instead(tree.operator, both)}"
            )
        return next(iter(found)) if len(found) == 1 else UNKNOWN_KIND

    def if_headers(self, tree: Node, kind: str, what: str) -> None:
        """Raise where all headers stand for a value."""
        if kind in ("headers", "node"):
            raise self.at(
                tree.at, "headers can be indexed and asked, but not "
                f"{what}; write request.headers['name'] or 'name' in request.headers"
            )  # fmt: skip

    def no_function(self, tree: Call) -> CelError:
        """Return the error for a function or method that there is not."""
        if tree.name in _MACROS and tree.of is not None:
            return self.at(
                tree.at, f"{tree.name}() is outside of the subset; write each case, joined by ||"
            )
        if tree.of is None and tree.name in (*METHODS, "matches"):
            return self.at(tree.at, f"{tree.name} is a method; write text.{tree.name}(...)")
        names = (*FUNCTIONS, "has") if tree.of is None else (*METHODS, "matches")
        near = _nearest(tree.name, names)
        hint = f"did you mean {near}()?" if near else f"write one of {', '.join(sorted(names))}"
        return self.at(tree.at, f"there is no function {tree.name[:40]}(); {hint}")

    def no_root(self, at: int, name: str) -> CelError:
        """Return the error for a first name that no attribute has."""
        near = _nearest(name, ROOTS)
        hint = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(ROOTS))}"
        return self.at(at, f"there is no attribute {name[:40]}; {hint}")

    def root_alone(self, at: int, root: str) -> CelError:
        """Return the error for a first name with nothing behind it."""
        return self.at(at, f"{root} alone is no value; write one of {_dotted(root)}")

    def no_attribute(self, at: int, root: str, name: str) -> CelError:
        """Return the error for an attribute that there is not."""
        near = _nearest(name, _fields(root))
        remedy = f"did you mean {root}.{near}?" if near else f"write one of {_dotted(root)}"
        return self.at(at, f"there is no attribute {root}.{name[:40]}; {remedy}")


def a_kind(kind: str) -> str:
    """Return the name of a kind behind its article."""
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _instead(sign: str, kinds: Sequence[str]) -> str:
    """Return what to write where two kinds do not go together."""
    if "string" in kinds:
        other = next((kind for kind in kinds if kind != "string"), "string")
        if sign == "+" and other in _WRITTEN_AS_TEXT:
            return f"write string(...) around the {other}"
        if other in _NUMBERS or other == "string":
            return f"write {other if other in _NUMBERS else 'int'}(...) around the text"
    if len(set(kinds)) == 2 and set(kinds) <= set(_NUMBERS):
        wanted, other = ("double", "int") if "double" in kinds else ("int", "uint")
        if "double" in kinds:
            other = next(kind for kind in kinds if kind != "double")
        if sign != "%":
            return f"write {wanted}(...) around the {other}"
    if sign in ("+", "-") and {"timestamp", "duration"} & set(kinds) and set(kinds) & set(_NUMBERS):
        return "write a span of time as duration('1.5s')"
    alike = sorted({left for of, left, right in ARITHMETIC if of == sign and left == right})
    return f"write two values of one kind: {', '.join(alike[:-1])} or {alike[-1]}"


def _nearest(text: str, words: Collection[str]) -> str | None:
    from meshware.policy.decode import nearest  # with a reader of YAML, which an app does not need

    return nearest(text, words)


def _fields(root: str) -> list[str]:
    return sorted(name for of, name in ATTRIBUTES if of == root)


def _dotted(root: str) -> str:
    return ", ".join(f"{root}.{field}" for field in _fields(root))
