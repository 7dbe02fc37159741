"""Call ASGI and WSGI apps as a server does, and tell what the caller would have seen."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

Pairs = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What a caller saw; a server answers 500 for an app that fails before its response."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[str, str]] = field(default_factory=list)  # headers, each line of them
    chunks: list[bytes] = field(default_factory=list)
    error: BaseException | None = None
    was_body_read: bool = False
    messages: list[str] = field(default_factory=list)  # ASGI: their types

    @property
    def text(self) -> str:
        """The body."""
        return b"".join(self.chunks).decode()


class GoneError(OSError):
    """The caller went away."""


# --- ASGI -----------------------------------------------------------------------------------------


def http_scope(
    target: str = "/",
    *,
    method: str = "GET",
    headers: Pairs = (("host", "app"),),
    kind: str = "http",
    **more: Any,
) -> dict[str, Any]:
    """A scope as uvicorn makes it."""
    path, _, query = target.partition("?")
    scope: dict[str, Any] = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "scheme": "http" if kind == "http" else "ws",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.1", 40000),
        "server": ("192.0.2.9", 8000),
        "state": {},
    }
    if kind == "http":
        scope["method"] = method
    return scope | more


def asgi_call(
    app: Any,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Pairs = (("host", "app"),),
    body: bytes = b"",
    close_after: int | None = None,
    scope: dict[str, Any] | None = None,
) -> Answer:
    """Make one call in an event loop of its own."""
    scope = scope or http_scope(target, method=method, headers=headers)
    return asyncio.run(asgi_call_async(app, scope, body=body, close_after=close_after))


async def asgi_call_async(
    app: Any, scope: dict[str, Any], *, body: bytes = b"", close_after: int | None = None
) -> Answer:
    """Make one call in the running loop."""
    answer = Answer()
    is_sent = False
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        nonlocal is_sent
        answer.was_body_read = True
        if not is_sent:
            is_sent = True
            return {"type": "http.request", "body": body, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        answer.messages.append(message["type"])
        if gone.is_set():
            raise GoneError("the caller went away")
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.lines = [
                (name.decode().lower(), value.decode()) for name, value in message["headers"]
            ]
            answer.headers = dict(answer.lines)
        elif message["type"] == "http.response.body":
            data = message.get("body", b"")
            if data and scope["method"] != "HEAD":
                answer.chunks.append(data)
            if close_after is not None and len(answer.chunks) >= close_after:
                gone.set()

    try:
        await app(scope, receive, send)
    except Exception as error:
        answer.error = error
        answer.status = answer.status or 500
    return answer


# --- WSGI -----------------------------------------------------------------------------------------


class Unread(io.BytesIO):
    """A body that notes whether anybody read of it."""

    was_read = False

    def read(self, *arguments: Any) -> bytes:
        self.was_read = True
        return super().read(*arguments)


def environ_of(
    target: str = "/",
    *,
    method: str = "GET",
    headers: Pairs = (("host", "app"),),
    body: bytes = b"",
    **more: Any,
) -> dict[str, Any]:
    """An environ as gunicorn makes it."""
    path, _, query = target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "RAW_URI": target,
        "SERVER_NAME": "192.0.2.9",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_SOFTWARE": "gunicorn/0",
        "REMOTE_ADDR": "192.0.2.1",
        "REMOTE_PORT": "40000",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": Unread(body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.file_wrapper": FileWrapper,
    }
    if body:
        environ["CONTENT_LENGTH"] = str(len(body))
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ | more


class FileWrapper:
    """A file wrapper as gunicorn's."""

    def __init__(self, file: Any, size: int = 8192) -> None:
        self.file, self.size = file, size
        self.close = file.close

    def __iter__(self) -> FileWrapper:
        return self

    def __next__(self) -> bytes:
        data: bytes = self.file.read(self.size)
        if not data:
            raise StopIteration
        return data


def wsgi_call(
    app: Any,
    target: str = "/",
    *,
    method: str = "GET",
    headers: Pairs = (("host", "app"),),
    body: bytes = b"",
    close_after: int | None = None,
    environ: dict[str, Any] | None = None,
) -> Answer:
    """Make one call in this thread."""
    environ = environ or environ_of(target, method=method, headers=headers, body=body)
    answer = Answer()

    def start_response(status: str, pairs: list[tuple[str, str]], exc_info: Any = None) -> Any:
        if exc_info is not None and answer.chunks:
            raise exc_info[1].with_traceback(exc_info[2])
        assert exc_info is not None or not answer.status, "start_response was called twice"
        answer.status = int(status.split(" ", 1)[0])
        answer.lines = [(name.lower(), value) for name, value in pairs]
        answer.headers = dict(answer.lines)
        return answer.chunks.append

    result: Any = ()
    try:
        result = app(environ, start_response)
        for chunk in result:
            assert answer.status, "a body without a response"
            if chunk and method != "HEAD":
                answer.chunks.append(chunk)
            if close_after is not None and len(answer.chunks) >= close_after:
                break
    except Exception as error:
        answer.error = error
        if not answer.chunks:
            answer.status = 500
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    answer.was_body_read = getattr(environ["wsgi.input"], "was_read", False)
    return answer
