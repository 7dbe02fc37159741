"""Start a command so that every Python process below it is in the mesh.

The command takes this process's place: its process id, signals and exit code are its own. What
reaches it and its children is the environment: MESHWARE_RUN, and the directory `inject` first in
PYTHONPATH. An interpreter that would not look at that (`-I`, `-E`, `-S`) is refused beforehand
where the command line or the script's first line tells it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from meshware.errors import SettingsError

__all__ = ["INJECT", "execute", "find_program", "is_python", "prepared", "refuse_deaf"]

INJECT = Path(__file__).resolve().parent / "inject"

_PYTHON = re.compile(r"(python|pypy)[0-9.]*t?")
_DEAF = {
    "I": "is isolated from PYTHONPATH",
    "E": "ignores PYTHONPATH",
    "S": "does not load sitecustomize",
}
_MOST_OF_A_LINE = 512  # of a script's first; Linux itself reads 256 bytes


def prepared(environ: Mapping[str, str], pid: int) -> dict[str, str]:
    """Return the environment for a command.

    Args:
        environ: the user's; a PYTHONPATH in it is kept, behind ours.
        pid: of the command.
    """
    ours = str(INJECT)
    kept = [entry for entry in environ.get("PYTHONPATH", "").split(os.pathsep) if entry != ours]
    paths = [ours, *kept] if any(kept) else [ours]
    return {**environ, "MESHWARE_RUN": str(pid), "PYTHONPATH": os.pathsep.join(paths)}


def find_program(name: str, environ: Mapping[str, str]) -> Path:
    """Return the program that a command names, as `exec` will find it.

    Raises:
        SettingsError: there is none, or it cannot be executed.
    """
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    if found is not None:
        return Path(found)
    if "/" in name and Path(name).exists():
        raise SettingsError(f"{name} cannot be executed; is it a program, and may you run it?")
    where = "there is no such file" if "/" in name else "no directory in PATH has it"
    raise SettingsError(f"command {name!r} was not found: {where}")


def refuse_deaf(program: Path, arguments: Sequence[str]) -> None:
    """Refuse an interpreter that is told not to look at the environment.

    Args:
        program: the command's.
        arguments: what follows it.

    Raises:
        SettingsError: nothing would bring the mesh in.
    """
    if is_python(program.name):
        flag = _deaf_flag(arguments)
        where = f"{program.name} -{flag}"
    else:
        words = _shebang(program)
        at = next((i for i, word in enumerate(words) if is_python(Path(word).name)), None)
        flag = None if at is None else _deaf_flag(words[at + 1 :])
        where = f"{program} (by its first line, with -{flag})"
    if flag is not None:
        raise SettingsError(
            f"{where} {_DEAF[flag]}, so nothing can bring the mesh in; run it without -{flag}, or "
            "add MeshMiddleware in the app and run it without `meshware run`"
        )


def is_python(name: str) -> bool:
    """Say whether a program's name is that of a Python interpreter."""
    return _PYTHON.fullmatch(name) is not None


def execute(program: Path, command: Sequence[str], environ: Mapping[str, str]) -> NoReturn:
    """Become the command. Signals and standard streams are its own from here.

    Raises:
        OSError: it cannot be started after all; it names the program.
    """
    try:
        os.execve(program, list(command), dict(environ))
    except OSError as error:
        error.filename = str(program)
        raise


def _deaf_flag(arguments: Sequence[str]) -> str | None:
    """Return the option among an interpreter's own that shuts us out."""
    rest = iter(arguments)
    for word in rest:
        if not word.startswith("-") or word in ("-", "--") or word.startswith("--"):
            return None  # the script, or a long option that ends the short ones
        for at, letter in enumerate(word[1:], 2):
            if letter in _DEAF:
                return letter
            if letter in "cm":
                return None  # all that follows is the program's
            if letter in "WX":
                if at == len(word):
                    next(rest, None)  # its value is the next word
                break
    return None


def _shebang(program: Path) -> list[str]:
    """Return the words of a script's first line behind `#!`; none for what is no script."""
    try:
        with program.open("rb") as file:
            line = file.read(_MOST_OF_A_LINE).split(b"\n")[0]
    except OSError:
        return []
    return line[2:].decode(errors="replace").split() if line.startswith(b"#!") else []
