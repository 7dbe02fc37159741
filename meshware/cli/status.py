"""`meshware status`: which policy is published, what was refused, and what workers follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshware.cli.options import PLACE, format_option
from meshware.cli.output import printed, table
from meshware.terminal.words import age, left, milliseconds, size

if TYPE_CHECKING:
    from meshware.syncd.overview import Overview
    from meshware.syncd.workers import WorkerSeen

__all__ = ["as_text", "command"]


@click.command("status", short_help="Tell which policy is published and followed.")
@click.option(
    "--run-dir",
    required=True,
    type=PLACE,
    help="The run directory of `meshware sync`.",
)
@format_option
def command(run_dir: Path, output: str) -> int:
    """Tell which policy the daemon published and what each live worker follows.

    Workers' own reports are claims, and are told as such: nothing here was checked with them.
    Where something is amiss with one (another generation than the published, a certificate that
    should have been renewed, calls that wait for its loop or threads) its line begins with `!`
    and ends with what it is.

    Exit code 0: all is well; 1: no policy is published, the sources are refused, keys of tokens
    cannot be fetched, the daemon was killed, or a worker refuses policy; 2: there is no such run
    directory.
    """
    from meshware.clock import SystemClock
    from meshware.syncd.overview import look

    overview = look(run_dir, SystemClock().now().timestamp())
    printed(output, overview, as_text(overview))
    return 0 if overview.ok else 1


def as_text(overview: Overview) -> list[str]:
    """Return what `status` prints for people."""
    lines = [_daemon_line(overview), _policy_line(overview)]
    refused = overview.refused
    if refused is not None:
        lines.append(f"refused   since {refused.since}: {refused.reason}")
        lines += [f"  {' '.join(str(problem).split())}" for problem in refused.problems]
    lines += [
        f"keys      of {each.uri} cannot be fetched: {each.message}" for each in overview.keys
    ]
    lines.append(_workers_line(overview))
    if overview.workers:
        lines += [line.rstrip() for line in table([_HEADS, *map(_row, overview.workers)])]
    for worker in overview.workers:
        for refusal in worker.refusals:
            reason = " ".join(refusal.reason.split())
            lines.append(
                f"  {worker.namespace}/{worker.workload or '-'} {worker.id[:8]} refuses "
                f"{refusal.subject}: {reason}"
            )
    if overview.unreadable:
        lines.append(f"  {overview.unreadable} more in reports/ cannot be read, or is no report")
    return lines


_HEADS = (
    "", "workload", "worker", "pid", "generation", "age", "certificate", "memory", "lag", "calls",
    "meshware", "where", "",
)  # fmt: skip


def _row(worker: WorkerSeen) -> tuple[str, ...]:
    """Return what is told of a worker, each thing as short as people read it."""
    certificate = worker.certificate
    words = [worker.state, *worker.troubles]
    if worker.state == "behind":
        words.pop(0)  # a trouble says by how much
    elif worker.state != "current":
        words.pop(1)  # the first trouble is the state, in more words
    return (
        "!" if worker.troubles else " ",
        f"{worker.namespace}/{worker.workload or '-'}",
        worker.id[:8],
        str(worker.pid),
        "none" if worker.generation is None else str(worker.generation),
        age(worker.policy_age_s),
        "-" if certificate is None else left(certificate.left_s),
        size(worker.memory_bytes),
        milliseconds(None if worker.lag_s is None else worker.lag_s * 1000),
        "-" if worker.in_flight is None else str(worker.in_flight),
        worker.version or "-",
        worker.where,
        ", ".join(words),
    )


def _daemon_line(overview: Overview) -> str:
    daemon = overview.daemon
    if daemon is None:
        return "daemon    none has been here"
    if daemon.is_running is False:
        ended = f"ended at {daemon.ended_at}" if daemon.ended_at else "died, or was killed"
        return f"daemon    does not run: pid {daemon.pid} {ended}"
    what = "runs" if daemon.is_running else "was here"
    line = f"daemon    {what}: pid {daemon.pid}, since {daemon.started_at}"
    return f"{line}, http://{daemon.listen}/metrics" if daemon.listen else line


def _policy_line(overview: Overview) -> str:
    if overview.generation is None:
        return f"policy    none: {overview.reason or 'nothing was published yet'}"
    size = "" if overview.resources is None else f", {overview.resources} resources"
    return f"policy    generation {overview.generation} of {overview.published_at}{size}"


def _workers_line(overview: Overview) -> str:
    count = len(overview.workers)
    if not count:
        return "workers   none"
    current = sum(worker.generation == overview.generation for worker in overview.workers)
    return f"workers   {count} live, {current} of them on this generation"
