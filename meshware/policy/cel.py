"""Expressions over Envoy's attributes, compiled to closures: a subset of CEL.

Of CEL there are: literals, lists and maps, attributes (`policy.cel_attributes`), `has()`, `in`,
comparison, arithmetic, `&&`, `||`, `!`, `? :`, conversions, and methods of texts and times. There
are no comprehensions (`all`, `exists`, `map`, `filter`), no types and no messages, as in Envoy, and
the pattern of `matches` is a literal. Whatever is outside is refused where policy is loaded, with
its place.

`&&` and `||` take an error for a value that is not known: where the other side decides, it decides.
Everything else fails with its parts. Differs from CEL: `has(headers['x'])` is taken too.

Source: the CEL specification; Envoy, "Attributes".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import assert_never

from meshware.policy.cel_arithmetic import arithmetic, negative
from meshware.policy.cel_attributes import ABSENT, ATTRIBUTES, PSEUDO
from meshware.policy.cel_complaints import ROOTS, UNKNOWN_KIND, Complaints, a_kind
from meshware.policy.cel_functions import FUNCTIONS, METHODS
from meshware.policy.cel_syntax import parse
from meshware.policy.cel_tree import (
    All,
    Any,
    Binary,
    Call,
    CelError,
    Choice,
    Index,
    ListOf,
    Literal,
    MapOf,
    Name,
    Node,
    Select,
    Unary,
)
from meshware.policy.cel_values import COMPARISONS, Table, equal, index, is_in, kind_of
from meshware.policy.regex import Regex, compile_regex
from meshware.policy.telemetry_plan import Expression, LookUp

__all__ = ["CelError", "Constants", "compile_expression", "compile_filter", "compile_tag"]

_FAILURES = (KeyError, TypeError, ValueError, ArithmeticError, RecursionError)
_NODE_PATH = ("xds", "node")

Constants = Mapping[str, object]
"""What is known of the workload when policy is compiled: the members of `xds.node`."""

_Evaluate = Callable[[LookUp], object]


def compile_expression(text: str, node: Constants | None = None) -> Expression:
    """Compile an expression.

    Args:
        text: as written.
        node: the members of `xds.node`; None: it has none.

    Returns:
        What evaluates it; it raises `KeyError`, `TypeError` or `ValueError` where it fails.

    Raises:
        CelError: it is outside of the subset, or too large.
    """
    return _guarded(_Compiler(text, node or {}).compiled(parse(text))[0])


def compile_filter(text: str, node: Constants | None = None) -> Expression:
    """Compile an expression that has to be true or false. See `compile_expression`."""
    tree = parse(text)
    evaluate, kind = _Compiler(text, node or {}).compiled(tree)
    if kind not in (UNKNOWN_KIND, "bool"):
        raise CelError(
            text,
            0,
            f"it gives {a_kind(kind)} and never true or false; compare it with something, as in "
            "`response.code >= 400`",
        )
    return _guarded(evaluate)


def compile_tag(text: str, node: Constants | None = None) -> Expression:
    """Compile an expression whose value is to be written. See `compile_expression`."""
    tree = parse(text)
    evaluate, kind = _Compiler(text, node or {}).compiled(tree)
    if kind in ("headers", "map", "list", "node"):
        what = "a list" if kind == "list" else "a map"
        raise CelError(
            text,
            0,
            f"it gives {what} and no single value; write a member of it, as in "
            "request.headers['x-user']",
        )
    return _guarded(evaluate)


def _begun(tree: Node, count: int) -> Node:
    """Return what stands for the first `count` names of a path: where the wrong word is."""
    names = [tree]
    while isinstance(names[-1], Select | Index):
        names.append(names[-1].of)
    return names[-count]


def _guarded(evaluate: _Evaluate) -> Expression:
    def expression(look_up: LookUp) -> object:
        try:
            return evaluate(look_up)
        except (ArithmeticError, RecursionError) as error:
            raise ValueError(str(error)) from error

    return expression


_Compiled = tuple[_Evaluate, str]
"""What evaluates a part, and the kind of what it gives; "dyn" where that shows only then."""


class _Compiler:
    """Compiles the tree of one text."""

    def __init__(self, text: str, node: Constants) -> None:
        self._wrong, self._node = Complaints(text), node

    def compiled(self, tree: Node) -> _Compiled:
        """Return a part of the tree, compiled."""
        match tree:
            case Literal(value=value):
                return _fixed(value), kind_of(value)
            case Name() | Select() | Index():
                return self._reference(tree)
            case Call(of=None):
                return self._function(tree)
            case Call():
                return self._method(tree)
            case Unary():
                return self._unary(tree)
            case Binary():
                return self._binary(tree)
            case All():
                return self._joined(tree.parts, decides=False), "bool"
            case Any():
                return self._joined(tree.parts, decides=True), "bool"
            case Choice():
                return self._choice(tree)
            case ListOf():
                items = tuple(self.compiled(item)[0] for item in tree.items)
                return _once(tree, lambda look_up: tuple(item(look_up) for item in items)), "list"
            case MapOf():
                return self._map(tree)
        assert_never(tree)

    # --- attributes ---------------------------------------------------------------------------

    def _reference(self, tree: Name | Select | Index) -> _Compiled:
        path = _path_of(tree)
        if path is not None:
            return self._attribute(tree, path)
        if isinstance(tree, Name):
            raise self._wrong.no_root(tree.at, tree.name)
        of, kind = self.compiled(tree.of)
        if kind not in (UNKNOWN_KIND, "map", "list", "headers", "node"):
            raise self._wrong.at(
                tree.at, f"{a_kind(kind)} has no members; remove what is behind it"
            )
        if isinstance(tree, Select):
            field = tree.field
            return (lambda look_up: index(of(look_up), field)), UNKNOWN_KIND
        key, key_kind = self.compiled(tree.key)
        if kind == "headers":
            if key_kind not in (UNKNOWN_KIND, "string"):
                raise self._wrong.at(tree.key.at, f"a header's name is a text and no {key_kind}")
            return (lambda look_up: index(of(look_up), key(look_up))), "string"
        return (lambda look_up: index(of(look_up), key(look_up))), UNKNOWN_KIND

    def _attribute(self, tree: Node, path: tuple[str, ...]) -> _Compiled:
        """Return an attribute, or the member of one, by its path."""
        root, *rest = path
        if root not in ROOTS:
            raise self._wrong.no_root(_begun(tree, 1).at, root)
        if not rest:
            raise self._wrong.root_alone(tree.at, root)
        place = (root, rest[0])
        kind = ATTRIBUTES.get(place)
        if kind is None:
            why = ABSENT.get(place)
            if why is not None:
                raise self._wrong.at(tree.at, f"{root}.{rest[0]} cannot be known: {why}")
            raise self._wrong.no_attribute(_begun(tree, 2).at, root, rest[0])
        if kind == "node":
            return self._constant(path)
        members = rest[1:]
        if not members:
            return (lambda look_up: look_up(place)), kind
        if kind != "headers" or len(members) > 1:
            what = "a header" if kind == "headers" else f"{root}.{rest[0]}"
            raise self._wrong.at(tree.at, f"{what} has no members; remove what is behind it")
        if place == ("request", "headers") and members[0].lower() in PSEUDO:
            place = PSEUDO[members[0].lower()]
            return (lambda look_up: look_up(place)), "string"
        whole = (*place, members[0])
        return (lambda look_up: look_up(whole)), "string"

    def _constant(self, path: tuple[str, ...]) -> _Compiled:
        value: object = self._node
        for name in path[len(_NODE_PATH) :]:
            if not isinstance(value, Mapping) or name not in value:

                def absent(_: LookUp, path: tuple[str, ...] = path) -> object:
                    raise KeyError(".".join(path))

                return absent, UNKNOWN_KIND
            value = value[name]
        return _fixed(value), kind_of(value)

    # --- functions ----------------------------------------------------------------------------

    def _function(self, tree: Call) -> _Compiled:
        if tree.name == "has":
            return self._has(tree), "bool"
        found = FUNCTIONS.get(tree.name)
        if found is None:
            raise self._wrong.no_function(tree)
        do, kind = found
        self._wrong.unless_count(tree, 1)
        argument, given = self.compiled(tree.args[0])
        if tree.name == "size":
            self._wrong.if_headers(tree.args[0], given, "counted")
        if isinstance(tree.args[0], Literal):
            return self._worked_out(tree, do), kind
        return (lambda look_up: do(argument(look_up))), kind

    def _worked_out(self, tree: Call, do: Callable[[object], object]) -> _Evaluate:
        """Return a function of a literal, worked out once."""
        argument = tree.args[0]
        assert isinstance(argument, Literal)
        try:
            return _fixed(do(argument.value))
        except (TypeError, ValueError, ArithmeticError) as error:
            why = str(error) or "it is none"
            raise self._wrong.at(
                argument.at, f"{tree.name}() cannot take this: {why[:100]}; mend it"
            ) from None

    def _method(self, tree: Call) -> _Compiled:
        assert tree.of is not None
        if tree.name == "matches":
            return self._matches(tree), "bool"
        found = METHODS.get(tree.name)
        if found is None:
            raise self._wrong.no_function(tree)
        count, do, kind = found
        self._wrong.unless_count(tree, count)
        of, given = self.compiled(tree.of)
        if tree.name == "size":
            self._wrong.if_headers(tree.of, given, "counted")
        elif tree.name.startswith("get"):
            self._wrong.unless_kind(tree.of.at, tree.name, given, ("timestamp", "duration"))
        else:
            self._wrong.unless_kind(tree.of.at, tree.name, given, ("string",))
        if not count:
            return (lambda look_up: do(of(look_up))), kind
        argument, given = self.compiled(tree.args[0])
        self._wrong.unless_kind(tree.args[0].at, tree.name, given, ("string",))
        return (lambda look_up: do(of(look_up), argument(look_up))), kind

    def _matches(self, tree: Call) -> _Evaluate:
        assert tree.of is not None
        self._wrong.unless_count(tree, 1)
        pattern = tree.args[0]
        if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
            raise self._wrong.at(
                pattern.at, "the pattern of matches() is not fixed; write it as a text"
            )
        try:
            regex: Regex = compile_regex(pattern.value)
            # CEL looks for a match anywhere in the text.
            regex = compile_regex(f"(?s:.*)(?:{pattern.value})(?s:.*)")
        except ValueError as error:
            raise self._wrong.at(
                pattern.at, f"the pattern cannot be used: {error}; mend it"
            ) from None
        of, given = self.compiled(tree.of)
        self._wrong.unless_kind(tree.of.at, tree.name, given, ("string",))

        def matches(look_up: LookUp) -> bool:
            text = of(look_up)
            if not isinstance(text, str):
                raise TypeError("it is no text")
            return regex.fullmatch(text)

        return matches

    def _has(self, tree: Call) -> _Evaluate:
        self._wrong.unless_count(tree, 1)
        asked = tree.args[0]
        if not isinstance(asked, Select | Index):
            raise self._wrong.at(
                asked.at, "has() asks for a member; write has(request.headers['x'])"
            )
        path = _path_of(asked)
        if path is not None:
            value = self._attribute(asked, path)[0]

            def has_attribute(look_up: LookUp) -> bool:
                try:
                    value(look_up)
                except KeyError:
                    return False
                return True

            return has_attribute
        of, kind = self.compiled(asked.of)
        if kind not in (UNKNOWN_KIND, "map", "headers"):
            raise self._wrong.at(asked.at, f"{a_kind(kind)} has no members; ask for one of a map")
        key = self.compiled(asked.key)[0] if isinstance(asked, Index) else _fixed(asked.field)
        return lambda look_up: is_in(key(look_up), of(look_up))

    # --- operators ----------------------------------------------------------------------------

    def _unary(self, tree: Unary) -> _Compiled:
        of, kind = self.compiled(tree.of)
        if tree.operator == "-":
            self._wrong.unless_negative(tree.of.at, kind)
            return (lambda look_up: negative(of(look_up))), kind
        self._wrong.unless_kind(tree.of.at, "!", kind, ("bool",))

        def opposite(look_up: LookUp) -> bool:
            value = of(look_up)
            if not isinstance(value, bool):
                raise TypeError("it is neither true nor false")
            return not value

        return opposite, "bool"

    def _binary(self, tree: Binary) -> _Compiled:
        left, left_kind = self.compiled(tree.left)
        right, right_kind = self.compiled(tree.right)
        if tree.operator == "in":
            if right_kind not in (UNKNOWN_KIND, "list", "map", "headers"):
                raise self._wrong.at(
                    tree.at,
                    f"{a_kind(right_kind)} has nothing in it; write a list or a map behind `in`",
                )
            return (lambda look_up: is_in(left(look_up), right(look_up))), "bool"
        for side, kind in ((tree.left, left_kind), (tree.right, right_kind)):
            self._wrong.if_headers(side, kind, "compared or added up")
        compare = COMPARISONS.get(tree.operator)
        if compare is not None:
            if tree.operator == "==" and isinstance(tree.right, Literal):
                wanted = tree.right.value
                if isinstance(wanted, str):  # what is asked most often
                    return (lambda look_up: left(look_up) == wanted), "bool"
                return (lambda look_up: equal(left(look_up), wanted)), "bool"
            self._wrong.unless_ordered(tree, left_kind, right_kind)
            return (lambda look_up: compare(left(look_up), right(look_up))), "bool"
        do = arithmetic(tree.operator)
        kind = self._wrong.result_of(tree, left_kind, right_kind)
        return (lambda look_up: do(left(look_up), right(look_up))), kind

    def _joined(self, parts: tuple[Node, ...], *, decides: bool) -> _Evaluate:
        """Return `&&` or `||`: the value that decides does so whatever else fails."""
        compiled = []
        for part in parts:
            evaluate, kind = self.compiled(part)
            self._wrong.unless_kind(part.at, "||" if decides else "&&", kind, ("bool",))
            compiled.append(evaluate)

        def join(look_up: LookUp) -> bool:
            failed: Exception | None = None
            for evaluate in compiled:
                try:
                    value = evaluate(look_up)
                except _FAILURES as error:
                    failed = error
                    continue
                if value is decides:
                    return decides
                if not isinstance(value, bool):
                    failed = TypeError("it is neither true nor false")
            if failed is not None:
                raise failed
            return not decides

        return join

    def _choice(self, tree: Choice) -> _Compiled:
        condition, kind = self.compiled(tree.condition)
        self._wrong.unless_kind(tree.condition.at, "?", kind, ("bool",))
        then, then_kind = self.compiled(tree.then)
        otherwise, other_kind = self.compiled(tree.otherwise)

        def choose(look_up: LookUp) -> object:
            value = condition(look_up)
            if not isinstance(value, bool):
                raise TypeError("it is neither true nor false")
            return then(look_up) if value else otherwise(look_up)

        return choose, then_kind if then_kind == other_kind else UNKNOWN_KIND

    def _map(self, tree: MapOf) -> _Compiled:
        pairs = []
        for key, value in tree.pairs:
            evaluate, kind = self.compiled(key)
            if kind not in (UNKNOWN_KIND, "string", "int", "uint", "bool"):
                raise self._wrong.at(
                    key.at, f"a key is a text, a whole number or a truth value, and no {kind}"
                )
            pairs.append((evaluate, self.compiled(value)[0]))
        keys = [key.value for key, _ in tree.pairs if isinstance(key, Literal)]
        if len({(isinstance(key, bool), key) for key in keys}) < len(keys):
            raise self._wrong.at(tree.at, "the map has one key twice; remove one")

        def make(look_up: LookUp) -> Table:
            return Table((key(look_up), value(look_up)) for key, value in pairs)

        return _once(tree, make), "map"


def _fixed(value: object) -> _Evaluate:
    return lambda _: value


def _is_constant(tree: Node) -> bool:
    """Say whether a part is the same for every call."""
    match tree:
        case Literal():
            return True
        case ListOf(items=items):
            return all(map(_is_constant, items))
        case MapOf(pairs=pairs):
            return all(_is_constant(key) and _is_constant(value) for key, value in pairs)
        case Call(of=None, name=name, args=args):
            return name in FUNCTIONS and all(map(_is_constant, args))
    return False


def _nothing(place: tuple[str, ...]) -> object:
    raise KeyError(place)


def _once(tree: Node, make: _Evaluate) -> _Evaluate:
    """Return a list or map made once where all of it is constant, and for each call otherwise."""
    if not _is_constant(tree):
        return make
    try:
        return _fixed(make(_nothing))
    except _FAILURES:
        return make  # it fails for every call, and what is joined to it decides what comes of that


def _path_of(tree: Node) -> tuple[str, ...] | None:
    """Return the path of an attribute whose members are fixed; None: it is something else."""
    names: list[str] = []
    while not isinstance(tree, Name):
        if isinstance(tree, Select):
            names.append(tree.field)
        elif (
            isinstance(tree, Index)
            and isinstance(tree.key, Literal)
            and isinstance(tree.key.value, str)
        ):
            names.append(tree.key.value)
        else:
            return None
        tree = tree.of
    return (tree.name, *reversed(names))
