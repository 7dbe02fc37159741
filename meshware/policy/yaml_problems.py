"""What is wrong with a YAML text: on which line, in words that say what to write instead."""

from __future__ import annotations

import re

import yaml

from meshware.policy.codes import SYNTAX

__all__ = ["LINE_BREAK", "YAMLProblem", "brief", "syntax_problem"]


LINE_BREAK = re.compile("\r\n|\r|\n")
"""What ends a line. Source: YAML 1.2.2, 5.4."""


class YAMLProblem(Exception):  # noqa: N818 - a finding on its way to become a Problem
    """One thing wrong with a text.

    Attributes:
        field: where, as far as YAML's structure tells.
        rest: what to read on with after a document that is not YAML: the documents behind it, its
            own lines left empty; None: there are none.
    """

    def __init__(self, code: str, line: int, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.code, self.line, self.message, self.field = code, line, message, field
        self.rest: str | None = None


def brief(text: str, most: int = 40) -> str:
    """Return a text as a message may show it: cut where it is long."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


# What to do about the parser's complaints, by words that both of PyYAML's parsers use.
_REMEDIES = (
    ("mapping values are not allowed", "quote a text that holds ': ', or mend the indentation"),
    ("cannot start any token", "quote the text"),
    ("end of stream", "close the quote or bracket"),
    ("',' or", "put a comma between the items, and close the bracket"),
    ("escape", "use single quotes for a text with backslashes"),
    ("expected key", "mend the indentation"),
    ("node content", "write the key or the value that is missing"),
    ("block end", "mend the indentation"),
    ("'-' indicator", "mend the indentation"),
    ("sequence entries are not allowed", "begin the list on a line of its own"),
)


def syntax_problem(error: yaml.MarkedYAMLError, text: str, document: int) -> YAMLProblem:
    """Return a parser's complaint as a problem on a line of the text, with a remedy.

    Args:
        error: the complaint.
        text: all that was read.
        document: the line where the document at hand began, from 0.
    """
    mark, began = error.problem_mark or error.context_mark, error.context_mark
    lines = LINE_BREAK.split(text)
    if len(lines) > 1 and not lines[-1]:
        lines.pop()  # what follows the last line break is no line
    line = min(mark.line + 1 if mark else 1, len(lines))
    behind = next((n for n in range(document + 1, len(lines)) if _MARKER.match(lines[n])), None)
    if behind is not None:
        line = min(line, behind)  # what is open is told of where the next document begins
    what = error.problem or "it cannot be read"
    if error.context:
        since = f" (from line {began.line + 1})" if began and began.line + 1 != line else ""
        what = f"{what}, {error.context}{since}"
    remedy = next((remedy for words, remedy in _REMEDIES if words in what), "mend it")
    if "any token" in what and lines[line - 1].lstrip(" ").startswith("\t"):
        what, remedy = "a tab is no indentation", "use spaces"
    problem = YAMLProblem(SYNTAX, line, f"this is not YAML: {brief(what, 200)}; {remedy}")
    if behind is not None:
        problem.rest = "\n" * behind + "\n".join(lines[behind:])
    return problem


# YAML 1.2.2, 9.1.2: within a document no line begins so, not even in a quoted text.
_MARKER = re.compile(r"---(\s|$)")
