"""Compile regular expressions of policies: RE2's dialect, whole values, linear time.

With google-re2 installed it matches; without, our own automaton does. Both take the same patterns
and give the same answers, so that policy checked on one machine holds on another. Python's `re`
is not used: it has another dialect, and hostile text makes it backtrack for hours.
"""

from __future__ import annotations

from typing import Any, Protocol

from meshware.policy.automaton import Automaton
from meshware.policy.regex_syntax import parse

__all__ = ["Regex", "compile_re2", "compile_regex"]


class Regex(Protocol):
    """A compiled regular expression. Safe to use from several threads."""

    def fullmatch(self, text: str) -> bool:
        """Say whether the whole text matches."""
        ...


def compile_regex(pattern: str) -> Regex:
    """Compile a pattern in the dialect of RE2, as Istio's policies use it.

    Raises:
        ValueError: RE2 would refuse the pattern (lookaround, backreference, possessive or atomic
            group, ...), or it is over Istio's 1,024 bytes; the message says why.
    """
    parse(pattern)
    compiled = compile_re2(pattern)
    return Automaton(pattern) if compiled is None else _Re2(pattern, compiled)


def compile_re2(pattern: str) -> Any:
    """Compile a pattern with google-re2; None: it is not installed.

    Args:
        pattern: taken by `regex_syntax.parse`.

    Raises:
        ValueError: RE2 refuses it all the same.
    """
    try:
        import re2
    except ImportError:
        return None
    options = re2.Options()
    options.log_errors = False  # else it writes to standard error by itself
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else "it is too large"
        text = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"RE2 refuses it: {text}") from None


class _Re2:
    """A pattern that google-re2 matches."""

    __slots__ = ("_compiled", "_pattern")

    def __init__(self, pattern: str, compiled: Any) -> None:
        self._pattern = pattern
        self._compiled = compiled

    def fullmatch(self, text: str) -> bool:
        try:
            return self._compiled.fullmatch(text) is not None
        except UnicodeEncodeError:
            # Half of a surrogate pair stands for a byte that is not UTF-8. RE2 reads UTF-8 only.
            return Automaton(self._pattern).fullmatch(text)
