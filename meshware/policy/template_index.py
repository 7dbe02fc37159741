"""Find path templates by their literal segments, whatever the number of templates.

Templates whose operators stand in the same places are of one shape, and a shape is one look-up by
the segments in its other places. One with `{**}` may be found by how it ends as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from meshware.policy.pattern_index import Prefixes

__all__ = ["Slot", "TemplateIndex", "template_slots"]

Numbers = tuple[int, ...]

Pick = Callable[[list[str]], object]

Slot = tuple[int, bool, tuple[int, ...], tuple[str, ...]] | str
"""Where a template is kept: by (count of segments, whether more may follow, places of the literal
ones, these), or by how a path ends."""


def template_slots(template: str) -> tuple[Slot, ...]:
    """Return where a template may be kept; each is enough to find it."""
    segments = template.split("/")
    is_open = "{**}" in segments
    head = segments[: segments.index("{**}")] if is_open else segments
    places = tuple(at for at, segment in enumerate(head) if segment != "{*}")
    by_head = (len(head), is_open, places, tuple(head[at] for at in places))
    tail = segments[len(head) + 1 :] if is_open else []
    return (by_head, "/" + "/".join(tail)) if tail else (by_head,)


class TemplateIndex:
    """Entry numbers by the slots of their templates."""

    __slots__ = ("_closed", "_most", "_open", "_tails")

    def __init__(self, entries: Mapping[Slot, Sequence[int]]) -> None:
        shapes: dict[tuple[int, bool, tuple[int, ...]], dict[object, Numbers]] = {}
        tails: dict[str, Sequence[int]] = {}
        for slot, numbers in entries.items():
            if isinstance(slot, str):
                tails[slot[::-1]] = numbers
            else:
                count, is_open, places, key = slot
                found = shapes.setdefault((count, is_open, places), {})
                found[key if len(key) != 1 else key[0]] = tuple(numbers)
        self._closed: dict[int, list[tuple[Pick, dict[object, Numbers]]]] = {}
        self._open: list[tuple[int, Pick, dict[object, Numbers]]] = []
        for (count, is_open, places), table in shapes.items():
            # The first segment of a template is the empty text before its first slash.
            pick: Pick = itemgetter(*places)
            if is_open:
                self._open.append((count, pick, table))
            else:
                self._closed.setdefault(count, []).append((pick, table))
        self._most = max((count for count, _, _ in shapes), default=0)
        self._tails = Prefixes(tails) if tails else None

    def find(self, path: str) -> list[int]:
        """Return the numbers of the entries whose template a path may match."""
        segments = path.split("/", self._most)
        count = len(segments)
        found: list[int] = []
        for pick, table in self._closed.get(count, ()):
            found += table.get(pick(segments), ())
        for least, pick, table in self._open:
            if count > least:
                found += table.get(pick(segments), ())
        if self._tails is not None:
            found += self._tails.find(path[::-1])
        return found
