"""One call of requests on its way: what the loop's actions are carried out with.

1. A failed attempt is told to the exchange, never raised; only the exchange says what to raise.
2. What is no attempt's failure (a request that cannot be sent, an error in the iterator of its
   body) goes to the caller as it is.
3. A body that is not bytes is begun once at most.
4. What the mesh does not know goes requests' own way, with the caller's own settings.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import InvalidHeader, InvalidURL, ReadTimeout
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout

from meshware.call import (
    Answer,
    Deliver,
    Ended,
    Failure,
    FailureKind,
    Mirror,
    Raise,
    Reply,
    RequestHead,
    Send,
    current_call,
)
from meshware.clients.addresses import to_host
from meshware.clients.deadline import Attempt, enter, leave
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Lent
from meshware.clients.requests_bodies import watch
from meshware.clients.requests_edits import edit_response, edited_request
from meshware.clients.requests_failures import failure_of
from meshware.clients.threads import until_woken
from meshware.clients.tls import origination
from meshware.errors import IdentityError
from meshware.outbound.drive import ExchangeSource, drive, finish
from meshware.outbound.exchange import Exchange

__all__ = ["Call", "Options"]

_DEFAULT_PORTS = {"http": 80, "https": 443}
_BLOCK_BYTES = 16_384  # urllib3 sends files in blocks of this size


@dataclass(slots=True)
class Options:
    """What a session says besides the request; the arguments of `HTTPAdapter.send`."""

    stream: bool
    timeout: Any
    verify: bool | str
    cert: Any
    proxies: Mapping[str, str] | None


class Call:
    """A call made by a thread.

    Args:
        adapter: whose hooks (`build_response`, `cert_verify` ...) are used.
        request: as the session prepared it.
        options: the session's settings for it.
        take: `Pools.take`; a key is a rule, and the TLS that policy originates.
        pass_through: sends a request as without the mesh.
        mirrors: sends copies.

    Raises:
        ValueError: the caller's time-out is none.
    """

    __slots__ = (
        "_adapter",
        "_attempt",
        "_body",
        "_error",
        "_mirrors",
        "_options",
        "_pass_through",
        "_raw",
        "_read_s",
        "_request",
        "_response",
        "_take",
        "_url",
    )

    def __init__(
        self,
        adapter: HTTPAdapter,
        request: PreparedRequest,
        options: Options,
        take: Callable[..., Lent[PoolManager]],
        pass_through: Callable[..., Response],
        *,
        mirrors: MirrorThreads,
    ) -> None:
        self._adapter = adapter
        self._request = request
        self._options = options
        self._take = take
        self._pass_through = pass_through
        self._mirrors = mirrors
        self._read_s = _read_timeout_s(options.timeout)
        self._url = _split(request)
        body: Any = request.body
        self._body = body if body is None or isinstance(body, str | bytes) else _Once(body)
        self._attempt = Attempt(None)
        self._raw: Any = None
        self._response: Response | None = None  # of a host that the mesh does not know
        self._error: Exception | None = None

    def run(self, mesh: ExchangeSource) -> Response:
        """Make the call and return its response, the body still to be read."""
        exchange = mesh.exchange(self._head())
        end = self._drive(exchange)
        if isinstance(end, Deliver):
            if end.edit is not None:
                edit_response(self._raw, end.edit)
            response = self._response or self._adapter.build_response(self._request, self._raw)
            response.meshware = end.info  # type: ignore[attr-defined]
            if self._response is None:
                self._attempt.allow(end.deadline_s)
            if isinstance(self._raw, HTTPResponse):
                watch(self._raw, exchange, self._attempt)
            else:  # of an adapter's own making, with a body that nobody can watch
                finish(exchange, Ended())
            return response
        return self._refuse(end)

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
        if isinstance(self._body, _Once):
            action.exchange.close()
            return
        copy = Call(
            self._adapter,
            self._request,
            self._options,
            self._take,
            self._pass_through,
            mirrors=self._mirrors,
        )
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

    def _head(self) -> RequestHead:
        request, url = self._request, self._url
        headers = request.headers
        host = url.hostname or ""
        port = url.port or _DEFAULT_PORTS.get(url.scheme, 80)

        def values(name: str) -> tuple[str, ...]:
            value: Any = headers.get(name)  # str, or bytes as the caller wrote it
            if value is None:
                return ()
            return (value.decode("latin-1") if isinstance(value, bytes) else value,)

        own = values("host")
        return RequestHead(
            method=request.method or "GET",
            scheme=url.scheme,
            host=host.rstrip("."),
            port=port,
            authority=own[0] if own else _authority(url),
            target=request.path_url,
            headers=values,
            replayable=not isinstance(self._body, _Once),
            wait_s=self._read_s,
            call=current_call(),
        )

    # --- attempts -----------------------------------------------------------------------------

    def _send(self, action: Send) -> Answer | Failure:
        self._error = None
        self._attempt = Attempt(None)
        if action.address is None:
            return self._send_past_the_mesh()
        self._attempt.allow(action.timeout_s)
        handled = sys.exception()
        try:
            lent = self._connections_for(action)
        except IdentityError as error:
            return Failure(FailureKind.TLS, sent=False, detail=f"TLS_error: {error}")
        try:
            pool = self._connections(lent.inner, action)
            token = enter(self._attempt)
            try:
                self._raw = pool.urlopen(
                    method=self._request.method,
                    url=self._request.path_url if action.target is None else action.target,
                    body=self._body,
                    headers=self._headers(action),
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    retries=False,
                    timeout=Timeout(
                        connect=_nearer(action.connect_timeout_s, action.timeout_s),
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
        return Answer(self._raw.status, self._raw.headers.getlist)

    def _send_past_the_mesh(self) -> Answer | Failure:
        options = self._options
        handled = sys.exception()
        try:
            response = self._response = self._pass_through(
                self._request,
                stream=options.stream,
                timeout=options.timeout,
                verify=options.verify,
                cert=options.cert,
                proxies=options.proxies,
            )
        except Exception as error:
            failure = failure_of(error, self._attempt, handled)
            if failure is None:
                raise
            self._error = error
            return failure
        self._raw = response.raw
        return Answer(response.status_code, getattr(self._raw.headers, "getlist", lambda _name: []))

    def _connections_for(self, action: Send) -> Lent[PoolManager]:
        """Return the connections to a service, taken for this attempt.

        Raises:
            IdentityError: they need TLS that cannot be had.
        """
        scheme = self._url.scheme
        tls = origination(action, scheme)
        return self._take(
            (action.pool, tls),
            user=(action.cluster, scheme),
            version=(action.pool, tls and tls.context),
        )

    def _connections(self, manager: PoolManager, action: Send) -> Any:
        """Return the connections to one endpoint, with the caller's own TLS settings."""
        options, scheme = self._options, self._url.scheme
        tls: dict[str, Any] = {}
        if scheme == "https":
            _, settings = self._adapter.build_connection_pool_key_attributes(
                self._request, options.verify, options.cert
            )
            # The certificate is for the name, wherever we dial.
            tls = {**settings, "server_hostname": self._url.hostname}
        host = to_host(action.address or "")
        pool = manager.connection_from_host(host, action.port, scheme, pool_kwargs=tls)
        if scheme == "https":
            verify: Any = self._adapter.cert_verify  # without annotations
            verify(pool, self._request.url, options.verify, options.cert)
        return pool

    def _headers(self, action: Send) -> Mapping[str, Any]:
        """Return the request's headers, with those of the attempt set."""
        ours = {name.lower() for name, _ in action.headers}
        headers = {
            name: value for name, value in self._request.headers.items() if name.lower() not in ours
        }
        if "Host" not in self._request.headers and "host" not in ours:
            headers["Host"] = _authority(self._url)  # urllib3 would name the endpoint
        if action.edit is not None:
            return edited_request(headers, action.edit, action.headers)
        headers.update(action.headers)
        return headers

    def _is_chunked(self) -> bool:
        return self._body is not None and "Content-Length" not in self._request.headers

    def _failed(self, error: Exception, handled: BaseException | None) -> Failure:
        """Say how the attempt failed, or raise what is the caller's to see."""
        body = self._body
        if isinstance(body, _Once) and body.error is not None:
            raise body.error
        failure = failure_of(error, self._attempt, handled)
        if failure is None:
            raise self._own(error) from error
        if isinstance(body, _Once) and body.is_begun:
            failure.sent = True
        self._error = error
        return failure

    def _own(self, error: Exception) -> Exception:
        """Return requests' exception for what went wrong before anything could fail."""
        if isinstance(error, LocationValueError):
            return InvalidURL(error, request=self._request)
        if isinstance(error, HTTPError):
            return RequestsConnectionError(error, request=self._request)
        if isinstance(error, UnicodeEncodeError):
            return InvalidHeader(error, request=self._request)
        return error

    def _discard(self) -> None:
        raw, self._raw = self._raw, None
        raw.close()

    # --- the end ------------------------------------------------------------------------------

    def _refuse(self, end: Reply | Raise) -> Response:
        """Answer in place of the upstream, or raise."""
        if isinstance(end, Reply):
            return self._reply(end)
        error, self._error = self._error, None
        try:
            if error is not None and not end.timed_out:
                raise error
            raise ReadTimeout(
                "timed out waiting for the response headers", request=self._request
            ) from error
        finally:
            del error  # its traceback refers to this frame

    def _reply(self, reply: Reply) -> Response:
        """Build the response for a local reply; one to HEAD has no body."""
        body = reply.body
        raw = HTTPResponse(
            body=io.BytesIO(b"" if self._request.method == "HEAD" else body),
            headers={"content-length": str(len(body)), **dict(reply.headers)},
            status=reply.status,
            reason=http.client.responses.get(reply.status, ""),
            version=11,
            version_string="HTTP/1.1",
            preload_content=False,
            decode_content=False,
            request_method=self._request.method,
            request_url=self._request.url,
        )
        response = self._adapter.build_response(self._request, raw)
        response.meshware = reply.info  # type: ignore[attr-defined]
        return response


