"""A call as it looks over any client library: what tests say, and what they look at."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from meshware.call import ExchangeInfo

if TYPE_CHECKING:
    from client_drivers import Driver

PATIENCE_S = 20.0  # for what must happen; reached only when a test fails


class Cancelled(BaseException):
    """What a signal handler raises in a thread that waits, as servers do to end a worker."""


class Once:
    """A body that can be read only once, chunk by chunk; an exception among them is raised."""

    def __init__(self, *chunks: bytes | Exception) -> None:
        self.chunks = chunks
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            if isinstance(chunk, Exception):
                raise chunk
            self.taken += 1
            yield chunk

    async def __aiter__(self):
        for chunk in self:
            yield chunk


Body = bytes | Once | io.IOBase | None


class Response:
    """A response of any library; its body is read from the wire when asked for."""

    def __init__(self, client: Client, response: Any) -> None:
        self.raw = response
        self.status: int = getattr(response, "status_code", None) or response.status
        self.headers: Mapping[str, str] = joined(response.headers)
        self._client = client
        self._chunks: Any = None

    @property
    def info(self) -> ExchangeInfo:
        """What the mesh did."""
        if hasattr(self.raw, "extensions"):
            return self.raw.extensions["meshware"]  # type: ignore[no-any-return]
        return self.raw.meshware  # type: ignore[no-any-return]

    def read(self) -> bytes:
        """Read the whole body, and what is left of one that was begun."""
        got = b""
        while (chunk := self.some()) is not None:
            got += chunk
        self.close()
        return got

    def some(self) -> bytes | None:
        """Read the next piece of the body, None at its end."""
        if self._chunks is None:
            self._chunks = self._client.chunks(self.raw)
        return self._client.run(self._client.next, self._chunks)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close it, read or not."""
        self._client.close_response(self.raw, self._chunks)


def joined(headers: Any) -> Mapping[str, str]:
    """Headers by their names in lower case, those of several lines joined."""
    every = getattr(headers, "getall", None)
    return {
        name.lower(): headers[name] if every is None else ", ".join(every(name)) for name in headers
    }


class Client:
    """What the libraries' clients have in common; one subclass for each kind."""

    def __init__(self, driver: Driver) -> None:
        self.driver = driver

    def open(
        self,
        method: str,
        url: str,
        *,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        follow: bool = False,
    ) -> Response:
        """Call, and return at the response's headers. Without `timeout_s` there is no limit."""
        return Response(
            self,
            self.run(
                partial(
                    self.send,
                    method,
                    url,
                    body,
                    headers=dict(headers or {}),
                    timeout_s=timeout_s,
                    follow=follow,
                )
            ),
        )

    def call(self, method: str, url: str, **options: Any) -> tuple[Response, bytes]:
        """Call, and read the whole body."""
        response = self.open(method, url, **options)
        try:
            return response, response.read()
        finally:
            response.close()

    def get(self, url: str) -> tuple[int, bytes]:
        """Call in the library's own shortest way, which reads the body at once."""
        response = self.run(self.raw.get, url)
        return response.status_code, response.content

    def cancel_when(self, event: threading.Event, work: Callable[[], object]) -> None:
        """Do work of this client, and cancel it when something has happened meanwhile."""
        raise NotImplementedError

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Run a function of the library's, wherever it has to run."""
        raise NotImplementedError

    raw: Any  # the library's own client
    send: Callable[..., Any]
    chunks: Callable[[Any], Any]
    next: Callable[[Any], Any]
    close_response: Callable[[Any, Any], None]
    close: Callable[[], None]
