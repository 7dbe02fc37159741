"""Read policy whole: parse it, check it, and tell everything that is wrong with it at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshware.errors import PolicyError
from meshware.policy.parse import Resource, parse_mapping, parse_paths, parse_text
from meshware.policy.problems import Problem, Severity
from meshware.policy.validate import check

__all__ = ["Loaded", "load", "load_mapping", "load_text"]


@dataclass(frozen=True, slots=True)
class Loaded:
    """Policy as read, with everything that was found about it.

    Attributes:
        resources: those that could be decoded, in the order in which they were read.
        problems: all findings, by file, line and field.
        parse_problems: those of them that parsing alone made.
    """

    resources: tuple[Resource, ...]
    problems: tuple[Problem, ...]
    parse_problems: tuple[Problem, ...] = ()

    def with_more(self, problems: Iterable[Problem]) -> Loaded:
        """Return the same with more findings, in their places."""
        found = tuple(sorted([*self.problems, *problems], key=_place))
        return Loaded(self.resources, found, self.parse_problems)

    @property
    def ok(self) -> bool:
        """Say whether there is no error; warnings do not count."""
        return not any(problem.severity is Severity.ERROR for problem in self.problems)

    def raise_for_errors(self) -> None:
        """Do nothing if there is no error.

        Raises:
            PolicyError: there is one; all problems are in it, warnings included.
        """
        count = sum(problem.severity is Severity.ERROR for problem in self.problems)
        if count:
            errors = "1 error" if count == 1 else f"{count} errors"
            raise PolicyError(f"the policy has {errors}", self.problems)


def load(paths: Iterable[Path]) -> Loaded:
    """Read files and directories.

    What cannot be read is a problem like any other, so that one bad file does not hide the rest.
    """
    return _loaded(*parse_paths(paths))


def load_text(text: str | bytes, file: str = "<text>") -> Loaded:
    """Read YAML or JSON text; `file` is what problems shall call it."""
    return _loaded(*parse_text(text, file))


def load_mapping(mapping: Mapping[str, Any], file: str = "<mapping>") -> Loaded:
    """Read the one resource that a mapping holds; `file` is what problems shall call it."""
    return _loaded(*parse_mapping(mapping, file))


def _loaded(resources: list[Resource], parse_problems: list[Problem]) -> Loaded:
    found = sorted(parse_problems, key=_place)
    return Loaded(
        resources=tuple(resource for resource in resources if resource.is_whole),
        problems=tuple(sorted([*found, *check(resources)], key=_place)),
        parse_problems=tuple(found),
    )


def _place(problem: Problem) -> tuple[str, int, str, str, str]:
    return (
        problem.file or "",
        problem.line or 0,
        problem.field or "",
        problem.code,
        problem.message,
    )
