"""Find the few entries whose pattern a text may match, whatever their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshware.policy.match import PathTemplate, Patterns, is_path_template

__all__ = ["PatternIndex", "literal_patterns"]

Lengths = tuple[int, ...]


class PatternIndex:
    """Entry numbers by what their patterns begin or end with.

    A look-up costs one dictionary look-up for each *length* of prefix and suffix that occurs, and
    not one test for each pattern. It answers which entries may match, never which do.
    """

    __slots__ = ("_any", "_exact", "_prefix_lengths", "_prefixes", "_suffix_lengths", "_suffixes")

    def __init__(self, entries: Iterable[tuple[int, Patterns]]) -> None:
        exact: dict[str, list[int]] = {}
        prefixes: dict[str, list[int]] = {}
        suffixes: dict[str, list[int]] = {}
        anything: list[int] = []
        for number, patterns in entries:
            if patterns.is_any:
                anything.append(number)
                continue
            for kind, texts in (
                (exact, patterns.exact),
                (prefixes, patterns.prefixes),
                (suffixes, patterns.suffixes),
            ):
                for text in texts:
                    kind.setdefault(text, []).append(number)
        self._exact = exact
        self._prefixes = prefixes
        self._suffixes = suffixes
        self._any = tuple(anything)
        self._prefix_lengths: Lengths = tuple(sorted({len(text) for text in prefixes}))
        self._suffix_lengths: Lengths = tuple(sorted({len(text) for text in suffixes}))

    def find(self, text: str) -> list[int]:
        """Return the numbers of the entries that may match; one may come twice."""
        found = list(self._any)
        exact = self._exact.get(text)
        if exact is not None:
            found += exact
        length = len(text)
        for wanted in self._prefix_lengths:
            if wanted > length:
                break
            numbers = self._prefixes.get(text[:wanted])
            if numbers is not None:
                found += numbers
        for wanted in self._suffix_lengths:
            if wanted > length:
                break
            numbers = self._suffixes.get(text[length - wanted :])
            if numbers is not None:
                found += numbers
        return found


def literal_patterns(paths: Sequence[str]) -> Patterns:
    """Return patterns for an index that take all that some `paths` take, templates included."""
    return Patterns(
        PathTemplate(path).literal + "*" if is_path_template(path) else path for path in paths
    )
