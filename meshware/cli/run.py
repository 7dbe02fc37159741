"""`meshware run -- CMD`: start a program in the mesh, without a change to it."""

from __future__ import annotations

import os
from pathlib import Path

import click

from meshware.cli.options import PLACE, format_option

__all__ = ["command"]


@click.command(
    "run",
    short_help="Run a program in the mesh, unchanged.",
    context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False},
)
@click.option(
    "--config",
    type=PLACE,
    help="The policy file, or a YAML file or directory.  [env: MESH_CONFIG]",
)
@click.option(
    "--workload",
    metavar="NAMESPACE/NAME",
    help="The workload that the program is.  [env: MESH_WORKLOAD]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="Where it is reached, if not where its server listens.  [env: MESH_PORT]",
)
@format_option
@click.argument("arguments", metavar="-- CMD [ARGUMENT]...", nargs=-1, required=True)
def command(
    *,
    config: Path | None,
    workload: str | None,
    port: int | None,
    output: str,
    arguments: tuple[str, ...],
) -> None:
    """Run CMD so that the mesh decides every call to it, in each of its processes.

    The command takes the place of this one: output, signals and exit code are its own (--format
    changes nothing). Flask, Starlette and FastAPI apps are protected on any server, all other
    WSGI and ASGI apps on uvicorn, hypercorn, gunicorn and werkzeug's development server.

    Exit code 2: it was not started, or it cannot be brought into the mesh.
    """
    from meshware.run.launch import execute, find_program, prepared, refuse_deaf
    from meshware.runtime.settings import Settings

    given = {
        "MESH_CONFIG": None if config is None else os.fspath(config),
        "MESH_WORKLOAD": workload,
        "MESH_PORT": None if port is None else str(port),
    }
    environ = {**os.environ, **{name: value for name, value in given.items() if value is not None}}
    _look_at(Settings.from_env(environ).config)
    program = find_program(arguments[0], environ)
    refuse_deaf(program, arguments[1:])
    execute(program, arguments, prepared(environ, os.getpid()))


def _look_at(config: Path) -> None:
    """Say at once what the workers could only say later, each in its log.

    Policy that is not there yet is no mistake: the daemon may be starting, too.
    """
    try:
        if config.is_dir():
            os.scandir(config).close()
        else:
            config.open("rb").close()
    except FileNotFoundError:
        click.echo(
            f"meshware run: {config} is not there yet; every call is answered 503 until it is",
            err=True,
        )