class _Once:
    """A body that can be sent only once, and says whether it was begun and how it failed."""

    def __init__(self, body: Any) -> None:
        self._body = body
        self.is_begun = False
        self.error: Exception | None = None

    def __iter__(self) -> Iterator[bytes]:
        if self.is_begun:  # never a second time with what the first has left over
            raise RuntimeError("the body of the request has been sent before")
        self.is_begun = True
        try:
            for chunk in _blocks(self._body):
                yield chunk.encode() if isinstance(chunk, str) else chunk
        except Exception as error:
            self.error = error
            raise


def _blocks(body: Any) -> Iterator[Any]:
    if not hasattr(body, "read"):
        yield from body
        return
    while block := body.read(_BLOCK_BYTES):
        yield block


def _split(request: PreparedRequest) -> SplitResult:
    try:
        url = urlsplit(request.url or "")
        _ = url.port  # which is not looked at before
    except ValueError as error:
        raise InvalidURL(error, request=request) from error
    return url


def _authority(url: SplitResult) -> str:
    """Return the Host header for a URL: without credentials, and without the scheme's own port."""
    host = url.hostname or ""
    if ":" in host:
        host = f"[{host}]"
    if url.port is None or url.port == _DEFAULT_PORTS.get(url.scheme):
        return host
    return f"{host}:{url.port}"


def _read_timeout_s(timeout: Any) -> float | None:
    """Return the caller's time-out for reading, from any form in which requests takes one."""
    if isinstance(timeout, tuple):
        if len(timeout) != 2:
            raise ValueError(
                f"the time-out {timeout} is not a number of seconds, nor a pair of them "
                "for connecting and reading"
            )
        timeout = Timeout(connect=timeout[0], read=timeout[1])
    elif isinstance(timeout, Timeout):
        timeout = timeout.clone()
    else:
        timeout = Timeout(connect=timeout, read=timeout)
    timeout.start_connect()  # what it says for reading also depends on its total
    read_s: float | None = timeout.read_timeout
    return read_s


def _nearer(one_s: float | None, other_s: float | None) -> float | None:
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
