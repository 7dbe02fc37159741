"""One call of requests on its way: what it does besides what every call over urllib3 does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import SplitResult, urlsplit

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from requests.exceptions import ConnectionError as RequestsConnectionError
from requests.exceptions import InvalidHeader, InvalidURL, ReadTimeout
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError, LocationValueError
from urllib3.response import HTTPResponse
from urllib3.util import Timeout

from meshware.call import Answer, Deliver, Ended, Raise, Reply, Send
from meshware.clients.addresses import to_host
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Lent
from meshware.clients.urllib3_bodies import watch
from meshware.clients.urllib3_calls import Urllib3Call
from meshware.clients.urllib3_edits import edit_response
from meshware.outbound.drive import ExchangeSource, finish

__all__ = ["Call", "Options"]


@dataclass(slots=True)
class Options:
    """What a session says besides the request; the arguments of `HTTPAdapter.send`."""

    stream: bool
    timeout: Any
    verify: bool | str
    cert: Any
    proxies: Mapping[str, str] | None


class Call(Urllib3Call):
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

    __slots__ = ("_adapter", "_options", "_pass_through", "_request", "_response")

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
        super().__init__(
            method=request.method or "GET",
            url=_split(request),
            target=request.path_url,
            headers=request.headers,
            body=request.body,
            read_s=_read_timeout_s(options.timeout),
            take=take,
            mirrors=mirrors,
        )
        self._adapter = adapter
        self._request = request
        self._options = options
        self._pass_through = pass_through
        self._response: Response | None = None  # of a host that the mesh does not know

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

    def _copy(self, body: Any) -> Self:
        copy = type(self)(
            self._adapter,
            self._request,
            self._options,
            self._take,
            self._pass_through,
            mirrors=self._mirrors,
        )
        copy._body = body
        return copy

    def _past_the_mesh(self) -> Answer:
        options = self._options
        response = self._response = self._pass_through(
            self._request,
            stream=options.stream,
            timeout=options.timeout,
            verify=options.verify,
            cert=options.cert,
            proxies=options.proxies,
        )
        self._raw = response.raw
        return Answer(response.status_code, getattr(self._raw.headers, "getlist", lambda _name: []))

    def _connections(self, manager: PoolManager, action: Send) -> Any:
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

    def _is_chunked(self) -> bool:
        return self._body is not None and "Content-Length" not in self._request.headers

    def _own(self, error: Exception) -> Exception:
        if isinstance(error, LocationValueError):
            return InvalidURL(error, request=self._request)
        if isinstance(error, HTTPError):
            return RequestsConnectionError(error, request=self._request)
        if isinstance(error, UnicodeEncodeError):
            return InvalidHeader(error, request=self._request)
        return error

    def _refuse(self, end: Reply | Raise) -> Response:
        """Answer in place of the upstream, or raise."""
        if isinstance(end, Raise):
            said = "timed out waiting for the response headers"
            self._raise(end, ReadTimeout(said, request=self._request))
        assert isinstance(end, Reply)
        response = self._adapter.build_response(self._request, self._local(end))
        response.meshware = end.info  # type: ignore[attr-defined]
        return response


def _split(request: PreparedRequest) -> SplitResult:
    try:
        url = urlsplit(request.url or "")
        _ = url.port  # which is not looked at before
    except ValueError as error:
        raise InvalidURL(error, request=request) from error
    return url


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
