"""What the daemon says about itself, for `meshware status` and for scripts: `status.json`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from meshware.policy.problems import Problem, Severity
from meshware.runtime.files import printable, replace_file

__all__ = [
    "MOST_KEY_SOURCES",
    "STATUS_FORMAT",
    "Finding",
    "KeySource",
    "RefusedPolicy",
    "Status",
    "read_status",
    "write_status",
]

STATUS_FORMAT = 1

MOST_KEY_SOURCES = 100
"""That are told of in the status file; `/metrics` counts all."""

_MOST_BYTES = 8 * 1024 * 1024
_MOST_FINDINGS = 1000  # of one refusal; who has more mends these first


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One problem, with the fields of `meshware check --format json`."""

    severity: Literal["error", "warning", "info"]
    code: str
    kind: str | None
    namespace: str
    name: str | None
    field: str | None
    file: str | None
    line: int | None
    message: str

    def __str__(self) -> str:
        """Return it as `meshware check` prints it."""
        return str(Problem(**{**msgspec.structs.asdict(self), "severity": Severity(self.severity)}))

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """Return what a problem says."""
        return cls(
            severity=problem.severity.value,
            code=problem.code,
            kind=_printable(problem.kind),
            namespace=printable(problem.namespace),
            name=_printable(problem.name),
            field=_printable(problem.field),
            file=_printable(problem.file),
            line=problem.line,
            message=printable(problem.message),
        )


class RefusedPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Policy that is in the sources and is not published."""

    since: str  # ISO 8601, UTC
    reason: str  # in one sentence
    problems: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, since: str, reason: str, problems: Sequence[Problem]) -> RefusedPolicy:
        """Return a refusal with its problems, the first thousand of them."""
        return cls(
            since=since,
            reason=printable(reason),
            problems=tuple(Finding.of(problem) for problem in problems[:_MOST_FINDINGS]),
        )


class KeySource(msgspec.Struct, frozen=True, kw_only=True):
    """An address from which keys of tokens cannot be fetched now."""

    uri: str  # without its query
    message: str  # why, what to mend, and what holds meanwhile


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon did last."""

    meshware: int = STATUS_FORMAT
    pid: int
    started_at: str
    ended_at: str | None = None  # in good order; None: it runs, or was killed
    sources: tuple[str, ...]
    state_dir: str
    listen: str | None = None  # "127.0.0.1:15090"
    has_dashboard: bool | None = None  # served there; None: nothing is, or nobody says
    generation: int | None = None  # published; None: there was never any
    published_at: str | None = None
    resources: int | None = None  # None: served from an earlier run
    warnings: int = 0
    refused: RefusedPolicy | None = None  # None: the sources are as published
    keys: tuple[KeySource, ...] = ()


def write_status(path: Path, status: Status) -> None:
    """Replace the status file.

    Raises:
        OSError: it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(status), indent=2)
    replace_file(path, text + b"\n", mode=0o644)


def read_status(path: Path) -> Status | None:
    """Return what the daemon said last; None where it never did, or not in a way known here.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        # Without O_NONBLOCK a named pipe in its place would keep `meshware status` for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = msgspec.json.decode(file.read(_MOST_BYTES), type=Status)
    except FileNotFoundError:
        return None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return status if status.meshware == STATUS_FORMAT else None


def _printable(text: str | None) -> str | None:
    return None if text is None else printable(text)
