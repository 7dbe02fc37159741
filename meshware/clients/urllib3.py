"""A pool manager for urllib3 that sends every request through the mesh.

::

    http = MeshPoolManager()
    http.request("GET", "http://reviews:9080/reviews/1")

The response is urllib3's own; `response.meshware` tells what the mesh did. Mesh destinations are
dialled where policy says, with `Host` as the caller wrote it, and tried again as policy says: the
caller's `retries` count for redirects and for answers that it wants to ask for again. Hosts that
the mesh does not know are called as without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.exceptions import MaxRetryError
from urllib3.response import BaseHTTPResponse, HTTPResponse
from urllib3.util import Retry, Timeout, parse_url

from meshware.clients.current import mesh_or_current
from meshware.clients.mirrors import MirrorThreads
from meshware.clients.pools import Pools
from meshware.clients.urllib3_network import close_pools, make_pools
from meshware.clients.urllib3_pool_calls import Call, Options
from meshware.outbound.drive import ExchangeSource

__all__ = ["MeshPoolManager"]

_DEFAULT_TIMEOUT = Timeout.DEFAULT_TIMEOUT


class _Mesh:
    """What the pools of a manager share."""

    def __init__(self, mesh: ExchangeSource | None, manager: PoolManager) -> None:
        self.mesh = mesh
        self.manager = manager
        self.services: Pools[PoolManager] = Pools(lambda key: make_pools(*cast("Any", key)))
        self.mirrors = MirrorThreads()


class MeshPoolManager(PoolManager):
    """The mesh as urllib3's pool manager. Safe in many threads.

    Args:
        mesh: None: the process-wide mesh.
        num_pools: of hosts that the mesh does not know, as in urllib3.
        headers: for every request that has none.
        connection_pool_kw: as in urllib3; for services of the mesh those about TLS, `timeout` and
            `retries` count.
    """

    def __init__(
        self,
        mesh: ExchangeSource | None = None,
        num_pools: int = 10,
        headers: Mapping[str, str] | None = None,
        **connection_pool_kw: Any,
    ) -> None:
        super().__init__(num_pools, headers, **connection_pool_kw)
        self._mesh = _Mesh(mesh, self)

    def _new_pool(
        self,
        scheme: str,
        host: str,
        port: int,
        request_context: dict[str, Any] | None = None,
    ) -> HTTPConnectionPool:
        tls = {**(self.connection_pool_kw if request_context is None else request_context)}
        return _MeshPool(self._mesh, super()._new_pool(scheme, host, port, request_context), tls)

    def clear(self) -> None:
        """Close every idle connection; those in use are closed when their responses end."""
        for manager in self._mesh.services.take_out_all():
            close_pools(manager)
        super().clear()


class _MeshPool(HTTPConnectionPool):
    """The pool that a manager hands out for a host: the mesh's, or the host's own.

    Args:
        mesh: what it shares with the manager's other pools.
        strangers: the host's own connections, for when the mesh does not know it.
        settings: what its connections are made with.
    """

    def __init__(
        self, mesh: _Mesh, strangers: HTTPConnectionPool, settings: Mapping[str, Any]
    ) -> None:
        super().__init__(strangers.host, strangers.port, headers=strangers.headers)
        self.scheme = strangers.scheme
        self.retries = strangers.retries
        self.timeout = strangers.timeout
        self._mesh = mesh
        self._strangers = strangers
        self._settings = settings

    def urlopen(  # type: ignore[override] # noqa: PLR0917 - the parameters are those of urllib3
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Retry | bool | int | None = None,
        redirect: bool = True,
        assert_same_host: bool = True,
        timeout: Any = _DEFAULT_TIMEOUT,
        *,
        preload_content: bool = True,
        decode_content: bool = True,
        **more: Any,
    ) -> BaseHTTPResponse:
        """Send a request through the mesh; the manager and `request` call this.

        Raises:
            urllib3.exceptions.HTTPError: as without the mesh, except that the failure of a mesh
                destination before its response headers is a response of the mesh's own.
        """
        where = parse_url(url)
        if redirect:  # which the manager knows how to follow
            if where.host is None:
                url = f"{self.scheme}://{self._own_authority()}{where.request_uri}"
            more |= {"preload_content": preload_content, "decode_content": decode_content}
            return self._mesh.manager.urlopen(
                method, url, body=body, headers=headers, retries=retries, timeout=timeout, **more
            )
        if not isinstance(retries, Retry):
            retries = Retry.from_int(retries, redirect=redirect, default=self.retries)
        options = Options(
            timeout=self.timeout if timeout is _DEFAULT_TIMEOUT else timeout,
            retries=retries,
            preloads=preload_content,
            decodes=decode_content,
            more={"assert_same_host": assert_same_host, **more},
        )
        mesh = mesh_or_current(self._mesh.mesh)
        while True:
            for manager in self._mesh.services.surplus():
                close_pools(manager)
            call = Call(
                self,
                self._strangers,
                self._settings,
                method=method.upper(),
                url=f"{self.scheme}://{self._own_authority()}{where.request_uri}",
                target=where.request_uri,
                headers=self.headers if headers is None else headers,
                body=body,
                options=options,
                take=self._mesh.services.take,
                mirrors=self._mesh.mirrors,
            )
            response = call.run(mesh)
            if not call.may_be_made_again or not _asks_again(options.retries, method, response):
                return response
            try:
                options.retries = options.retries.increment(
                    method, url, response=response, _pool=self
                )
            except MaxRetryError:
                if options.retries.raise_on_status:
                    response.drain_conn()
                    raise
                return response
            response.drain_conn()
            options.retries.sleep(response)

    def close(self) -> None:
        """Close the idle connections of a host that the mesh does not know."""
        self._strangers.close()
        super().close()

    def _own_authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" if self.port is not None else host


def _asks_again(retries: Retry, method: str, response: HTTPResponse) -> bool:
    """Say whether the caller's own settings want an answer asked for again."""
    return retries.is_retry(method, response.status, bool(response.headers.get("Retry-After")))
