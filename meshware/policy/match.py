"""How policies match text: Istio's StringMatch, the patterns of authorization, path templates.

Every matcher is made once, when policy is compiled, takes time linear in the text it is shown, and
treats that text as text: no character of a request is ever a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from meshware.policy.document.common import StringMatch
from meshware.policy.regex import compile_regex

__all__ = ["PathTemplate", "Patterns", "Test", "is_path_template", "pattern_test", "string_matcher"]

Test = Callable[[str], bool]


def string_matcher(match: StringMatch, *, ignore_case: bool = False) -> Test:
    """Return the test of a StringMatch; one that sets nothing takes everything (presence).

    Args:
        match: exact, prefix or regex; the regex must match the whole text.
        ignore_case: for exact and prefix, as Istio's `ignoreUriCase`.

    Raises:
        ValueError: the regex is not RE2's.
    """
    if match.exact is not None:
        exact = match.exact.lower() if ignore_case else match.exact
        if ignore_case:
            return lambda text: text.lower() == exact
        return lambda text: text == exact
    if match.prefix is not None:
        prefix = match.prefix.lower() if ignore_case else match.prefix
        if ignore_case:
            return lambda text: text.lower().startswith(prefix)
        return lambda text: text.startswith(prefix)
    if match.regex is not None and match.regex != "*":
        return compile_regex(match.regex).fullmatch
    return lambda text: True


class Patterns:
    """The values of one field of an AuthorizationPolicy: `abc`, `abc*`, `*abc` and `*`.

    A text matches when any value does. `*` alone means "present"; elsewhere than first or last it
    is a character like any other. Source: Istio, AuthorizationPolicy, "Value syntax".

    Attributes:
        exact, prefixes, suffixes: what the values ask for, without their `*`.
        is_any: `*` is among them.
    """

    __slots__ = ("_is_any_nonempty", "exact", "is_any", "prefixes", "suffixes")

    def __init__(self, values: Iterable[str], *, is_empty_present: bool = False) -> None:
        """Take the values apart.

        Args:
            values: as written.
            is_empty_present: `*` takes an empty text as well, as Istio has it for what it reads
                from headers.
        """
        exact: list[str] = []
        prefixes: list[str] = []
        suffixes: list[str] = []
        self.is_any = False
        for value in values:
            if value == "*":
                self.is_any = True
            elif value.startswith("*"):
                suffixes.append(value[1:])
            elif value.endswith("*"):
                prefixes.append(value[:-1])
            else:
                exact.append(value)
        self.exact = frozenset(exact)
        self.prefixes = tuple(prefixes)
        self.suffixes = tuple(suffixes)
        self._is_any_nonempty = self.is_any and not is_empty_present

    def __call__(self, text: str) -> bool:
        """Say whether a text matches any value."""
        if text in self.exact:
            return True
        if self.is_any and (text or not self._is_any_nonempty):
            return True
        return text.startswith(self.prefixes) or text.endswith(self.suffixes)


def pattern_test(values: Sequence[str]) -> Test:
    """Return the test of some values of a field, as `Patterns`, the cheapest for what they are."""
    if len(values) == 1:
        (value,) = values
        if not value.startswith("*"):
            if not value.endswith("*"):
                return value.__eq__
            prefix = value[:-1]
            return lambda text: text.startswith(prefix)
    return Patterns(values)


def is_path_template(value: str) -> bool:
    """Say whether a value of `paths` is a template: `{*}` or `{**}` stands in it."""
    return "{*}" in value or "{**}" in value


class PathTemplate:
    """A path with operators: `{*}` is one segment that is not empty, `{**}` any characters.

    An operator is a whole segment; `{**}` is the last one, and only literal segments follow it.
    Differs from Envoy: a segment may hold any character but `/`, where Envoy takes only those
    that RFC 3986 lets stand in one.

    Attributes:
        literal: what every matching path begins with.

    Raises:
        ValueError: the template breaks these rules; the message says how.
    """

    __slots__ = ("_pieces", "_tail", "literal")

    def __init__(self, template: str) -> None:
        self._pieces: list[str | None] = []  # segments in order, None for {*}
        self._tail: str | None = None  # what must follow {**}; None: there is no {**}
        segments = template.split("/")
        for position, segment in enumerate(segments):
            if self._tail is not None and segment in ("{*}", "{**}"):
                raise ValueError(f"{template!r}: nothing but plain segments may follow {{**}}")
            if segment == "{**}":
                rest = segments[position + 1 :]
                self._tail = "".join("/" + part for part in rest)
            elif segment == "{*}":
                self._pieces.append(None)
            elif any(character in segment for character in "{}*"):
                raise ValueError(
                    f"{template!r}: {segment!r} mixes an operator with other text; an operator is "
                    "a whole segment, {*} or {**}"
                )
            elif self._tail is None:
                self._pieces.append(segment)
        if not template.startswith("/"):
            raise ValueError(f"{template!r}: a path template begins with a slash")
        cut = min(at for at in (template.find("{*}"), template.find("{**}")) if at >= 0)
        self.literal = template[:cut]

    def __call__(self, path: str) -> bool:
        """Say whether a path matches."""
        count = len(self._pieces)
        if self._tail is None:
            found = path.split("/")
            return len(found) == count and self._fits(found)
        found = path.split("/", count)
        if len(found) != count + 1 or not self._fits(found):
            return False
        return found[count].endswith(self._tail)

    def _fits(self, segments: list[str]) -> bool:
        return all(
            segment != "" if piece is None else segment == piece
            for piece, segment in zip(self._pieces, segments, strict=False)
        )
