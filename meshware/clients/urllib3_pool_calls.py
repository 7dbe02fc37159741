"""One call of urllib3 on its way: what it does besides what every call over urllib3 does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.exceptions import ReadTimeoutError
from urllib3.poolmanager import SSL_KEYWORDS
from urllib3.response import HTTPResponse
from urllib3.util import Retry, Timeout

from meshware.call import Answer, Deliver, Ended, Raise, Send
from meshware.clients.addresses import to_host
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Lent
from meshware.clients.urllib3_bodies import watch
from meshware.clients.urllib3_calls import Once, Urllib3Call
from meshware.clients.urllib3_edits import edit_response
from meshware.outbound.drive import ExchangeSource, finish

__all__ = ["Call", "Options"]


@dataclass(slots=True)
class Options:
    """What a caller says besides the request; arguments of `HTTPConnectionPool.urlopen`."""

    timeout: Any
    retries: Retry
    preloads: bool
    decodes: bool
    more: Mapping[str, Any]


class Call(Urllib3Call):
    """A call made by a thread.

    Args:
        pool: the caller's, for exceptions.
        strangers: the host's own connections, for when the mesh does not know it.
        settings: what its connections are made with; those about TLS are used.
        options: the caller's.
        url: absolute.
    """

    __slots__ = ("_options", "_own_url", "_passed", "_pool", "_settings", "_strangers")

    def __init__(
        self,
        pool: HTTPConnectionPool,
        strangers: HTTPConnectionPool,
        settings: Mapping[str, Any],
        *,
        method: str,
        url: str,
        target: str,
        headers: Mapping[str, Any],
        body: Any,
        options: Options,
        take: Callable[..., Lent[PoolManager]],
        mirrors: MirrorThreads,
    ) -> None:
        super().__init__(
            method=method,
            url=urlsplit(url),
            target=target,
            headers=headers,
            body=body,
            read_s=_read_timeout_s(options.timeout),
            take=take,
            mirrors=mirrors,
            decodes=options.decodes,
        )
        self._pool = pool
        self._strangers = strangers
        self._settings = settings
        self._own_url = url
        self._options = options
        self._passed: Any = None  # the response of a host that the mesh does not know

    @property
    def may_be_made_again(self) -> bool:
        """Whether the caller's `retries` have not been looked at, and the body is still there."""
        return self._passed is None and not isinstance(self._body, Once)

    def run(self, mesh: ExchangeSource) -> HTTPResponse:
        """Make the call and return its response, read where the caller wants that."""
        exchange = mesh.exchange(self._head())
        end = self._drive(exchange)
        if isinstance(end, Raise):
            said = "timed out waiting for the response headers"
            self._raise(end, ReadTimeoutError(self._pool, self._own_url, said))
        assert not isinstance(end, Raise)
        response: Any = self._raw if isinstance(end, Deliver) else self._local(end)
        response.meshware = end.info
        if response is not self._passed:
            response.retries = self._options.retries
        if isinstance(end, Deliver):
            if end.edit is not None:
                edit_response(response, end.edit)
            if response.closed:  # it has been read: the body was of a stranger, and preloaded
                finish(exchange, Ended())
                return response  # type: ignore[no-any-return]
            if response is not self._passed:
                self._attempt.allow(end.deadline_s)
            watch(response, exchange, self._attempt)
        if self._options.preloads:
            response.read(cache_content=True)
        return response  # type: ignore[no-any-return]

    def _copy(self, body: Any) -> Self:
        return type(self)(
            self._pool,
            self._strangers,
            self._settings,
            method=self._method,
            url=self._own_url,
            target=self._target,
            headers=self._headers,
            body=body,
            options=self._options,
            take=self._take,
            mirrors=self._mirrors,
        )

    def _past_the_mesh(self) -> Answer:
        options, body = self._options, self._body
        self._raw = self._passed = self._strangers.urlopen(
            self._method,
            self._target,
            body=body.whole if isinstance(body, Once) else body,
            headers=self._headers,
            retries=options.retries,
            redirect=False,
            timeout=options.timeout,
            preload_content=options.preloads,
            decode_content=options.decodes,
            **options.more,
        )
        return Answer(self._raw.status, self._raw.headers.getlist)

    def _connections(self, manager: PoolManager, action: Send) -> Any:
        scheme = self._url.scheme
        tls: dict[str, Any] = {}
        if scheme == "https":
            tls = {name: self._settings[name] for name in SSL_KEYWORDS if name in self._settings}
            tls.setdefault("server_hostname", self._url.hostname)  # wherever we dial
        host = to_host(action.address or "")
        return manager.connection_from_host(host, action.port, scheme, pool_kwargs=tls)

    def _is_chunked(self) -> bool:
        return bool(self._options.more.get("chunked", False))


def _read_timeout_s(timeout: Any) -> float | None:
    """Return the caller's time-out for reading, from any form in which urllib3 takes one."""
    timeout = timeout.clone() if isinstance(timeout, Timeout) else Timeout.from_float(timeout)
    timeout.start_connect()  # what it says for reading also depends on its total
    return Timeout.resolve_default_timeout(timeout.read_timeout)
