"""The words of CEL expressions in policy: text to tokens, each with its place.

Numbers, texts and bytes are read here, with their escapes; how many tokens there may be is bounded.
Source: the CEL specification, "Syntax", "Lexis".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from meshware.policy.cel_tree import CelError, Uint

__all__ = ["END", "LARGEST_INT", "LITERALS", "MOST_SHOWN", "Token", "tokens"]

_MOST_TOKENS = 1000
MOST_SHOWN = 40

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
LITERALS = {"true": True, "false": False, "null": None}
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "?": "?", '"': '"', "'": "'", "`": "`",
}  # fmt: skip
_NUMBERED = {"x": 2, "X": 2, "u": 4, "U": 8}
LARGEST_INT = 2**63 - 1
_LARGEST_UINT = 2**64 - 1
END = "end"


@dataclass(frozen=True, slots=True)
class Token:
    """One word, where it begins, and what a literal stands for."""

    at: int
    kind: str  # "literal", "name", "sign", "end"
    text: str
    value: object = None


def tokens(text: str) -> list[Token]:
    """Return the words of an expression, and one for its end.

    Raises:
        CelError: there is something that is no word, or too much.
    """
    words: list[Token] = []
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise CelError(text, at, _unreadable(text[at]))
        begin, at = at, found.end()
        if found["space"] is not None:
            continue
        if len(words) >= _MOST_TOKENS:
            raise CelError(text, begin, f"it has more than {_MOST_TOKENS} parts; make it shorter")
        if found["string"] is not None:
            value, at = _string(text, begin, found["string"])
            words.append(Token(begin, "literal", text[begin:at], value))
        elif found["float"] is not None:
            words.append(Token(begin, "literal", found[0], float(found["float"])))
        elif found["int"] is not None:
            words.append(Token(begin, "literal", found[0], _integer(text, begin, found)))
        elif found["name"] is not None:
            words.append(_name(text, begin, found["name"]))
        else:
            words.append(Token(begin, "sign", found[0]))
        if words[-1].kind == "literal" and re.match(r"[A-Za-z0-9_]", text[at : at + 1]):
            raise CelError(text, at, "something is missing here; write an operator between the two")
    words.append(Token(len(text), END, ""))
    return words


def _unreadable(sign: str) -> str:
    if sign == "=":
        return "a single `=` compares nothing; write =="
    if sign in "&|":
        return f"a single `{sign}` is no operator; write {sign}{sign}"
    return f"{sign!r} has no place in an expression; remove it, or put the text into quotes"


def _name(text: str, at: int, name: str) -> Token:
    if name in LITERALS:
        return Token(at, "literal", name, LITERALS[name])
    if name == "in":
        return Token(at, "sign", name)
    return Token(at, "name", name)


def _integer(text: str, at: int, found: re.Match[str]) -> int:
    digits = found["int"]
    # Python refuses to read thousands of digits, and none of them would fit.
    value = int(digits, 0 if digits.startswith("0x") else 10) if len(digits) < 40 else 2**64
    # The smallest number has no opposite: it is read with its sign behind this, and then checked.
    if value > (_LARGEST_UINT if found["unsigned"] else LARGEST_INT + 1):
        raise CelError(text, at, f"{digits[:MOST_SHOWN]} does not fit into 64 bits; write another")
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
