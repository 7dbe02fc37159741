"""Count the bytes of bodies as they go by, for telemetry.

What a request declares is its caller's word: it may end early, or never be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from meshware.inbound.passage import Admission
from meshware.wsgi.head import Environ

__all__ = ["count_received", "counting_writer"]

_INPUT = "wsgi.input"


def count_received(environ: Environ, admission: Admission) -> None:
    """Have what the app reads of its request counted, where there may be any."""
    length = environ.get("CONTENT_LENGTH")
    if (length and length.strip("0")) or "HTTP_TRANSFER_ENCODING" in environ:
        environ[_INPUT] = _Counted(environ[_INPUT], admission)


def counting_writer(
    write: Callable[[bytes], object], admission: Admission
) -> Callable[[bytes], object]:
    """Return PEP 3333's `write`, which old apps send their body with, with its bytes counted."""

    def count(data: bytes) -> object:
        admission.sent_bytes += len(data)
        return write(data)

    return count


class _Counted:
    """The server's own input; everything that PEP 3333 does not name is the server's, too."""

    __slots__ = ("_admission", "_input")

    def __init__(self, source: Any, admission: Admission) -> None:
        self._input = source
        self._admission = admission

    def read(self, *size: Any) -> bytes:
        """Read so many bytes; all of them where no number is given."""
        return self._note(self._input.read(*size))

    def readline(self, *size: Any) -> bytes:
        """Read to the end of a line, or so many bytes of it."""
        return self._note(self._input.readline(*size))

    def readlines(self, *hint: Any) -> list[bytes]:
        """Read lines, until they come to so many bytes."""
        lines: list[bytes] = self._input.readlines(*hint)
        self._admission.received_bytes += sum(map(len, lines))
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""
        return map(self._note, iter(self._input))

    def __next__(self) -> bytes:
        """Read a line, as of inputs that are files."""
        return self._note(next(self._input))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._input, name)

    def _note(self, data: bytes) -> bytes:
        self._admission.received_bytes += len(data)
        return data
