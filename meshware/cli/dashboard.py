"""`meshware dashboard`: tell and open the address at which the daemon serves its dashboard."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from meshware.cli.options import PLACE
from meshware.cli.served import served_at

__all__ = ["command"]


@click.command("dashboard", short_help="Open the dashboard of a running daemon.")
@click.option("--run-dir", required=True, type=PLACE, help="The run directory of `meshware sync`.")
@click.option(
    "--open/--no-open",
    "is_opened",
    default=True,
    show_default=True,
    help="Whether to open it in a browser.",
)
def command(*, run_dir: Path, is_opened: bool) -> int:
    """Print the address of the dashboard, and open it in a browser.

    Exit code 0: told; 2: no daemon is running there, or it serves no dashboard.
    """
    address = f"http://{served_at(run_dir)}/"
    click.echo(address)
    if is_opened:
        webbrowser.open(address)
    return 0
