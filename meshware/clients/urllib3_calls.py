"""One call over urllib3's connections on its way: what requests and urllib3 itself have in common.

1. A failed attempt is told to the exchange, never raised; only the exchange says what to raise.
2. What is no attempt's failure (a request that cannot be sent, an error in the iterator of its
   body) goes to the caller as it is.
3. A body that is not bytes is begun once at most.
4. What the mesh does not know goes the library's own way, with the caller's own settings.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any, Self
from urllib.parse import SplitResult

from urllib3 import HTTPHeaderDict, PoolManager
from urllib3.response import HTTPResponse
from urllib3.util import Timeout

from meshware.call import (
    Answer,
    Deliver,
    Failure,
    FailureKind,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
    current_call,
)
from meshware.clients.deadline import Attempt, enter, leave
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Lent
from meshware.clients.replay import Kept
from meshware.clients.threads import until_woken
from meshware.clients.tls import origination, user_of
from meshware.clients.urllib3_bodies import watch
from meshware.clients.urllib3_edits import edited_request
from meshware.clients.urllib3_failures import failure_of
from meshware.errors import IdentityError
from meshware.outbound.drive import drive
from meshware.outbound.exchange import Exchange

__all__ = ["Once", "Urllib3Call"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BLOCK_BYTES = 16_384  # urllib3 sends files in blocks of this size


class Urllib3Call(ABC):
    """A call made by a thread.

    Args:
        method: upper case.
        url: absolute.
        target: path and query, as they go on the wire.
        headers: as the caller has them.
        body: bytes, text, a file, an iterable, or None.
        read_s: the caller's time-out for the wait for headers, and for each read of the body.
        take: `Pools.take`; a key is a rule, and the TLS that policy originates.
        mirrors: sends copies.
        decodes: urllib3 takes off the response's content encoding.
    """

    __slots__ = (
        "_attempt",
        "_body",
        "_decodes",
        "_error",
        "_headers",
        "_method",
        "_mirrors",
        "_raw",
        "_read_s",
        "_take",
        "_target",
        "_told",
        "_url",
    )

    def __init__(
        self,
        *,
        method: str,
        url: SplitResult,
        target: str,
        headers: Mapping[str, Any],
        body: Any,
        read_s: float | None,
        take: Callable[..., Lent[PoolManager]],
        mirrors: MirrorThreads,
        decodes: bool = False,
    ) -> None:
        self._method = method
        self._url = url
        self._target = target
        self._headers = headers
        self._read_s = read_s
        self._take = take
        self._mirrors = mirrors
        self._decodes = decodes
        is_whole = body is None or isinstance(body, str | bytes | bytearray | memoryview)
        self._body = body if is_whole else Once(body)
        self._attempt = Attempt(None)
        self._raw: Any = None
        self._error: Exception | None = None

    @abstractmethod
    def _copy(self, body: Any) -> Self:
        """Return the same call with this body, to be made by a thread of its own."""

    @abstractmethod
    def _connections(self, manager: PoolManager, action: Send) -> Any:
        """Return the connections to one endpoint, with the caller's own TLS settings."""

    @abstractmethod
    def _past_the_mesh(self) -> Answer:
        """Make the call as without the mesh."""

    @abstractmethod
    def _is_chunked(self) -> bool:
        """Return whether the body is sent in chunks, as the library does by itself."""

    def _own(self, error: Exception) -> Exception:
        """Return the library's exception for what went wrong before anything could fail."""
        return error

    def _head(self) -> RequestHead:
        url = self._url
        lines: dict[str, list[str]] = {}
        for name, value in self._headers.items():  # of str, or bytes as the caller wrote it
            text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
            lines.setdefault(name.lower(), []).append(text)

        def values(name: str) -> list[str]:
            return lines.get(name, [])

        own = values("host")
        self._told = RequestHead(
            method=self._method,
            scheme=url.scheme,
            host=(url.hostname or "").rstrip("."),
            port=url.port or _DEFAULT_PORTS.get(url.scheme, 80),
            authority=own[0] if own else _authority(url),
            target=self._target,
            headers=values,
            replayable=not isinstance(self._body, Once),
            wait_s=self._read_s,
            call=current_call(),
        )
        return self._told

    def _drive(self, exchange: Exchange) -> Deliver | Reply | Raise:
        return drive(
            exchange,
            self._send,
            time.sleep,
            self._discard,
            wait=until_woken,
            mirror=self._mirror,
        )

    def _mirror(self, action: Mirror) -> None:
        content = self._body.kept.content if isinstance(self._body, Once) else self._body
        if content is None and self._body is not None:
            action.exchange.close()
            return
        copy = self._copy(content)
        if not self._mirrors.submit(lambda: copy.run_mirror(action.exchange)):
            action.exchange.close()

    def run_mirror(self, exchange: Exchange) -> None:
        """Make a mirrored call, read its response, and raise nothing."""
        with contextlib.suppress(Exception):
            end = self._drive(exchange)
            if isinstance(end, Deliver):
                self._attempt.allow(end.deadline_s)
                watch(self._raw, exchange, self._attempt)
                try:
                    while self._raw.read(_BLOCK_BYTES):
                        pass
                finally:
                    self._raw.close()

    # --- attempts -----------------------------------------------------------------------------

    def _send(self, action: Send) -> Answer | Failure:
        self._error = None
        address = action.address
        self._attempt = Attempt(
            None, (address, action.port) if address is not None and action.is_fresh else None
        )
        if address is None:
            return self._send_past_the_mesh()
        self._attempt.allow(action.timeout_s)
        if isinstance(self._body, Once):
            self._body.kept.limit = action.replay_bytes
        handled = sys.exception()
        try:
            lent = self._lend(action)
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        try:
            pool = self._connections(lent.inner, action)
            token = enter(self._attempt)
            try:
                self._raw = pool.urlopen(
                    method=self._method,
                    url=self._target if action.target is None else action.target,
                    body=self._body,
                    headers=self._attempt_headers(action),
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=self._decodes,
                    retries=False,
                    timeout=Timeout(
                        connect=nearer(action.connect_timeout_s, action.timeout_s),
                        read=self._read_s,
                    ),
                    chunked=self._is_chunked(),
                )
            except Exception as error:
                return self._failed(error, handled)
            finally:
                leave(token)
        finally:
            lent.give_back()
        if isinstance(self._body, Once):
            self._body.kept.tell(self._told)
        return Answer(self._raw.status, self._raw.headers.getlist)

    def _lend(self, action: Send) -> Lent[PoolManager]:
        """Return the connections to a service, taken for this attempt.

        Raises:
            IdentityError: they need TLS that cannot be had.
        """
        scheme = self._url.scheme
        tls = origination(action, scheme)
        return self._take(
            (action.pool, tls),
            user=user_of(action, scheme),
            version=(action.pool, tls and tls.context),
        )

    def _send_past_the_mesh(self) -> Answer | Failure:
        handled = sys.exception()
        try:
            return self._past_the_mesh()
        except Exception as error:
            failure = failure_of(error, self._attempt, handled)
            if failure is None:
                raise
            self._error = error
            return failure

    def _attempt_headers(self, action: Send) -> Mapping[str, Any]:
        """Return the request's headers, with those of the attempt set."""
        ours = {name.lower() for name, _ in action.headers}
        has_host = "host" in ours
        pairs = []
        for name, value in self._headers.items():
            lower = name.lower()
            has_host = has_host or lower == "host"
            if lower not in ours:
                pairs.append((name, value))
        is_multiple = isinstance(self._headers, HTTPHeaderDict)  # which is the slower one
        headers: MutableMapping[str, Any] = HTTPHeaderDict(pairs) if is_multiple else dict(pairs)
        if not has_host:
            headers["Host"] = _authority(self._url)  # urllib3 would name the endpoint
        if action.edit is not None:
            return edited_request(headers, action.edit, action.headers)
        headers.update(action.headers)
        return headers

    def _failed(self, error: Exception, handled: BaseException | None) -> Failure:
        """Say how the attempt failed, or raise what is the caller's to see."""
        body = self._body
        if isinstance(body, Once) and body.kept.error is not None:
            raise body.kept.error
        failure = failure_of(error, self._attempt, handled)
        if failure is None:
            own = self._own(error)
            if own is error:
                raise error
            raise own from error
        if isinstance(body, Once):
            failure.sent = failure.sent or body.kept.is_begun
            body.kept.tell(self._told)
        self._error = error
        return failure

    def _discard(self) -> None:
        raw, self._raw = self._raw, None
        raw.close()

    # --- the end ------------------------------------------------------------------------------

    def _raise(self, end: Raise, timed_out: Exception) -> None:
        """Raise the last attempt's own exception, or the library's for a time-out."""
        error, self._error = self._error, None
        try:
            if error is not None and not end.timed_out:
                raise error
            raise timed_out from error
        finally:
            del error  # its traceback refers to this frame

    def _local(self, reply: Reply) -> HTTPResponse:
        """Build urllib3's response for a local reply; one to HEAD has no body."""
        body = reply.body
        return HTTPResponse(
            body=io.BytesIO(b"" if self._method == "HEAD" else body),
            headers={"content-length": str(len(body)), **dict(reply.headers)},
            status=reply.status,
            reason=http.client.responses.get(reply.status, ""),
            version=11,
            version_string="HTTP/1.1",
            preload_content=False,
            decode_content=self._decodes,
            request_method=self._method,
            request_url=self._url.geturl(),
        )


class Once:
    """A body that can be read only once, of which something may be kept.

    Attributes:
        whole: the body, as the caller has it.
    """

    def __init__(self, body: Any) -> None:
        self.whole = body
        self.kept = Kept()

    def __iter__(self) -> Iterator[bytes]:
        if not self.kept.can_be_sent:  # never a second time with what the first has left over
            raise RuntimeError("the body of the request has been sent before")
        return self.kept.read(_encoded(self.whole))


def _encoded(body: Any) -> Iterator[bytes]:
    for chunk in _blocks(body):
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _blocks(body: Any) -> Iterator[Any]:
    if not hasattr(body, "read"):
        yield from body
        return
    while block := body.read(_BLOCK_BYTES):
        yield block


def _authority(url: SplitResult) -> str:
    """Return the Host header for a URL: without credentials, and without the scheme's own port."""
    host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if url.port is None or url.port == _DEFAULT_PORTS.get(url.scheme):
        return host
    return f"{host}:{url.port}"


def nearer(one_s: float | None, other_s: float | None) -> float | None:
    """Return the shorter of two times; None: no limit."""
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
