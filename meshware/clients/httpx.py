"""Transports for httpx and httpx2 (one code for both) that send every request through the mesh.

::

    httpx2.Client(transport=MeshTransport())
    httpx.AsyncClient(transport=AsyncMeshTransport())

The response is the library's own; `response.extensions["meshware"]` tells what the mesh did. Mesh
destinations are dialled where policy says, with `Host` as the caller wrote it. Hosts that the mesh
does not know are called as without it, through the environment's proxies where it names any.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from meshware.call import Send
from meshware.clients.current import mesh_or_current
from meshware.clients.httpx_bodies import Bodies
from meshware.clients.httpx_calls import AsyncCall, SyncCall
from meshware.clients.httpx_engines import (
    AsyncCoreEngine,
    CoreEngine,
    TransportEngine,
    environment_proxy,
)
from meshware.clients.httpx_library import Library
from meshware.clients.mirrors import MirrorTasks, MirrorThreads
from meshware.clients.pools import Lent, Pools
from meshware.clients.tls import origination, user_of
from meshware.outbound.drive import ExchangeSource

if TYPE_CHECKING:
    import httpx
    import httpx2

    # To type checkers the transports are of both libraries' classes. At run time they are of
    # neither: both libraries accept that, and neither need be installed.
    class _SyncBase(httpx.BaseTransport, httpx2.BaseTransport):  # type: ignore[misc]
        pass

    class _AsyncBase(httpx.AsyncBaseTransport, httpx2.AsyncBaseTransport):  # type: ignore[misc]
        pass

else:
    _SyncBase = _AsyncBase = object

__all__ = ["AsyncMeshTransport", "MeshTransport"]


class _Engines:
    """The engines of a transport: one for each pool of connections, or one inner for all.

    Args:
        inner: what sends the attempts in place of the library's own network: a transport for all
            pools, or a callable that makes one for each; None: the library's own network.
        core_engine: makes attempts at mesh destinations.
        plain_transport: the name of the library's own transport.
    """

    def __init__(self, inner: Any, core_engine: Callable[..., Any], plain_transport: str) -> None:
        self._core_engine = core_engine
        self._plain_transport = plain_transport
        self._make_inner: Callable[[], Any] | None = None
        self._only: Lent[Any] | None = None
        if isinstance(inner, type) or not (
            hasattr(inner, "handle_request") or hasattr(inner, "handle_async_request")
        ):
            self._make_inner = inner
        else:
            self._only = Lent(TransportEngine(inner))
        self.pools: Pools[Any] = Pools(self._make)

    def take(self, library: Library, request: Any, action: Send) -> Lent[Any]:
        """Return the engine for an attempt, taken for one call."""
        if self._only is not None:
            self._only.take()
            return self._only
        scheme = request.url.scheme
        if action.address is not None:
            tls = None if self._make_inner else origination(action, scheme)
            return self.pools.take(
                (library, action.pool, scheme == "https", tls, None),
                user=user_of(action, scheme),
                version=(action.pool, tls and tls.context),
            )
        proxy = None if self._make_inner else environment_proxy(scheme, request.url.host)
        return self.pools.take((library, None, False, None, proxy))

    def take_out_all(self) -> list[Any]:
        """Take out and return every engine, for the caller to close."""
        engines = self.pools.take_out_all()
        if self._only is not None:
            engines.append(self._only.inner)
        return engines

    def _make(self, key: Any) -> Any:
        library, rule, is_https, tls, proxy = key
        if self._make_inner is not None:
            return TransportEngine(self._make_inner())
        if rule is None:
            return TransportEngine(getattr(library.module, self._plain_transport)(proxy=proxy))
        return self._core_engine(library, rule, is_https=is_https, tls=tls)


class MeshTransport(_SyncBase):
    """The mesh as a transport for `httpx.Client` and `httpx2.Client`. Safe in many threads.

    Args:
        mesh: None: the process-wide mesh.
        inner: what sends the attempts in place of the library's own network: a transport for all
            services, or a callable that makes one for each. Closed with this one. It makes its
            connections as it likes: those that policy wants TLS or a Unix socket for are refused.
    """

    def __init__(
        self, mesh: ExchangeSource | None = None, inner: Any | Callable[[], Any] | None = None
    ) -> None:
        self._mesh = mesh
        self._engines = _Engines(inner, CoreEngine, "HTTPTransport")
        self._mirrors = MirrorThreads()
        self._bodies = Bodies()

    def handle_request(self, request: Any) -> Any:
        """Send a request through the mesh; the library calls this."""
        self._bodies.close_forgotten()
        for engine in self._engines.pools.surplus():
            engine.close()
        call = SyncCall(request, self._engines.take, self._mirrors, self._bodies)
        return call.run(mesh_or_current(self._mesh))

    def close(self) -> None:
        """Close every connection."""
        self._bodies.close_forgotten()
        for engine in self._engines.take_out_all():
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        self.close()


class AsyncMeshTransport(_AsyncBase):
    """The mesh as a transport for `httpx.AsyncClient` and `httpx2.AsyncClient`.

    Args:
        mesh: None: the process-wide mesh.
        inner: what sends the attempts in place of the library's own network: a transport for all
            services, or a callable that makes one for each. Closed with this one. It makes its
            connections as it likes: those that policy wants TLS or a Unix socket for are refused.
    """

    def __init__(
        self, mesh: ExchangeSource | None = None, inner: Any | Callable[[], Any] | None = None
    ) -> None:
        self._mesh = mesh
        self._engines = _Engines(inner, AsyncCoreEngine, "AsyncHTTPTransport")
        self._mirrors = MirrorTasks()
        self._bodies = Bodies()

    async def handle_async_request(self, request: Any) -> Any:
        """Send a request through the mesh; the library calls this."""
        await self._bodies.aclose_forgotten()
        for engine in self._engines.pools.surplus():
            await engine.aclose()
        call = AsyncCall(request, self._engines.take, self._mirrors, self._bodies)
        return await call.run(mesh_or_current(self._mesh))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._bodies.aclose_forgotten()
        for engine in self._engines.take_out_all():
            await engine.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self.aclose()
