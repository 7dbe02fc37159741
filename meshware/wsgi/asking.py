"""Ask authorizers for a WSGI call, and hand the app what was read of its body meanwhile.

As much of the body is read as the authorizer may be shown, and no more, for as long as a caller may
take to send it where the server lets that be limited (`meshware.wsgi.read_time`). That a caller has
gone away meanwhile no WSGI server tells.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from meshware.asking.ask import ask
from meshware.call import Flag
from meshware.inbound.asking import MOST_READ_S, Outcome, TooLarge, TooSlow, Unreadable
from meshware.inbound.passage import Admission, Ask, Denial
from meshware.policy.authorizers import BodyRule
from meshware.runtime.mesh import Mesh
from meshware.wsgi import read_time
from meshware.wsgi.head import Environ

__all__ = ["settle"]

_INPUT = "wsgi.input"
_BLOCK_BYTES = 64 * 1024


def settle(mesh: Mesh, asked: Ask, environ: Environ) -> Admission | Denial:
    """Ask until everything is decided; the app's `wsgi.input` begins where the caller's body does.

    Args:
        mesh: of the process.
        asked: the first question.
        environ: the server's.
    """
    passage: Admission | Denial | Ask = asked
    body = _Body(environ)
    try:
        while isinstance(passage, Ask):
            passage = passage.answered(_outcome(mesh, passage, body))
    except BaseException:
        passage.finish(0, Flag.DOWNSTREAM_CLOSED)  # the worker is ending
        raise
    body.put_back()
    return passage


def _outcome(mesh: Mesh, asked: Ask, body: _Body) -> Outcome:
    rule, shown = asked.authorizer.body, None
    if rule is not None:
        try:
            if not body.read(rule):
                return TooSlow()
        except Exception:
            # Cut off, or not what its length or encoding says; the server answers as we say.
            return Unreadable()
        if len(body.content) > rule.most_bytes and not rule.may_be_partial:
            return TooLarge()
        shown = bytes(body.content[: rule.most_bytes])
    is_whole = body.is_whole and (shown is None or len(shown) == len(body.content))
    return ask(mesh, asked, shown, is_whole=is_whole)


class _Body:
    """The body of one call, as far as it has been read."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._left = _length(environ)  # None: to the end of the input
        self.content = bytearray()
        self.is_whole = self._left == 0

    def read(self, rule: BodyRule) -> bool:
        """Read one byte more than may be shown, or all of it; False: the caller took too long."""
        if self.is_whole or len(self.content) > rule.most_bytes:
            return True
        sock = read_time.socket_of(self._environ)
        if sock is None:
            self._read(rule)
            return True
        reading = read_time.begin(sock, MOST_READ_S)
        try:
            self._read(rule)
        except Exception:
            if reading.end():
                return False
            raise
        finally:
            reading.end()
        return not reading.was_cut

    def _read(self, rule: BodyRule) -> None:
        stream = self._environ[_INPUT]
        while not self.is_whole and len(self.content) <= rule.most_bytes:
            size = min(rule.most_bytes + 1 - len(self.content), _BLOCK_BYTES)
            if self._left is not None:
                size = min(size, self._left)
            data = stream.read(size)
            if not data:
                if self._left:
                    raise EOFError("the body ends early")
                self.is_whole = True
                return
            self.content += data
            if self._left is not None:
                self._left -= len(data)
                self.is_whole = self._left == 0

    def put_back(self) -> None:
        """Have the app read it all from its beginning."""
        if not self.content:
            return
        if self.is_whole:
            self._environ[_INPUT] = io.BytesIO(bytes(self.content))
        else:
            self._environ[_INPUT] = _Again(bytes(self.content), self._environ[_INPUT])


def _length(environ: Environ) -> int | None:
    """Return how long a body is; None: its input ends where it does. 0 where nobody says."""
    written = environ.get("CONTENT_LENGTH", "")
    if written.isascii() and written.isdigit():
        return int(written)
    return None if environ.get("wsgi.input_terminated") else 0


class _Again:
    """What was read, and behind it the server's own input. It never reads more than it is asked."""

    def __init__(self, content: bytes, rest: Any) -> None:
        self._read = io.BytesIO(content)
        self._left = len(content)
        self._rest = rest

    def read(self, size: int | None = -1) -> bytes:
        """Read so many bytes; all of them where the number is negative."""
        first = self._read.read(size)
        self._left -= len(first)
        if size is None or size < 0:
            everything: bytes = self._rest.read()
            return first + everything
        if self._left or len(first) == size:
            return first
        more: bytes = self._rest.read(size - len(first))
        return first + more

    def readline(self, size: int | None = -1) -> bytes:
        """Read to the end of a line, or so many bytes of it."""
        first = self._read.readline(size)
        self._left -= len(first)
        if first.endswith(b"\n") or self._left or len(first) == size:
            return first
        more: bytes = (
            self._rest.readline()
            if size is None or size < 0
            else self._rest.readline(size - len(first))
        )
        return first + more

    def readlines(self, hint: int = -1) -> list[bytes]:
        """Read lines, until they come to so many bytes."""
        lines: list[bytes] = []
        count = 0
        for line in self:
            lines.append(line)
            count += len(line)
            if 0 < (hint or 0) <= count:
                break
        return lines

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""
        return iter(self.readline, b"")
