"""What the demo shows: each step's edit, and its table of expected against observed."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

__all__ = ["Report", "Row", "StepReport", "json_report", "text_report"]


@dataclass(frozen=True, slots=True)
class Row:
    """One expectation and what came of it."""

    what: str
    expected: str
    observed: str
    ok: bool


@dataclass(slots=True)
class StepReport:
    """One step of the demo."""

    title: str
    edits: list[tuple[str, str, str]] = field(default_factory=list)  # file, text before, text after
    rows: list[Row] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return all(row.ok for row in self.rows)


class Report(Protocol):
    """Where the demo tells what it does."""

    def say(self, text: str) -> None:
        """Tell something in passing."""
        ...

    def edit(self, step: StepReport) -> None:
        """Show what the step has just changed: its title and the last edit."""
        ...

    def table(self, step: StepReport) -> None:
        """Show the step's table."""
        ...

    def end(self, steps: Sequence[StepReport], took_s: float) -> None:
        """Say how it went as a whole."""
        ...


def changed_lines(before: str, after: str, limit: int = 10) -> list[str]:
    """Return the lines that an edit took away (`- `) and brought (`+ `), at most `limit`."""
    lines = [
        line
        for line in difflib.ndiff(before.splitlines(), after.splitlines())
        if line.startswith(("- ", "+ "))
    ]
    if len(lines) > limit:
        lines = [*lines[: limit - 1], f"  ... and {len(lines) - limit + 1} lines more"]
    return lines


def verdict(steps: Sequence[StepReport], took_s: float) -> str:
    """Return the last sentence of the demo."""
    wrong = [step.title for step in steps if not step.ok]
    if wrong:
        return f"not as expected after {took_s:.0f} s: {'; '.join(wrong)}"
    return f"all {len(steps)} steps as expected, in {took_s:.0f} s"


class _Plain:
    """Text without colour."""

    def say(self, text: str) -> None:
        print(text, flush=True)

    def edit(self, step: StepReport) -> None:
        if len(step.edits) <= 1:
            print(f"\n{step.title}")
        if step.edits:
            name, before, after = step.edits[-1]
            print(f"  edit {name}")
            for line in changed_lines(before, after):
                print(f"    {line}")
        sys.stdout.flush()

    def table(self, step: StepReport) -> None:
        head = Row("", "expected", "observed", True)
        width = max(len(row.what) for row in step.rows)
        middle = max(len(row.expected) for row in [head, *step.rows])
        for row in [head, *step.rows]:
            mark = "" if row is head else ("ok" if row.ok else "NOT AS EXPECTED")
            cells = f"{row.what:<{width}}  {row.expected:<{middle}}  {row.observed:<12} {mark}"
            print(f"  {cells.rstrip()}")
        sys.stdout.flush()

    def end(self, steps: Sequence[StepReport], took_s: float) -> None:
        print(f"\n{verdict(steps, took_s)}", flush=True)


class _Rich:
    """Text with colour and drawn tables, by rich."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console = Console(highlight=False)

    def say(self, text: str) -> None:
        self._console.print(text, style="dim", markup=False)

    def edit(self, step: StepReport) -> None:
        if len(step.edits) <= 1:
            self._console.print(f"\n{step.title}", style="bold", markup=False)
        if step.edits:
            name, before, after = step.edits[-1]
            self._console.print(f"  edit {name}", style="dim", markup=False)
            for line in changed_lines(before, after):
                style = {"-": "red", "+": "green"}.get(line[0], "dim")
                self._console.print(f"    {line}", style=style, markup=False)

    def table(self, step: StepReport) -> None:
        from rich.box import ROUNDED
        from rich.padding import Padding
        from rich.table import Table

        table = Table(box=ROUNDED, border_style="dim", header_style="dim")
        table.add_column("")
        table.add_column("expected")
        table.add_column("observed")
        table.add_column("")
        for row in step.rows:
            mark = "[green]✔[/]" if row.ok else "[bold red]✘[/]"
            table.add_row(row.what, row.expected, row.observed, mark)
        self._console.print(Padding(table, (0, 0, 0, 2)))

    def end(self, steps: Sequence[StepReport], took_s: float) -> None:
        style = "bold green" if all(step.ok for step in steps) else "bold red"
        self._console.print(f"\n{verdict(steps, took_s)}", style=style, markup=False)


class _Json:
    """One JSON object at the end; what is said in passing goes to standard error."""

    def say(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    def edit(self, step: StepReport) -> None:
        pass  # all of it is in the object at the end

    def table(self, step: StepReport) -> None:
        pass

    def end(self, steps: Sequence[StepReport], took_s: float) -> None:
        described: list[dict[str, Any]] = [
            {
                "title": step.title,
                "ok": step.ok,
                "edits": [name for name, _, _ in step.edits],
                "rows": [asdict(row) for row in step.rows],
            }
            for step in steps
        ]
        ok = all(step.ok for step in steps)
        print(json.dumps({"ok": ok, "took_s": round(took_s, 1), "steps": described}), flush=True)


def text_report() -> Report:
    """Return the report for people: by rich where it is installed and a terminal is there."""
    if sys.stdout.isatty():
        try:
            return _Rich()
        except ModuleNotFoundError:
            pass  # the plain one says the same
    return _Plain()


def json_report() -> Report:
    """Return the report for programs."""
    return _Json()
