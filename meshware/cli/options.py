"""Options and arguments that several commands take."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

__all__ = ["PLACE", "format_option"]

format_option = click.option(
    "--format",
    "output",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="For people, or for programs.",
)
"""`--format text|json`, handed to the command as `output`."""


class _Place(click.Path):
    """A path, which need not be there or be readable: who opens it says that better."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        # A shell variable that is not set; it would mean the working directory.
        if not os.fspath(value):
            self.fail("it is empty; name a file or directory", param, ctx)
        return super().convert(value, param, ctx)


PLACE = _Place()
"""The type of every path on the command line; handed over as a `Path`."""
