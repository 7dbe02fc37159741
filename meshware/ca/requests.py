"""What an operator's command and the daemon tell each other about a change of root, through files.

A *request* is written by the command and taken away by the daemon, the *progress* is written by the
daemon. Both lie in the daemon's state directory, which nobody else can write.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from meshware.runtime.files import read_json, replace_file

__all__ = [
    "PROGRESS_NAME",
    "REQUEST_NAME",
    "Progress",
    "Request",
    "Straggler",
    "read_progress",
    "read_request",
    "write_request",
]

REQUEST_NAME, PROGRESS_NAME = "rotate-root.request.json", "rotate-root.json"

_MOST_BYTES = 16 * 1024 * 1024


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator asks for."""

    id: str
    force: bool = False  # go on without those who do not report


class Straggler(msgspec.Struct, frozen=True, kw_only=True):
    """A live worker that does not report the new bundle."""

    namespace: str
    workload: str | None
    id: str
    pid: int
    generation: int | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a change of root is."""

    id: str  # of the last request that was taken
    phase: Literal["announced", "issuing", "done", "refused"]
    reason: str | None = None  # why that request was refused
    trust_domain: str | None = None
    root: str | None = None  # fingerprint of the new one
    since: str | None = None
    workers: int = 0
    stragglers: tuple[Straggler, ...] = ()
    drop_at: float | None = None  # unix seconds, when the old root goes


def read_request(state_dir: Path) -> Request | None:
    """Return what is requested; None: nothing, or nothing that makes sense."""
    return read_json(state_dir / REQUEST_NAME, Request, _MOST_BYTES)


def write_request(state_dir: Path, request: Request) -> None:
    """Ask the daemon of a state directory to change its root, or to go on with that.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(state_dir / REQUEST_NAME, msgspec.json.encode(request), mode=0o600)


def read_progress(state_dir: Path) -> Progress | None:
    """Return how far the last change of root is; None: there was none."""
    return read_json(state_dir / PROGRESS_NAME, Progress, _MOST_BYTES)
