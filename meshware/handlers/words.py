"""What went wrong in code of an app's, in one line: the error, its text, its place."""

from __future__ import annotations

import os
import traceback

__all__ = ["in_words"]

_LONGEST = 300
_OTHERS = (f"{os.sep}site-packages{os.sep}", f"{os.sep}lib{os.sep}python")
_IMPORTS = "<frozen"  # of importlib, whose frames have no file


def in_words(error: BaseException, near: str | None = None) -> str:
    """Return `KeyError: 'x', in shop/api.py:7`.

    Args:
        error: what was raised.
        near: a directory, against which the file's path is told; None: the whole path.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    text = "".join(char if char.isprintable() else "?" for char in text)  # callers may be quoted
    place = _place_of(error)
    if place is None:
        return text
    file, line = place
    inside = near is not None and file.startswith(os.path.join(near, ""))
    return f"{text}, in {os.path.relpath(file, near) if inside else file}:{line}"


def _place_of(error: BaseException) -> tuple[str, int | None] | None:
    """Return the last file and line on the way to an error that are not a library's, else the last.

    Of a mistake in the writing of a file that is the file itself.
    """
    if isinstance(error, SyntaxError) and error.filename:
        return error.filename, error.lineno
    ours = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if not frame.f_code.co_filename.startswith((_IMPORTS, ours))
    ]
    own = [place for place in frames if not any(part in place[0] for part in _OTHERS)]
    found = own or frames
    return found[-1] if found else None
