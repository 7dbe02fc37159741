"""The grammar of CEL expressions in policy: text to tree, with the place of everything.

::

    expression = or [ "?" or ":" expression ]
    or         = and *( "||" and )
    and        = relation *( "&&" relation )
    relation   = sum *( ( "<" / "<=" / ">" / ">=" / "==" / "!=" / "in" ) sum )
    sum        = product *( ( "+" / "-" ) product )
    product    = unary *( ( "*" / "/" / "%" ) unary )
    unary      = *"!" member / *"-" member
    member     = primary *( "." NAME [ "(" list ")" ] / "[" expression "]" )
    primary    = NAME [ "(" list ")" ] / "(" expression ")" / "[" list "]" / "{" pairs "}" / literal

What names and functions mean is `meshware.policy.cel`'s matter. Size and depth are bounded: whoever
evaluates the tree goes as deep as it is. Words are `cel_tokens`' matter. Source: the CEL
specification, "Syntax".
"""

from __future__ import annotations

from meshware.policy.cel_tokens import END, LARGEST_INT, LITERALS, MOST_SHOWN, Token, tokens
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

__all__ = ["MOST_CHARACTERS", "parse"]

MOST_CHARACTERS = 4096
_DEEPEST = 32
_RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
        "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_RELATIONS = frozenset(("<", "<=", ">", ">=", "==", "!=", "in"))


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises:
        CelError: it is none, or too large.
    """
    if len(text) > MOST_CHARACTERS:
        raise CelError(
            text,
            MOST_CHARACTERS,
            f"it is longer than {MOST_CHARACTERS} characters; make it shorter",
        )
    if not text.strip():
        raise CelError(text, 0, "it is empty; write an expression")
    parser = _Parser(text, tokens(text))
    tree = parser.expression()
    parser.end()
    return tree


class _Parser:
    """Goes through the tokens of one expression."""

    def __init__(self, text: str, tokens: list[Token]) -> None:
        self._text, self._tokens = text, tokens
        self._next = 0
        self._depth = 0

    def end(self) -> None:
        """Raise where something is left over."""
        token = self._tokens[self._next]
        if token.kind != END:
            raise self._unexpected(token, "write an operator before it, or remove it")

    def expression(self) -> Node:
        """Return what stands here."""
        self._deeper(self._tokens[self._next].at)
        condition = self._joined("||")
        if self._takes("?"):
            at = self._tokens[self._next - 1].at
            then = self._joined("||")
            self._wants(":", "a choice is written `condition ? one : other`")
            condition = Choice(at, condition, then, self.expression())
        self._depth -= 1
        return condition

    def _joined(self, sign: str) -> Node:
        read = self._relation if sign == "&&" else lambda: self._joined("&&")
        at = self._tokens[self._next].at
        parts = [read()]
        while self._takes(sign):
            parts.append(read())
        if len(parts) == 1:
            return parts[0]
        return (All if sign == "&&" else Any)(at, tuple(parts))

    def _relation(self) -> Node:
        return self._chain(_RELATIONS, self._sum)

    def _sum(self) -> Node:
        return self._chain(frozenset("+-"), self._product)

    def _product(self) -> Node:
        return self._chain(frozenset("*/%"), self._unary)

    def _chain(self, signs: frozenset[str], read: object) -> Node:
        assert callable(read)
        left: Node = read()
        depth = self._depth
        while (token := self._tokens[self._next]).kind == "sign" and token.text in signs:
            self._next += 1
            self._deeper(token.at)  # the tree leans to the left, one deeper for each
            left = Binary(token.at, token.text, left, read())
        self._depth = depth
        return left

    def _unary(self) -> Node:
        token = self._tokens[self._next]
        if token.kind != "sign" or token.text not in "!-":
            return self._member()
        self._next += 1
        self._deeper(token.at)
        behind = self._tokens[self._next]
        if token.text == "-" and behind.kind == "literal" and type(behind.value) in (int, float):
            self._next += 1
            assert isinstance(behind.value, int | float)
            of: Node = self._behind(Literal(token.at, -behind.value))
            self._depth -= 1
            return of
        of = self._unary()
        self._depth -= 1
        return Unary(token.at, token.text, of)

    def _member(self) -> Node:
        return self._behind(self._primary())

    def _behind(self, of: Node) -> Node:
        depth = self._depth
        while True:
            token = self._tokens[self._next]
            if self._takes("."):
                self._deeper(token.at)
                name = self._tokens[self._next]
                if name.kind != "name" and name.text not in LITERALS and name.text != "in":
                    raise self._unexpected(name, "write the name of a field behind the dot")
                self._next += 1
                if self._takes("("):
                    of = Call(name.at, of, name.text, self._list(")"))
                else:
                    of = Select(name.at, of, name.text)
            elif self._takes("["):
                self._deeper(token.at)
                key = self.expression()
                self._wants("]", "an index is written `map['key']`")
                of = Index(token.at, of, key)
            else:
                self._depth = depth
                return of

    def _primary(self) -> Node:
        token = self._tokens[self._next]
        self._next += token.kind != END
        if token.kind == "literal":
            if type(token.value) is int and token.value > LARGEST_INT:
                raise CelError(self._text, token.at, f"{token.text} does not fit into 64 bits")
            return Literal(token.at, token.value)
        if token.kind == "name":
            if token.text in _RESERVED:
                raise self._unexpected(token, "the word is reserved")
            if self._takes("("):
                return Call(token.at, None, token.text, self._list(")"))
            return Name(token.at, token.text)
        if token.text == "(":
            inner = self.expression()
            self._wants(")", "close the bracket")
            return inner
        if token.text == "[":
            return ListOf(token.at, self._list("]"))
        if token.text == "{":
            return MapOf(token.at, self._pairs())
        raise self._unexpected(token, "write a value here")

    def _list(self, closing: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._takes(closing):
            if items:
                self._wants(",", f"write a comma, or {closing}")
                if closing != ")" and self._takes(closing):
                    break
            items.append(self.expression())
        return tuple(items)

    def _pairs(self) -> tuple[tuple[Node, Node], ...]:
        pairs: list[tuple[Node, Node]] = []
        while not self._takes("}"):
            if pairs:
                self._wants(",", "write a comma, or }")
                if self._takes("}"):
                    break
            key = self.expression()
            self._wants(":", "a map is written `{'key': value}`")
            pairs.append((key, self.expression()))
        return tuple(pairs)

    def _takes(self, sign: str) -> bool:
        token = self._tokens[self._next]
        if token.kind == "sign" and token.text == sign:
            self._next += 1
            return True
        return False

    def _wants(self, sign: str, remedy: str) -> None:
        if not self._takes(sign):
            raise self._unexpected(self._tokens[self._next], remedy)

    def _deeper(self, at: int) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise CelError(self._text, at, f"it is nested deeper than {_DEEPEST}; make it flatter")

    def _unexpected(self, token: Token, remedy: str) -> CelError:
        what = "it ends too early" if token.kind == END else _shown(token.text)
        return CelError(self._text, token.at, f"{what}; {remedy}")


def _shown(text: str) -> str:
    short = text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."
    return f"there is {short} where it has no place"
