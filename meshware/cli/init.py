"""`meshware init`: write a policy directory with a commented example."""

from __future__ import annotations

import json
import os
from importlib.resources import files
from pathlib import Path

import click

from meshware.cli.options import PLACE, format_option
from meshware.errors import SettingsError

__all__ = ["command", "write_example"]


def write_example(directory: Path) -> list[Path]:
    """Write the example policy, making the directory where it is absent.

    Nothing that exists is overwritten: if any of the files is there, none is written.

    Raises:
        SettingsError: a file of the example exists already, or one cannot be written.
    """
    template = files("meshware.cli").joinpath("template")
    texts = {
        directory / entry.name: entry.read_bytes()
        for entry in sorted(template.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }
    for path in texts:
        if os.path.lexists(path):
            raise SettingsError(f"{path} exists already: name another directory, or remove it")
    made: list[Path] = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            with path.open("xb") as file:
                made.append(path)
                file.write(text)
    except OSError as error:
        # Half an example would be in the way of the next try.
        for path in made:
            path.unlink(missing_ok=True)
        place = error.filename or (made[-1] if made else directory)
        reason = (error.strerror or str(error)).lower()
        if isinstance(error, FileExistsError) and not made:
            reason = "it is no directory"
        raise SettingsError(
            f"{place} cannot be written: {reason}; name another directory, or mend that"
        ) from error
    return list(texts)


@click.command("init", short_help="Write a policy directory with a commented example.")
@click.argument("directory", type=PLACE)
@format_option
def command(directory: Path, output: str) -> None:
    """Write a commented example policy into DIRECTORY, which passes `meshware check`.

    Files that exist are never overwritten.
    """
    written = write_example(directory)
    if output == "json":
        click.echo(json.dumps({"files": [str(path) for path in written]}))
        return
    for path in written:
        click.echo(f"wrote {path}")
    click.echo(
        f"\nnext:  meshware check {directory}\n"
        f"       meshware sync --source {directory} --run-dir run"
    )
