"""Standard streams that can be relied upon, whatever whoever started the command did to them."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["ReaderGoneError", "let_go_of_output", "line_writer", "prepare_streams"]


class ReaderGoneError(Exception):
    """Whoever read our output does so no more, as `head` after its tenth line.

    No OSError: of a broken pipe click makes an exit code of its own, which here means findings.
    """


def prepare_streams() -> None:
    """See to it that there are three streams, and that they take any text.

    One that was closed becomes /dev/null. Else the next file that is opened would bear its number,
    and take what is printed. Names of files may hold bytes that are no UTF-8: they are escaped.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free, which is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        given = getattr(sys, name)
        stream = io.TextIOWrapper(
            io.BufferedWriter(_Output(descriptor, "wb", closefd=False)),
            encoding=given.encoding if given else "utf-8",
            errors="backslashreplace",
            line_buffering=descriptor == 2 or os.isatty(descriptor),
        )
        setattr(sys, name, stream)


def let_go_of_output(descriptor: int = 1) -> None:
    """Send what may still wait for standard output, or another stream, nowhere.

    It would be tried once more as the interpreter ends, which then complains by itself.
    """
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, descriptor)
    os.close(devnull)


class _Output(io.FileIO):
    """A stream whose errors name it: `no space left on device` alone says little."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError as error:
            raise ReaderGoneError from error
        except OSError as error:
            error.filename = "standard output" if self.fileno() == 1 else "standard error"
            raise


def line_writer(
    descriptor: int, on_failure: Callable[[OSError], None] | None = None
) -> Callable[[str], None]:
    """Return a function that writes one line at once, for whoever follows it.

    Args:
        descriptor: where to.
        on_failure: told of the first failure; later ones are ignored. A daemon goes on when its
            log's disk is full, or the reader of its output has gone. None: failures are raised.
    """
    is_told = False

    def write(line: str) -> None:
        nonlocal is_told
        data = f"{line}\n".encode("utf-8", "backslashreplace")
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        except OSError as error:
            error.filename = "standard output" if descriptor == 1 else "standard error"
            if on_failure is None:
                if isinstance(error, BrokenPipeError):
                    raise ReaderGoneError from error
                raise
            if not is_told:
                is_told = True
                on_failure(error)

    return write
