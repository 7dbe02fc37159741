"""`meshware demo`: a shop through the mesh, with its policy edited live."""

from __future__ import annotations

import importlib.util

import click

from meshware.cli.options import format_option
from meshware.errors import SettingsError

__all__ = ["command"]

_NEEDED = ("flask", "fastapi", "gunicorn", "uvicorn", "httpx", "requests", "watchfiles")


@click.command("demo", short_help="Run a shop through the mesh and edit its policy live.")
@click.option(
    "--keep",
    is_flag=True,
    help="Leave the shop and its dashboard running, with traffic, and say what to try.",
)
@format_option
def command(keep: bool, output: str) -> int:
    """Run a bookshop on this machine and edit its policy while requests go through it.

    A Flask page on gunicorn calls FastAPI services on uvicorn; `meshware sync` publishes policy.
    After each edit a table shows what was expected and what was seen. Exit code 0: all as expected.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(f'the demo needs {", ".join(missing)}: pip install "meshware[demo]"')
    from meshware.demo.report import json_report, text_report
    from meshware.demo.run import run_demo

    report = json_report() if output == "json" else text_report()
    return 0 if run_demo(report, keep=keep) else 1
