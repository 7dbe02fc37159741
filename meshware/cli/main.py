"""Start the `meshware` command: find the subcommand, and say errors in one sentence.

Each subcommand lives in `meshware/cli/<name>.py` as a click command named `command`, and is
imported when it is called for, so that `meshware --help` loads nothing heavy. A command tells its
findings by returning an exit code (None is 0): 0 fine, 1 findings or denied, 2 usage.

Every error that a user can make ends here: `MeshError`, `OSError` and click's own become one
sentence on standard error and exit code 2. Anything else is our mistake and keeps its traceback.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import click

from meshware.cli.streams import ReaderGoneError, let_go_of_output, prepare_streams
from meshware.errors import MeshError

__all__ = ["COMMANDS", "main", "run"]

COMMANDS = {
    "init": "Write a policy directory with a commented example.",
    "check": "Find everything that is wrong with policy.",
    "sync": "Run the daemon: check, publish and watch policy.",
    "run": "Run a program in the mesh, unchanged.",
    "dashboard": "Open the dashboard of a running daemon.",
    "top": "Watch who calls whom, how often and how fast.",
    "status": "Tell which policy the daemon published and the workers follow.",
    "cert": "Look after authorities and identities.",
    "probe": "Ask a workload whether it is well, in its own name.",
    "explain": "Tell what policy decides about a call, and why.",
    "export": "Write policy as the configuration of an Envoy.",
    "demo": "Run a shop through the mesh and edit its policy live.",
}
"""The subcommands in the order of `--help`, each with its line there."""

USAGE = 2
INTERRUPTED = 130  # 128 + SIGINT, as a shell reports it
BROKEN_PIPE = 141  # 128 + SIGPIPE

# Packages that an import may miss, and the extra that brings them.
_EXTRAS = {
    "fastapi": "demo",
    "flask": "demo",
    "gunicorn": "demo",
    "httpx": "httpx",
    "httpx2": "sync",
    "prometheus_client": "sync",
    "requests": "requests",
    "rich": "sync",
    "starlette": "sync",
    "uvicorn": "sync",
    "watchfiles": "sync",
}


class _Commands(click.Group):
    """The subcommands of `COMMANDS`, imported when called for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"meshware.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _print_version(ctx: click.Context, _option: click.Parameter, asked: bool) -> None:
    if not asked or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("meshware")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"meshware {number}")
    ctx.exit()


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and end.",
)
def root() -> None:
    """The service mesh without the proxy, for Python.

    Policy is a directory of Istio's YAML. Apps read it through MESH_CONFIG and say who they are by
    MESH_WORKLOAD.
    """


def main() -> NoReturn:
    """Run the command line of this process, and end with its exit code."""
    prepare_streams()
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line. Returns its exit code; errors of the user go to standard error."""
    try:
        answer = root.main(args=list(arguments), prog_name="meshware", standalone_mode=False)
        sys.stdout.flush()
        return answer if isinstance(answer, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        _complain(error.format_message())
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "meshware"
        _say(path, f"{_sentence(error.format_message())} (see {path} --help)")
    except click.ClickException as error:
        _say("meshware", _sentence(error.format_message()))
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except MeshError as error:
        _say("meshware", str(error))
    except ReaderGoneError:
        let_go_of_output()
        return BROKEN_PIPE
    except OSError as error:
        if error.filename == "standard output":
            let_go_of_output()
        _say("meshware", _describe(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").split(".")[0])
        if extra is None:
            raise
        _say("meshware", f'{error.name} is not installed: pip install "meshware[{extra}]"')
    return USAGE


def _say(who: str, sentence: str) -> None:
    _complain(f"{who}: {sentence}")


def _complain(text: str) -> None:
    try:
        click.echo(text, err=True)
    except (OSError, ReaderGoneError):
        let_go_of_output(2)  # nobody can be told; the exit code says enough


def _sentence(message: str) -> str:
    """Return click's message in our form: no capital, no full stop, one line."""
    text = " ".join(message.split()).rstrip(".")
    return text[:1].lower() + text[1:]


def _describe(error: OSError) -> str:
    """Return what went wrong and with what: `mesh/x.yaml: permission denied`."""
    reason = (error.strerror or str(error)).lower()
    return f"{error.filename}: {reason}" if error.filename else reason
