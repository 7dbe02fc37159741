"""`meshware cert rotate-root`: have a running daemon change its root, and wait for the workers."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from meshware.cli.cert_places import places_of, run_dir_option, seconds, state_dir_option
from meshware.cli.options import format_option
from meshware.cli.output import printed, table, when

if TYPE_CHECKING:
    from meshware.ca.requests import Progress

__all__ = ["rotate_root_command"]

_LOOK_S = 0.1
_ANSWER_S = 15.0  # a daemon looks each second, and may be busy with policy


@click.command("rotate-root", short_help="Change the root of a running daemon, without a gap.")
@run_dir_option
@state_dir_option
@click.option(
    "--timeout",
    default="60s",
    show_default=True,
    callback=seconds,
    help="How long to wait for workers that do not report the new bundle.",
)
@click.option("--force", is_flag=True, help="Go on without them after that time.")
@format_option
def rotate_root_command(
    *, run_dir: Path, state_dir: Path | None, timeout: float, force: bool, output: str
) -> int:
    """Put a new root beside the old one, wait until every live worker reports it, and use it.

    The old root is dropped when the longest-lived certificate that it issued has ended. Where
    workers do not report in time, they are listed, both roots stay trusted, and the daemon goes on
    as soon as they do; run the command again with --force to go on without them.

    Exit code 0: the new root issues; 1: workers are missing, or it is refused; 2: no daemon runs.
    """
    from meshware.ca.requests import Request, write_request
    from meshware.errors import SyncError
    from meshware.syncd.lock import is_held

    places = places_of(run_dir, state_dir)
    if is_held(run_dir) is False:
        raise SyncError(f"no daemon runs on {run_dir}: start `meshware sync`, which changes it")
    if not places.state_dir.is_dir():
        raise SyncError(
            f"the state directory {places.state_dir} is not there: name the daemon's by --state-dir"
        )
    own = secrets.token_hex(8)

    def ask(*, is_forced: bool) -> None:
        write_request(places.state_dir, Request(id=own, force=is_forced))

    ask(is_forced=False)
    found = _wait(places.state_dir, own, _ANSWER_S, lambda _: True)
    if found is None:
        raise SyncError(f"the daemon of {run_dir} does not answer; see `meshware status`")
    if found.reason is None:
        found = _wait(places.state_dir, own, timeout, _is_over) or found
        if force and not _is_over(found):
            ask(is_forced=True)
            found = _wait(places.state_dir, own, _ANSWER_S, _is_over) or found
    printed(output, found, _lines(found))
    return 0 if _is_over(found) and found.reason is None else 1


def _wait(
    state_dir: Path, own: str, most_s: float, is_enough: Callable[[Progress], bool]
) -> Progress | None:
    """Return what the daemon says of our request; None: nothing that is enough, in time."""
    from meshware.ca.requests import read_progress

    until = time.monotonic() + most_s
    while True:
        found = read_progress(state_dir)
        if found is not None and found.id == own and is_enough(found):
            return found
        if time.monotonic() >= until:
            return None
        time.sleep(_LOOK_S)


def _is_over(progress: Progress) -> bool:
    return progress.reason is not None or progress.phase in {"issuing", "done"}


def _lines(progress: Progress) -> list[str]:
    if progress.reason is not None:
        return [f"refused: {progress.reason}"]
    lines: list[str] = []
    if _is_over(progress):
        lines.append(f"the new root of {progress.trust_domain} issues: {progress.root}")
        if progress.drop_at is not None:
            dropped = when(datetime.fromtimestamp(progress.drop_at, UTC))
            lines.append(f"the old root is dropped at {dropped}")
    else:
        lines.append(
            f"the new root of {progress.trust_domain} is announced and issues nothing yet: "
            f"{progress.root}"
        )
    if progress.stragglers:
        verb = "does" if len(progress.stragglers) == 1 else "do"
        lines.append(
            f"{len(progress.stragglers)} of {progress.workers} workers {verb} not report it:"
        )
        rows: list[Any] = [("  workload", "worker", "pid", "generation")]
        rows += [
            (
                f"  {each.namespace}/{each.workload or '-'}",
                each.id,
                str(each.pid),
                "none" if each.generation is None else str(each.generation),
            )
            for each in progress.stragglers
        ]
        lines += table(rows)
        if not _is_over(progress):
            lines.append("it goes on when they do; --force goes on without them")
    return lines
