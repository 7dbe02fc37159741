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
evaluates the tree goes as deep as it is. Source: the CEL specification, "Syntax".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

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

__all__ = ["MOST_CHARACTERS", "parse"]

MOST_CHARACTERS = 4096
_MOST_TOKENS = 1000
_DEEPEST = 32
_MOST_SHOWN = 40

_TOKEN = re.compile(
    r"""
    (?P<space>(?:[\ \t\r\n\f]+|//[^\n]*)+)
  | (?P<float>(?:[0-9]+\.[0-9]+|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+)
  | (?P<int>0x[0-9a-fA-F]+|[0-9]+)(?P<unsigned>[uU]?)
  | (?P<string>(?:[rR][bB]?|[bB][rR]?)?(?:\"\"\"|'''|"|'))
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<sign>\|\||&&|[<>=!]=|[-+*/%!<>?:.,()\[\]{}])
    """,
    re.VERBOSE,
)
_LITERALS = {"true": True, "false": False, "null": None}
_RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
        "loop", "package", "namespace", "return", "var", "void", "while",
    )
)  # fmt: skip
_RELATIONS = frozenset(("<", "<=", ">", ">=", "==", "!=", "in"))
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_NUMBERED = {"x": 2, "X": 2, "u": 4, "U": 8}
_LARGEST_INT = 2**63 - 1
_LARGEST_UINT = 2**64 - 1
_END = "end"


@dataclass(frozen=True, slots=True)
class _Token:
    at: int
    kind: str  # "literal", "name", "sign", "end"
    text: str
    value: object = None


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
    parser = _Parser(text, _tokens(text))
    tree = parser.expression()
    parser.end()
    return tree


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise CelError(text, at, _unreadable(text[at]))
        begin, at = at, found.end()
        if found["space"] is not None:
            continue
        if len(tokens) >= _MOST_TOKENS:
            raise CelError(text, begin, f"it has more than {_MOST_TOKENS} parts; make it shorter")
        if found["string"] is not None:
            value, at = _string(text, begin, found["string"])
            tokens.append(_Token(begin, "literal", text[begin:at], value))
        elif found["float"] is not None:
            tokens.append(_Token(begin, "literal", found[0], float(found["float"])))
        elif found["int"] is not None:
            tokens.append(_Token(begin, "literal", found[0], _integer(text, begin, found)))
        elif found["name"] is not None:
            tokens.append(_name(text, begin, found["name"]))
        else:
            tokens.append(_Token(begin, "sign", found[0]))
        if tokens[-1].kind == "literal" and re.match(r"[A-Za-z0-9_]", text[at : at + 1]):
            raise CelError(text, at, "something is missing here; write an operator between the two")
    tokens.append(_Token(len(text), _END, ""))
    return tokens


def _unreadable(sign: str) -> str:
    if sign == "=":
        return "a single `=` compares nothing; write =="
    if sign in "&|":
        return f"a single `{sign}` is no operator; write {sign}{sign}"
    return f"{sign!r} has no place in an expression; remove it, or put the text into quotes"


def _name(text: str, at: int, name: str) -> _Token:
    if name in _LITERALS:
        return _Token(at, "literal", name, _LITERALS[name])
    if name == "in":
        return _Token(at, "sign", name)
    return _Token(at, "name", name)


def _integer(text: str, at: int, found: re.Match[str]) -> int:
    digits = found["int"]
    # Python refuses to read thousands of digits, and none of them would fit.
    value = int(digits, 0 if digits.startswith("0x") else 10) if len(digits) < 40 else 2**64
    # The smallest number has no opposite: it is read with its sign behind this, and then checked.
    if value > (_LARGEST_UINT if found["unsigned"] else _LARGEST_INT + 1):
        raise CelError(text, at, f"{digits[:_MOST_SHOWN]} does not fit into 64 bits; write another")
    return Uint(value) if found["unsigned"] else value


def _string(text: str, begin: int, opening: str) -> tuple[str | bytes, int]:
    """Return the value of a string, and where it ends."""
    prefix = opening.rstrip("\"'").lower()
    quote = opening[len(prefix) :]
    at = begin + len(opening)
    parts: list[str] = []
    while not text.startswith(quote, at):
        if at >= len(text) or (len(quote) == 1 and text[at] in "\r\n"):
            raise CelError(
                text, begin, f"the text that begins here has no end; close it by {quote}"
            )
        if text[at] == "\\" and "r" not in prefix:
            part, at = _escape(text, at, is_bytes="b" in prefix)
            parts.append(part)
        else:
            parts.append(text[at] if "b" not in prefix else text[at].encode().decode("latin-1"))
            at += 1
    value = "".join(parts)
    return (value.encode("latin-1") if "b" in prefix else value), at + len(quote)


def _escape(text: str, at: int, *, is_bytes: bool) -> tuple[str, int]:
    sign = text[at + 1 : at + 2]
    if sign in _ESCAPES and sign:
        return _ESCAPES[sign], at + 2
    digits, base, begin = "", 16, at + 2
    if sign in _NUMBERED and sign and not (is_bytes and sign in "uU"):
        digits = text[begin : begin + _NUMBERED[sign]]
        wanted = _NUMBERED[sign]
    else:
        begin, base, wanted = at + 1, 8, 3
        digits = text[begin : begin + 3] if sign and sign in "0123" else ""
    alphabet = "01234567" if base == 8 else "0123456789abcdefABCDEF"
    if len(digits) != wanted or any(digit not in alphabet for digit in digits):
        raise CelError(
            text, at, f"there is no escape {text[at : at + 2]!r}; write \\\\ for a backslash"
        )
    number = int(digits, base)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise CelError(text, at, "there is no such character; write another")
    return chr(number), begin + wanted


class _Parser:
    """Goes through the tokens of one expression."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text, self._tokens = text, tokens
        self._next = 0
        self._depth = 0

    def end(self) -> None:
        """Raise where something is left over."""
        token = self._tokens[self._next]
        if token.kind != _END:
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
                if name.kind != "name" and name.text not in _LITERALS and name.text != "in":
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
        self._next += token.kind != _END
        if token.kind == "literal":
            if type(token.value) is int and token.value > _LARGEST_INT:
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

    def _unexpected(self, token: _Token, remedy: str) -> CelError:
        what = "it ends too early" if token.kind == _END else _shown(token.text)
        return CelError(self._text, token.at, f"{what}; {remedy}")


def _shown(text: str) -> str:
    short = text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."
    return f"there is {short} where it has no place"
