"""Find the policy files of a directory, each of them once."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["SUFFIXES", "policy_files"]

SUFFIXES = (".yaml", ".yml", ".json")


def policy_files(path: Path) -> list[Path]:
    """Return the policy files of a directory and those below it, sorted; or the file itself.

    Hidden entries are left out, which is also what makes a ConfigMap's files be read once: they
    are links into a hidden directory. Where links lead to one file or directory twice, or back to
    a directory around them, only the first way counts.

    Raises:
        OSError: the path or a directory below it cannot be read.
    """
    if not path.is_dir():
        path.stat()
        return [path]
    files: list[Path] = []
    _collect(path, set(), files)
    return files


def _collect(directory: Path, seen: set[str], files: list[Path]) -> None:
    for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        is_directory = entry.is_dir()
        if not (is_directory or entry.name.endswith(SUFFIXES)):
            continue
        real = os.path.realpath(path)
        if real in seen:
            continue
        seen.add(real)
        if is_directory:
            _collect(path, seen, files)
        else:
            files.append(path)
