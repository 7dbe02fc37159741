"""`meshware check`: tell everything that is wrong with policy, at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from meshware.cli.named_files import unseen_files
from meshware.cli.options import PLACE, format_option
from meshware.errors import SettingsError
from meshware.policy.codes import UNREADABLE
from meshware.policy.load import load
from meshware.policy.problems import Problem, Severity

__all__ = ["as_json", "as_text", "command", "refuse_unreadable"]

_FIELDS = (
    "severity",
    "code",
    "kind",
    "namespace",
    "name",
    "field",
    "file",
    "line",
    "message",
)


@click.command("check", short_help="Find everything that is wrong with policy.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=PLACE)
@click.option("--strict", is_flag=True, help="Exit with 1 on a warning too.")
@click.option(
    "--app",
    metavar="MODULE:APP",
    help="Compare with the endpoints of this app: FastAPI, Starlette, Flask or Django.",
)
@click.option(
    "--workload",
    envvar="MESH_WORKLOAD",
    metavar="NAMESPACE/NAME",
    help="With --app: the workload that the app is.  [default: $MESH_WORKLOAD]",
)
@format_option
def command(
    *, paths: tuple[Path, ...], strict: bool, app: str | None, workload: str | None, output: str
) -> int:
    """Read policy files and directories, and tell everything that is wrong with them.

    All PATHs together are one policy. With --app, tell also which endpoints of an app no rule
    covers, and which rules are for none of its endpoints.

    Exit code 0: fine; 1: there is an error (with --strict, an error or a warning); 2: a PATH cannot
    be read, or the app cannot be imported.
    """
    loaded = load(paths)
    refuse_unreadable(loaded.problems)
    loaded = loaded.with_more(unseen_files(loaded.resources))
    if app is not None:
        from meshware.cli.app_endpoints import endpoint_lines, look_at_app

        coverage = look_at_app(app, workload, loaded.resources)
        loaded = loaded.with_more(coverage.problems)
        if output == "text":
            for line in [*endpoint_lines(coverage), ""]:
                click.echo(_printable(line))
    if output == "json":
        click.echo(json.dumps(as_json(loaded.problems), indent=2))
    else:
        for line in as_text(loaded.problems, len(loaded.resources)):
            click.echo(line)
    bad = {Severity.ERROR, Severity.WARNING} if strict else {Severity.ERROR}
    return 1 if any(problem.severity in bad for problem in loaded.problems) else 0


def as_json(problems: Iterable[Problem]) -> list[dict[str, str | int | None]]:
    """Return problems as `--format json` prints them."""
    return [{field: getattr(problem, field) for field in _FIELDS} for problem in problems]


def as_text(problems: Sequence[Problem], resources: int) -> list[str]:
    """Return a line for each problem and a last one that counts them.

    Characters that a terminal would act upon are written as escapes: policy is others' text.

    Args:
        problems: in the order to print them.
        resources: how many resources could be read.
    """
    return [*(_printable(str(problem)) for problem in problems), _summary(problems, resources)]


def _summary(problems: Iterable[Problem], resources: int) -> str:
    severities = [problem.severity for problem in problems]
    counts = [
        _count(severities.count(severity), word)
        for severity, word in (
            (Severity.ERROR, "error"),
            (Severity.WARNING, "warning"),
            (Severity.INFO, "remark"),
        )
        if severity in severities
    ]
    return f"{_count(resources, 'resource')} read: {', '.join(counts) or 'no problems found'}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


def refuse_unreadable(problems: Sequence[Problem]) -> None:
    """Say that a path cannot be read, which is a mistake on the command line, not in policy.

    Raises:
        SettingsError: there is such a path.
    """
    found = [problem for problem in problems if problem.code == UNREADABLE]
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise SettingsError(_printable(f"{found[0].file}: {found[0].message}{more}"))
