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

from collections.abc import Callable, Collection, Mapping
from typing import assert_never

from meshware.policy.cel_attributes import ABSENT, ATTRIBUTES, PSEUDO
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
    Uint,
    Unary,
)
from meshware.policy.cel_values import (
    ARITHMETIC,
    COMPARISONS,
    FUNCTIONS,
    METHODS,
    Table,
    equal,
    index,
    is_in,
    negative,
)
from meshware.policy.regex import Regex, compile_regex
from meshware.policy.telemetry_plan import Expression, LookUp

__all__ = ["CelError", "Constants", "compile_expression", "compile_filter", "compile_tag"]

_FAILURES = (KeyError, TypeError, ValueError, ArithmeticError, RecursionError)
_MACROS = frozenset(("all", "exists", "exists_one", "map", "filter"))
_ROOTS = frozenset(root for root, _ in (*ATTRIBUTES, *ABSENT))
_UNKNOWN_KIND = "dyn"
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
    if kind not in (_UNKNOWN_KIND, "bool"):
        raise CelError(
            text,
            0,
            f"it gives {_a(kind)} and never true or false; compare it with something, as in "
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
        self._text, self._node = text, node

    def compiled(self, tree: Node) -> _Compiled:
        """Return a part of the tree, compiled."""
        match tree:
            case Literal(value=value):
                return (lambda _: value), _kind_of(value)
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
                return (lambda look_up: tuple(item(look_up) for item in items)), "list"
            case MapOf():
                return self._map(tree)
        assert_never(tree)

    # --- attributes ---------------------------------------------------------------------------

    def _reference(self, tree: Name | Select | Index) -> _Compiled:
        path = _path_of(tree)
        if path is not None:
            return self._attribute(tree, path)
        if isinstance(tree, Name):
            raise self._unknown_root(tree, tree.name)
        of, kind = self.compiled(tree.of)
        if kind not in (_UNKNOWN_KIND, "map", "list", "headers", "node"):
            raise self._error(tree.at, f"{_a(kind)} has no members; remove what is behind it")
        if isinstance(tree, Select):
            field = tree.field
            return (lambda look_up: index(of(look_up), field)), _UNKNOWN_KIND
        key, key_kind = self.compiled(tree.key)
        if kind == "headers":
            if key_kind not in (_UNKNOWN_KIND, "string"):
                raise self._error(tree.key.at, f"a header's name is a text and no {key_kind}")
            return (lambda look_up: index(of(look_up), key(look_up))), "string"
        return (lambda look_up: index(of(look_up), key(look_up))), _UNKNOWN_KIND

    def _attribute(self, tree: Node, path: tuple[str, ...]) -> _Compiled:
        """Return an attribute, or the member of one, by its path."""
        root, *rest = path
        if root not in _ROOTS:
            raise self._unknown_root(_begun(tree, 1), root)
        fields = sorted(name for of, name in ATTRIBUTES if of == root)
        if not rest:
            raise self._error(
                tree.at, f"{root} alone is no value; write one of {_dotted(root, fields)}"
            )
        place = (root, rest[0])
        kind = ATTRIBUTES.get(place)
        if kind is None:
            why = ABSENT.get(place)
            if why is not None:
                raise self._error(tree.at, f"{root}.{rest[0]} cannot be known: {why}")
            near = _nearest(rest[0], fields)
            remedy = (
                f"did you mean {root}.{near}?" if near else f"write one of {_dotted(root, fields)}"
            )
            raise self._error(
                _begun(tree, 2).at, f"there is no attribute {root}.{rest[0][:40]}; {remedy}"
            )
        if kind == "node":
            return self._constant(path)
        members = rest[1:]
        if not members:
            return (lambda look_up: look_up(place)), kind
        if kind != "headers" or len(members) > 1:
            what = "a header" if kind == "headers" else f"{root}.{rest[0]}"
            raise self._error(tree.at, f"{what} has no members; remove what is behind it")
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

                return absent, _UNKNOWN_KIND
            value = value[name]
        return (lambda _: value), _kind_of(value)

    def _unknown_root(self, tree: Node, name: str) -> CelError:
        near = _nearest(name, _ROOTS)
        hint = f"did you mean {near}?" if near else f"write one of {', '.join(sorted(_ROOTS))}"
        return self._error(tree.at, f"there is no attribute {name[:40]}; {hint}")

    # --- functions ----------------------------------------------------------------------------

    def _function(self, tree: Call) -> _Compiled:
        if tree.name == "has":
            return self._has(tree), "bool"
        found = FUNCTIONS.get(tree.name)
        if found is None:
            raise self._no_function(tree)
        do, kind = found
        self._wants(tree, 1)
        argument, given = self.compiled(tree.args[0])
        if tree.name == "size":
            self._refuse_headers(tree.args[0], given, "counted")
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
            raise self._error(
                argument.at, f"{tree.name}() cannot take this: {why[:100]}; mend it"
            ) from None

    def _method(self, tree: Call) -> _Compiled:
        assert tree.of is not None
        if tree.name == "matches":
            return self._matches(tree), "bool"
        found = METHODS.get(tree.name)
        if found is None:
            raise self._no_function(tree)
        count, do, kind = found
        self._wants(tree, count)
        of, given = self.compiled(tree.of)
        if tree.name == "size":
            self._refuse_headers(tree.of, given, "counted")
        elif tree.name.startswith("get"):
            self._wants_kind(tree.of.at, tree.name, given, ("timestamp", "duration"))
        else:
            self._wants_kind(tree.of.at, tree.name, given, ("string",))
        if not count:
            return (lambda look_up: do(of(look_up))), kind
        argument, given = self.compiled(tree.args[0])
        self._wants_kind(tree.args[0].at, tree.name, given, ("string",))
        return (lambda look_up: do(of(look_up), argument(look_up))), kind

    def _matches(self, tree: Call) -> _Evaluate:
        assert tree.of is not None
        self._wants(tree, 1)
        pattern = tree.args[0]
        if not isinstance(pattern, Literal) or not isinstance(pattern.value, str):
            raise self._error(
                pattern.at, "the pattern of matches() is not fixed; write it as a text"
            )
        try:
            regex: Regex = compile_regex(pattern.value)
            # CEL looks for a match anywhere in the text.
            regex = compile_regex(f"(?s:.*)(?:{pattern.value})(?s:.*)")
        except ValueError as error:
            raise self._error(pattern.at, f"the pattern cannot be used: {error}; mend it") from None
        of, given = self.compiled(tree.of)
        self._wants_kind(tree.of.at, tree.name, given, ("string",))

        def matches(look_up: LookUp) -> bool:
            text = of(look_up)
            if not isinstance(text, str):
                raise TypeError("it is no text")
            return regex.fullmatch(text)

        return matches

    def _has(self, tree: Call) -> _Evaluate:
        self._wants(tree, 1)
        asked = tree.args[0]
        if not isinstance(asked, Select | Index):
            raise self._error(asked.at, "has() asks for a member; write has(request.headers['x'])")
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
        if kind not in (_UNKNOWN_KIND, "map", "headers"):
            raise self._error(asked.at, f"{_a(kind)} has no members; ask for one of a map")
        key = self.compiled(asked.key)[0] if isinstance(asked, Index) else _fixed(asked.field)
        return lambda look_up: is_in(key(look_up), of(look_up))

    # --- operators ----------------------------------------------------------------------------

    def _unary(self, tree: Unary) -> _Compiled:
        of, kind = self.compiled(tree.of)
        if tree.operator == "-":
            return (lambda look_up: negative(of(look_up))), kind
        self._wants_kind(tree.of.at, "!", kind, ("bool",))

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
            if right_kind not in (_UNKNOWN_KIND, "list", "map", "headers"):
                raise self._error(
                    tree.at,
                    f"{_a(right_kind)} has nothing in it; write a list or a map behind `in`",
                )
            return (lambda look_up: is_in(left(look_up), right(look_up))), "bool"
        for side, kind in ((tree.left, left_kind), (tree.right, right_kind)):
            self._refuse_headers(side, kind, "compared")
        compare = COMPARISONS.get(tree.operator)
        if compare is not None:
            if tree.operator == "==" and isinstance(tree.right, Literal):
                wanted = tree.right.value
                if isinstance(wanted, str):  # what is asked most often
                    return (lambda look_up: left(look_up) == wanted), "bool"
                return (lambda look_up: equal(left(look_up), wanted)), "bool"
            self._wants_order(tree, left_kind, right_kind)
            return (lambda look_up: compare(left(look_up), right(look_up))), "bool"
        do = ARITHMETIC[tree.operator]
        kind = left_kind if left_kind == right_kind else _UNKNOWN_KIND
        return (lambda look_up: do(left(look_up), right(look_up))), kind

    def _joined(self, parts: tuple[Node, ...], *, decides: bool) -> _Evaluate:
        """Return `&&` or `||`: the value that decides does so whatever else fails."""
        compiled = []
        for part in parts:
            evaluate, kind = self.compiled(part)
            self._wants_kind(part.at, "||" if decides else "&&", kind, ("bool",))
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
        self._wants_kind(tree.condition.at, "?", kind, ("bool",))
        then, then_kind = self.compiled(tree.then)
        otherwise, other_kind = self.compiled(tree.otherwise)

        def choose(look_up: LookUp) -> object:
            value = condition(look_up)
            if not isinstance(value, bool):
                raise TypeError("it is neither true nor false")
            return then(look_up) if value else otherwise(look_up)

        return choose, then_kind if then_kind == other_kind else _UNKNOWN_KIND

    def _map(self, tree: MapOf) -> _Compiled:
        pairs = []
        for key, value in tree.pairs:
            evaluate, kind = self.compiled(key)
            if kind not in (_UNKNOWN_KIND, "string", "int", "uint", "bool"):
                raise self._error(
                    key.at, f"a key is a text, a whole number or a truth value, and no {kind}"
                )
            pairs.append((evaluate, self.compiled(value)[0]))
        keys = [key.value for key, _ in tree.pairs if isinstance(key, Literal)]
        if len({(isinstance(key, bool), key) for key in keys}) < len(keys):
            raise self._error(tree.at, "the map has one key twice; remove one")

        def make(look_up: LookUp) -> Table:
            return Table((key(look_up), value(look_up)) for key, value in pairs)

        return make, "map"

    # --- what is wrong ------------------------------------------------------------------------

    def _wants(self, tree: Call, count: int) -> None:
        if len(tree.args) != count:
            what = "no argument" if count == 0 else "one argument"
            raise self._error(
                tree.at, f"{tree.name}() takes {what}, and there are {len(tree.args)}"
            )

    def _wants_kind(self, at: int, name: str, kind: str, wanted: tuple[str, ...]) -> None:
        if kind not in (_UNKNOWN_KIND, *wanted):
            remedy = (
                "; write string(...) around it"
                if wanted == ("string",) and kind in ("int", "uint", "double", "bool")
                else ""
            )
            raise self._error(
                at, f"{name} is for {' and '.join(wanted)}, and this is {_a(kind)}{remedy}"
            )

    def _wants_order(self, tree: Binary, left: str, right: str) -> None:
        if tree.operator in ("==", "!="):
            return
        numbers = ("int", "uint", "double")
        if _UNKNOWN_KIND in (left, right) or left == right or {left, right} <= set(numbers):
            return
        remedy = "; write int(...) around the text" if "string" in (left, right) else ""
        raise self._error(
            tree.at, f"{tree.operator} cannot compare {_a(left)} and {_a(right)}{remedy}"
        )

    def _refuse_headers(self, tree: Node, kind: str, what: str) -> None:
        if kind in ("headers", "node"):
            raise self._error(
                tree.at, "headers can be indexed and asked, but not "
                f"{what}; write request.headers['name'] or 'name' in request.headers"
            )  # fmt: skip

    def _no_function(self, tree: Call) -> CelError:
        if tree.name in _MACROS and tree.of is not None:
            return self._error(
                tree.at, f"{tree.name}() is outside of the subset; write each case, joined by ||"
            )
        if tree.of is None and tree.name in (*METHODS, "matches"):
            return self._error(tree.at, f"{tree.name} is a method; write text.{tree.name}(...)")
        known = FUNCTIONS if tree.of is None else {**METHODS, "matches": None}
        names = (*known, "has") if tree.of is None else tuple(known)
        near = _nearest(tree.name, names)
        hint = f"did you mean {near}()?" if near else f"write one of {', '.join(sorted(names))}"
        return self._error(tree.at, f"there is no function {tree.name[:40]}(); {hint}")

    def _error(self, at: int, problem: str) -> CelError:
        return CelError(self._text, at, problem)


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeio" else f"a {kind}"


def _nearest(text: str, words: Collection[str]) -> str | None:
    from meshware.policy.decode import nearest  # with a reader of YAML, which an app does not need

    return nearest(text, words)


def _fixed(value: object) -> _Evaluate:
    return lambda _: value


def _dotted(root: str, fields: list[str]) -> str:
    return ", ".join(f"{root}.{field}" for field in fields)


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


def _kind_of(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "bool"
        case Uint():
            return "uint"
        case int():
            return "int"
        case float():
            return "double"
        case str():
            return "string"
        case bytes():
            return "bytes"
    return "map"
