"""What a response must look like line by line, for http.client, which takes far more for one.

http.client takes a head that was cut off for a whole one, a bare carriage return for the end of a
line, `0x5` or `-1` for the size of a chunk, and any two bytes for its end. h11, below httpx, takes
none of these. Here are the files that http.client and urllib3 read a response from, which refuse
them likewise: a broken answer is never another one, whichever client is used.

What is refused is raised as `http.client.HTTPException`, which urllib3 makes its own errors of.
"""

from __future__ import annotations

import re
from http.client import HTTPException, IncompleteRead
from typing import Any

__all__ = ["ChunkLines", "HeadLines"]

# RFC 9112, 4 and RFC 9110, 5.1; as lenient as h11 with a missing reason.
_STATUS_LINE = re.compile(rb"HTTP/[0-9]\.[0-9] [0-9]{3}(?: .*)?")
_FIELD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:.*")
_CONTROL = re.compile(rb"[\0\r\n\f\v]")

# RFC 9112, 7.1; h11's limit on digits, and its leniency with blanks at the end.
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,20})(?:;.*)?[ \t]*\r\n", re.DOTALL)


class _Lines:
    """A file that a response is read from; whatever is not overridden is the file's own."""

    def __init__(self, file: Any) -> None:
        self.file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def _line(self, limit: int) -> bytes:
        """Read a line; one without an end is only returned when it is too long."""
        line: bytes = self.file.readline(limit)
        if not line.endswith(b"\n") and not 0 <= limit <= len(line):
            raise IncompleteRead(line)
        return line


class HeadLines(_Lines):
    """Reads heads: lines of status, each followed by its header fields and an empty line."""

    _has_begun = False
    _has_status = False
    _has_field = False

    def readline(self, limit: int = -1) -> bytes:
        """Read a line.

        Raises:
            HTTPException: it cannot stand here, or the connection was closed within it.
        """
        if not self._has_begun:
            first: bytes = self.file.peek(1)
            if not first:
                return b""  # closed before any answer, which http.client tells apart
            self._has_begun = True
        line = self._line(limit)
        text = line.removesuffix(b"\n").removesuffix(b"\r")
        if _CONTROL.search(text):
            raise HTTPException("the response head has a control character")
        if not self._has_status:
            if not _STATUS_LINE.fullmatch(text):
                raise HTTPException("the response does not begin with a status line")
            self._has_status = True
        elif not text:  # of an informational head: another follows
            self._has_status = self._has_field = False
        elif text.startswith((b" ", b"\t")) and self._has_field:
            pass  # continues the field before, in the obsolete way
        elif _FIELD.fullmatch(text):
            self._has_field = True
        else:
            raise HTTPException("the response head has a line that is no header")
        return line


class ChunkLines(_Lines):
    """Reads the chunks of a body: sizes by the line, data and its end by the byte, trailers."""

    _left_bytes = 0  # of the data of this chunk
    _is_last = False

    def readline(self, limit: int = -1) -> bytes:
        """Read the size of a chunk, or behind the last one a trailer.

        Raises:
            HTTPException: it is none, or the connection was closed within it.
        """
        line = self._line(limit)
        if self._is_last:
            text = line.removesuffix(b"\n").removesuffix(b"\r")
            if not text:
                return b"\r\n"
            if _CONTROL.search(text) or not _FIELD.fullmatch(text):
                raise HTTPException("the response has a line behind its body that is no trailer")
            return line
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise HTTPException("the response has a chunk without a clear size")
        self._left_bytes = int(size[1], 16)
        self._is_last = self._left_bytes == 0
        return line

    def read(self, size: int = -1) -> bytes:
        """Read data of a chunk, or the two bytes behind it.

        Raises:
            HTTPException: those are not the end of a chunk.
        """
        return self._checked(self.file.read(size))

    def read1(self, size: int = -1) -> bytes:
        """Read what is there of a chunk's data."""
        return self._checked(self.file.read1(size))

    def readinto(self, buffer: Any) -> int:
        """Read data of a chunk into a buffer."""
        count: int = self.file.readinto(buffer)
        self._left_bytes -= count
        return count

    def _checked(self, data: bytes) -> bytes:
        if self._left_bytes:
            self._left_bytes -= len(data)
        elif not b"\r\n".startswith(data):
            raise HTTPException("the response has a chunk that goes on behind its end")
        return data
