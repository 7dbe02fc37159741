"""`meshware cert`: authorities and the identities that they issue.

Each of its commands is imported when it is called for.
"""

from __future__ import annotations

import importlib

import click

__all__ = ["command"]

_COMMANDS = {
    "show": ("cert_show", "Tell which authority there is, and until when."),
    "list": ("cert_show", "List the identities of a run directory, and when they end."),
    "issue": ("cert_issue", "Issue one identity into a directory."),
    "rotate-root": ("cert_rotate", "Change the root of a running daemon, without a gap."),
    "init-root": ("cert_issue", "Make a root, to be kept offline."),
    "issue-intermediate": ("cert_issue", "Make the authority of one node below a root."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"meshware.cli.{_COMMANDS[cmd_name][0]}")
        found: click.Command = getattr(module, cmd_name.replace("-", "_") + "_command")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])


@click.group("cert", cls=_Commands, short_help="Look after authorities and identities.")
def command() -> None:
    """Look after authorities and the identities that they issue.

    `meshware sync` makes an authority by itself and renews identities; nothing here is needed for
    that. Keys are never printed.
    """
