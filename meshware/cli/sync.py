"""`meshware sync`: the daemon that checks and publishes policy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from meshware.cli.options import format_option

__all__ = ["command"]


@click.command("sync", short_help="Run the daemon: check, publish and watch policy.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A policy file or directory; may be given several times. All together are one policy.",
)
@click.option(
    "--run-dir",
    required=True,
    type=click.Path(path_type=Path),
    help="What daemon and workers share: policy.mesh, reports, status.json.",
)
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    help="The daemon's own memory, outside of the run directory.  "
    "[default: /var/lib/meshware for root, else $XDG_STATE_HOME/meshware]",
)
@click.option(
    "--listen",
    default="127.0.0.1:15090",
    show_default=True,
    metavar="HOST:PORT|off",
    help="Where to serve /healthz and /metrics; not with --once.",
)
@click.option("--once", is_flag=True, help="Read, publish or refuse, and end.")
@format_option
def command(
    *,
    sources: tuple[Path, ...],
    run_dir: Path,
    state_dir: Path | None,
    listen: str,
    once: bool,
    output: str,
) -> int:
    """Check policy, publish it to the workers of this machine, and do so again at each edit.

    Policy with an error is refused whole: the reasons are told on standard error and in
    `meshware status`, and what was published before stays in force.

    Exit code 0: ended by SIGTERM or Ctrl-C, or with --once: published, or up to date already;
    1: with --once, refused; 2: it cannot start.
    """
    from meshware.clock import SystemClock
    from meshware.syncd.announce import JsonAnnouncer, TextAnnouncer
    from meshware.syncd.daemon import run_daemon, run_once
    from meshware.syncd.listen import parse_address
    from meshware.syncd.places import default_state_dir, settle_places

    state = state_dir or default_state_dir(os.environ, os.geteuid())
    places = settle_places(sources, run_dir, state)
    announcer = JsonAnnouncer if output == "json" else TextAnnouncer
    announce = announcer(_write_line, lambda line: click.echo(line, err=True))
    address = parse_address(listen)
    if once:
        return 0 if run_once(places, announce, SystemClock()).ok else 1
    run_daemon(places, announce, SystemClock(), address)
    return 0


def _write_line(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()  # a program that follows waits for it
