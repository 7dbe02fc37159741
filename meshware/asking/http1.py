"""HTTP/1.1 to an authorizer, as bytes: what is sent, and how what comes back is read.

Theory of operation. A *flow* is a generator that does no I/O: it yields bytes to send, or None to
be sent whatever was received (`b""` at the end of the connection), and returns its result. Loops
over sockets, asyncio and trio drive the same flows (`meshware.asking.sockets`).

Whatever is not clearly one whole response raises `Garbage`; it never allows anything:

1. the head is one status line of HTTP/1 and fields, each a name and a value, ended by CRLF;
2. the body has one clear length, is chunked, or ends with the connection, and is whole;
3. head and body are within limits.

A refusal needs less: its status is enough, whatever becomes of the rest. `Reading.refusal` tells
it, with those of its headers that are sound and without its body.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Flow", "Garbage", "Reading", "Response", "Unsent", "is_refusal", "request_bytes"]

T = TypeVar("T")
Flow = Generator[bytes | None, bytes, T]

MOST_HEAD_BYTES = 64 * 1024
MOST_BODY_BYTES = 1024 * 1024
"""Of an answer: what is relayed to a caller lies in memory. Envoy's buffers hold as much."""

_MOST_INTERIM = 16

# RFC 9112, 4; RFC 9110, 5.1 and 5.5.
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?")
# Good enough to refuse by, and for nothing else.
_REFUSING_LINE = re.compile(rb"HTTP/[0-9.]{1,8}[ \t]+([0-9]{3})(?![0-9])", re.IGNORECASE)
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?")
_SENDABLE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e\x80-\xff]+")


class Garbage(Exception):
    """What came back is no whole response."""


class Unsent(Exception):
    """A request cannot be written as one: nothing was sent."""


