"""Tell people and programs what the daemon does.

Text: what happened goes to standard output, what is wrong to standard error, one problem a line.
JSON: one object a line on standard output for each event, besides the same problems on standard
error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from meshware.policy.problems import Problem
from meshware.runtime.files import printable
from meshware.syncd.status import Finding

__all__ = ["Announcer", "JsonAnnouncer", "TextAnnouncer"]

Write = Callable[[str], None]
"""Write one line at once, for whoever follows it."""


class Announcer(Protocol):
    """Told of each event; it tells the world."""

    def published(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """Policy was published; the problems are warnings."""
        ...

    def unchanged(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """The sources say what is published already."""
        ...

    def refused(self, reason: str, problems: Sequence[Problem], serving: int | None) -> None:
        """The sources cannot be used; `serving` is the generation that stays."""
        ...

    def kept(self, generation: int, why: str, *, is_republished: bool) -> None:
        """Policy of before is served, maybe under a new generation, as told."""
        ...

    def refreshed(self, generation: int, what: str) -> None:
        """Policy was published with `what` ("new addresses"), the sources being as they were."""
        ...

    def rekeyed(self, generation: int) -> None:
        """Policy was published with another bundle, the sources being as they were."""
        ...

    def note(self, sentence: str) -> None:
        """Something else that a person wants to know."""
        ...


class TextAnnouncer:
    """For people."""

    def __init__(self, out: Write, err: Write) -> None:
        self._out = out
        self._err = err

    def published(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """Tell it in one line, warnings before it."""
        self._tell(problems)
        self._out(f"published generation {generation}: {_count(resources, 'resource')}")

    def unchanged(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """Tell it in one line, warnings before it."""
        self._tell(problems)
        self._out(
            f"generation {generation} is up to date with the sources: "
            f"{_count(resources, 'resource')}"
        )

    def refused(self, reason: str, problems: Sequence[Problem], serving: int | None) -> None:
        """Tell each problem in a line, and then what is served."""
        self._tell(problems)
        self._err(f"refused: {reason}; {_what_stays(serving)}")

    def kept(self, generation: int, why: str, *, is_republished: bool) -> None:
        """Tell it in one line."""
        what = "published again as" if is_republished else "still serving"
        self._out(f"{what} generation {generation}: {why}")

    def refreshed(self, generation: int, what: str) -> None:
        """Tell it in one line."""
        self._out(f"published generation {generation}: {what}")

    def rekeyed(self, generation: int) -> None:
        """Tell it in one line."""
        self._out(f"published generation {generation}: new authorities")

    def note(self, sentence: str) -> None:
        """Tell it on standard error."""
        self._err(sentence)

    def _tell(self, problems: Sequence[Problem]) -> None:
        for problem in problems:
            self._err(" ".join(str(problem).split("\n")))


class JsonAnnouncer:
    """For programs: one object a line, with an `event` and its facts."""

    def __init__(self, out: Write, err: Write) -> None:
        self._out = out
        self._text = TextAnnouncer(lambda _line: None, err)

    def published(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """Write an object with the generation, the number of resources, and the warnings."""
        self._text.published(generation, resources, problems)
        self._write(
            "published", generation=generation, resources=resources, problems=_all(problems)
        )

    def unchanged(self, generation: int, resources: int, problems: Sequence[Problem]) -> None:
        """Write an object with the generation, the number of resources, and the warnings."""
        self._text.unchanged(generation, resources, problems)
        self._write(
            "unchanged", generation=generation, resources=resources, problems=_all(problems)
        )

    def refused(self, reason: str, problems: Sequence[Problem], serving: int | None) -> None:
        """Write an object with the reason, all problems, and the generation that stays."""
        self._text.refused(reason, problems, serving)
        self._write(
            "refused", generation=serving, reason=printable(reason), problems=_all(problems)
        )

    def kept(self, generation: int, why: str, *, is_republished: bool) -> None:
        """Write an object with the generation, and why policy of before is served."""
        event = "republished" if is_republished else "kept"
        self._write(event, generation=generation, reason=printable(why))

    def refreshed(self, generation: int, what: str) -> None:
        """Write an object with the generation, and what is new in it."""
        self._write("refreshed", generation=generation, reason=what)

    def rekeyed(self, generation: int) -> None:
        """Write an object with the generation."""
        self._write("rekeyed", generation=generation)

    def note(self, sentence: str) -> None:
        """Write an object with a sentence for people."""
        self._text.note(sentence)
        self._write("note", message=printable(sentence))

    def _write(self, event: str, **facts: Any) -> None:
        self._out(msgspec.json.encode({"event": event, **facts}).decode())


def _all(problems: Sequence[Problem]) -> list[Finding]:
    return [Finding.of(problem) for problem in problems]


def _count(number: int, what: str) -> str:
    return f"1 {what}" if number == 1 else f"{number} {what}s"


def _what_stays(serving: int | None) -> str:
    if serving is None:
        return "there is no policy yet, and workers refuse every call"
    return f"generation {serving} stays in force"
