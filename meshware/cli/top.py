"""`meshware top`: a live table of who calls whom, from a daemon's dashboard."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from meshware.cli.options import PLACE, format_option
from meshware.cli.output import printed
from meshware.terminal.edges import SORTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from meshware.terminal.edges import Edges
    from meshware.terminal.view import View

__all__ = ["command"]


@click.command("top", short_help="Watch who calls whom, how often and how fast.")
@click.option("--run-dir", type=PLACE, help="The run directory of the daemon that is asked.")
@click.option("--url", help="The daemon's address in place of --run-dir: http://127.0.0.1:15090.")
@click.option(
    "--dashboard-token-file",
    type=PLACE,
    metavar="PATH",
    help="The file with the token, where the daemon asks for one.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2, max=3600),
    default=2.0,
    show_default=True,
    help="Seconds from one answer to the next question.",
)
@click.option(
    "--window",
    type=click.IntRange(1, 3600),
    default=60,
    show_default=True,
    help="Seconds that rates and percentiles are over.",
)
@click.option(
    "--sort",
    type=click.Choice(tuple(SORTS)),
    default="rate",
    show_default=True,
    help="The column to sort by; numbers from the largest down.",
)
@click.option("--reverse", is_flag=True, help="Sort the other way round.")
@click.option("--namespace", metavar="NAME", help="Show the calls from or to one namespace alone.")
@click.option("--versions", is_flag=True, help="Show which version of a service was called, too.")
@click.option("--once", is_flag=True, help="Print the table once, and end.")
@format_option
def command(
    *,
    run_dir: Path | None,
    url: str | None,
    dashboard_token_file: Path | None,
    interval: float,
    window: int,
    sort: str,
    reverse: bool,
    namespace: str | None,
    versions: bool,
    once: bool,
    output: str,
) -> int:
    """Show a live table of the calls between services, as the dashboard's graph has them.

    TRIES is how many attempts come on a call. Where standard output is no terminal, the table is
    printed once. `--format json` prints an object for each refresh, one to a line, and one alone
    with `--once`.

    Keys: q ends it; < and > sort by another column, r the other way round; n shows the next
    namespace, v versions, p holds the picture; arrows scroll. NO_COLOR is obeyed.

    Exit code 0: shown; 2: no daemon is running there, it serves no dashboard or does not answer, or
    refuses the token.
    """
    from meshware.terminal.view import View

    if (run_dir is None) == (url is None):
        raise click.UsageError("name the daemon by --run-dir or by --url, one of the two")
    where, ask = _asking(run_dir, url, dashboard_token_file, window)
    view = View(sort=sort, is_reversed=reverse, namespace=namespace, has_versions=versions)
    is_live = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    if output == "json":
        _print_json(ask, view, interval, is_once=once)
    elif once or not is_live:
        _print_table(ask(), view)
    else:
        from meshware.terminal.live import watch

        watch(
            ask,
            where,
            view,
            interval_s=interval,
            is_coloured=not os.environ.get("NO_COLOR"),
            encoding=sys.stdout.encoding,
        )
    return 0


def _asking(
    run_dir: Path | None, url: str | None, token_file: Path | None, window_s: int
) -> tuple[str, Callable[[], Edges]]:
    """Return the daemon's address, and what asks it."""
    from meshware.cli.served import served_at
    from meshware.terminal.ask import Dashboard, parsed

    token = None
    if token_file is not None:
        from meshware.syncd.serve import read_token

        token = read_token(token_file)

    def address() -> str:
        if url is not None:
            return url
        assert run_dir is not None
        return f"http://{served_at(run_dir)}"

    def ask() -> Edges:
        # Found anew each time: a daemon that was started again may serve another port.
        return Dashboard(parsed(address()), token).edges(window_s)

    return parsed(address()).netloc, ask


def _print_json(ask: Callable[[], Edges], view: View, interval_s: float, *, is_once: bool) -> None:
    """Print an object, or one after the other until Ctrl-C, each on a line."""
    if is_once:
        printed("json", _shown(ask(), view), ())
        return
    import msgspec

    with contextlib.suppress(KeyboardInterrupt):
        while True:
            click.echo(msgspec.json.encode(_shown(ask(), view)).decode())
            sys.stdout.flush()
            time.sleep(interval_s)


def _shown(edges: Edges, view: View) -> Edges:
    from msgspec.structs import replace

    return replace(edges, edges=tuple(view.rows(edges)))


def _print_table(edges: Edges, view: View) -> None:
    from meshware.terminal.table import edge_table, summary
    from meshware.terminal.text import shown

    rows = view.rows(edges)
    encoding = sys.stdout.encoding
    click.echo(shown(summary(edges, len(rows), view.namespace), encoding))
    if rows:
        for line in edge_table(rows, sort=view.sort, encoding=encoding):
            click.echo(line)