@dataclass(slots=True)
class Response:
    """A whole response; names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    may_go_on: bool  # the connection is good for another request


def request_bytes(
    method: str, target: str, headers: tuple[tuple[str, str], ...], body: bytes
) -> bytes:
    """Return a request as it is sent.

    Args:
        method: of HTTP.
        target: path and query, percent-encoded.
        headers: Host and Content-Length among them.
        body: as long as they say.

    Raises:
        Unsent: a part of it would be more than it says, such as a line of its own.
    """
    if not _TARGET.fullmatch(target) or not all(
        _SENDABLE.fullmatch(text) for pair in headers for text in pair
    ):
        raise Unsent("the request holds what no request may")
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


# They describe a body, which a refusal that is not whole goes without.
_OF_BODIES = frozenset(
    {
        "content-digest",
        "content-encoding",
        "content-language",
        "content-length",
        "content-location",
        "content-md5",
        "content-range",
        "content-type",
        "digest",
        "etag",
        "repr-digest",
    }
)


def is_refusal(status: int) -> bool:
    """Say whether a status refuses: it is a last one, and neither 200 nor a failure (5xx).

    One that is none of HTTP, as 099, 101 where nobody asked to switch, or 999, refuses, too.
    """
    return not (100 <= status < 200 and status != 101) and status != 200 and status // 100 != 5


class Reading:
    """One response as it comes in.

    Args:
        method: of the request.
    """

    __slots__ = ("_begun", "_method")

    def __init__(self, method: str) -> None:
        self._method = method
        self._begun = b""  # from the status line that was read last

    def flow(self) -> Flow[Response]:
        """Read it.

        Raises:
            Garbage: there is no whole one.
        """
        kept, trouble = b"", None
        for _ in range(_MOST_INTERIM):
            head, kept = yield from self._head(kept)
            try:
                version, status, headers = _parsed(head)
            except Garbage as error:
                trouble, status = error, _status_of(head) or 0
            if not 100 <= status < 200 or status == 101:
                break
        else:
            raise Garbage("there is no end of interim responses")
        if trouble is not None:
            raise trouble
        if not 200 <= status < 600:
            raise Garbage("its status is none of an answer")
        is_open = version == b"1" and not _says(headers, "connection", "close")
        length = _length(headers)
        if self._method == "HEAD" or status in (204, 304):
            body, rest = b"", kept
        elif length == _CHUNKED:
            body, rest = yield from _chunks(kept)
        elif length is not None:
            if length > MOST_BODY_BYTES:
                raise Garbage("its body is too large")
            body, rest = yield from _exactly(kept, length)
        else:
            body, rest, is_open = (yield from _to_the_end(kept)), b"", False
        return Response(status, headers, body, is_open and not rest)

    def refusal(self) -> Response | None:
        """Return the refusal that has come, or begun to, as far as it is sound; None: none has.

        It has no body, and no header that describes one.
        """
        begun = self._begun.lstrip(b" \t\r\n")
        status = _status_of(begun)
        if status is None or not is_refusal(status):
            return None
        head, is_ended, _ = begun[: MOST_HEAD_BYTES + 4].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")[1:]
        if not is_ended and lines:
            lines.pop()  # it has not come to its end
        headers: list[tuple[str, str]] = []
        was_sound = False
        for line in lines:
            field = _FIELD.fullmatch(line)
            if line[:1] in (b" ", b"\t") and was_sound:
                headers.pop()  # it goes on here, which is no way to write one
            was_sound = field is not None
            if field is not None:
                headers.append(_pair(field))
        sound = tuple(pair for pair in headers if pair[0] not in _OF_BODIES)
        return Response(status, sound, b"", may_go_on=False)

    def _head(self, kept: bytes) -> Flow[tuple[bytes, bytes]]:
        while True:
            self._begun = kept
            head, is_ended, rest = kept.partition(b"\r\n\r\n")
            if len(head) > MOST_HEAD_BYTES:
                raise Garbage("its head is too large")
            first = head.find(b"\n")
            if first >= 0 and head[first - 1 : first] != b"\r" or b"\n\n" in head:
                raise Garbage("its lines do not end in CRLF")  # its end might never come
            if is_ended:
                return head, rest
            kept = yield from _more(kept)


def _status_of(head: bytes) -> int | None:
    found = _REFUSING_LINE.match(head)
    return None if found is None else int(found[1])


_CHUNKED = -1


def _parsed(head: bytes) -> tuple[bytes, int, tuple[tuple[str, str], ...]]:
    first, *lines = head.split(b"\r\n")
    status = _STATUS_LINE.fullmatch(first)
    if status is None:
        raise Garbage("it does not begin with a status line")
    headers = []
    for line in lines:
        field = _FIELD.fullmatch(line)
        if field is None:
            raise Garbage("its head has a line that is no header")
        headers.append(_pair(field))
    return status[1], int(status[2]), tuple(headers)


def _pair(field: re.Match[bytes]) -> tuple[str, str]:
    return field[1].decode("latin-1").lower(), field[2].decode("latin-1")


def _says(headers: tuple[tuple[str, str], ...], name: str, word: str) -> bool:
    return any(
        word in (part.strip(" \t").lower() for part in value.split(","))
        for key, value in headers
        if key == name
    )


def _length(headers: tuple[tuple[str, str], ...]) -> int | None:
    """Return how long a body is; `_CHUNKED`: it says so itself; None: to the end."""
    encodings = [value.lower() for name, value in headers if name == "transfer-encoding"]
    lengths = {
        part.strip(" \t")
        for name, value in headers
        if name == "content-length"
        for part in value.split(",")
    }
    if encodings:
        if encodings != ["chunked"] or lengths:
            raise Garbage("its transfer encoding is not clearly chunked")
        return _CHUNKED
    if not lengths:
        return None
    [only, *others] = lengths
    if others or not (only.isascii() and only.isdigit()) or len(only) > 18:
        raise Garbage("it has no clear content length")
    return int(only)


def _more(kept: bytes) -> Flow[bytes]:
    received = yield None
    if not received:
        raise Garbage(
            "the connection was closed within it" if kept else "the connection was closed"
        )
    return kept + received


def _until(kept: bytes, end: bytes, limit: int) -> Flow[tuple[bytes, bytes]]:
    while end not in kept:
        if len(kept) > limit:
            raise Garbage("its head is too large")
        kept = yield from _more(kept)
    found, _, rest = kept.partition(end)
    if len(found) > limit:
        raise Garbage("its head is too large")
    return found, rest


def _exactly(kept: bytes, count: int) -> Flow[tuple[bytes, bytes]]:
    parts, have = [kept], len(kept)
    while have < count:
        received = yield None
        if not received:
            raise Garbage("the connection was closed within its body")
        parts.append(received)
        have += len(received)
    whole = b"".join(parts)
    return whole[:count], whole[count:]


def _to_the_end(kept: bytes) -> Flow[bytes]:
    parts, have = [kept], len(kept)
    while received := (yield None):
        parts.append(received)
        have += len(received)
        if have > MOST_BODY_BYTES:
            raise Garbage("its body is too large")
    return b"".join(parts)


def _chunks(kept: bytes) -> Flow[tuple[bytes, bytes]]:
    parts: list[bytes] = []
    have = 0
    while True:
        line, kept = yield from _until(kept, b"\r\n", 256)
        size = _CHUNK_SIZE.fullmatch(line)
        if size is None:
            raise Garbage("it has a chunk without a clear size")
        count = int(size[1], 16)
        if count == 0:
            break
        have += count
        if have > MOST_BODY_BYTES:
            raise Garbage("its body is too large")
        data, kept = yield from _exactly(kept, count + 2)
        if not data.endswith(b"\r\n"):
            raise Garbage("it has a chunk that goes on behind its end")
        parts.append(data[:-2])
    while True:  # trailers say nothing that counts here
        line, kept = yield from _until(kept, b"\r\n", MOST_HEAD_BYTES)
        if not line:
            return b"".join(parts), kept
        if not _FIELD.fullmatch(line):
            raise Garbage("it has a line behind its body that is no trailer")
