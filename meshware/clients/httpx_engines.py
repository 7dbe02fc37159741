"""What makes one attempt for httpx and httpx2: a transport of theirs, or their core's pool.

Mesh destinations go through a pool of the core (httpcore or httpcore2) with our network below it;
what passes through goes the library's own way, the environment's proxies included.
"""

from __future__ import annotations

from typing import Any

from meshware.call import MessageEdit, Send
from meshware.clients.addresses import to_host, unix_path
from meshware.clients.httpx_library import Library
from meshware.clients.httpx_network import AsyncNetwork, Network
from meshware.clients.tls import Origination
from meshware.policy.pool_rule import PoolRule

__all__ = ["AsyncCoreEngine", "CoreEngine", "TransportEngine", "edited_raw", "environment_proxy"]

Timeouts = dict[str, float | None]


class TransportEngine:
    """Makes attempts through a transport of the library's kind, whatever it does.

    What policy says of connections is the transport's own affair, but for two things that are
    refused because it could not do them: TLS of policy's, and dialling a Unix socket.
    """

    notes_sending = False

    def __init__(self, transport: Any) -> None:
        self._transport = transport

    def send(
        self, library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
    ) -> Any:
        """Make an attempt and return the library's response."""
        return self._transport.handle_request(
            _for_transport(library, request, stream, action, timeouts)
        )

    def send_async(
        self, library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
    ) -> Any:
        """Return the awaitable of an attempt; its result is the library's response."""
        return self._transport.handle_async_request(
            _for_transport(library, request, stream, action, timeouts)
        )

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close the transport."""
        await self._transport.aclose()


class CoreEngine:
    """Makes attempts through a connection pool of the library's core, for threads."""

    notes_sending = True

    def __init__(
        self, library: Library, rule: PoolRule, *, is_https: bool, tls: Origination | None
    ) -> None:
        self._pool = library.core.ConnectionPool(
            **_pool_options(library, rule, is_https),
            network_backend=Network(library.core, rule, tls),
        )

    def send(
        self, library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
    ) -> Any:
        """Make an attempt and return the library's response."""
        sent = _for_core(library, request, stream, action, timeouts)
        return _response(library, self._pool.handle_request(sent))

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()


class AsyncCoreEngine:
    """Makes attempts through a connection pool of the library's core, for tasks."""

    notes_sending = True

    def __init__(
        self, library: Library, rule: PoolRule, *, is_https: bool, tls: Origination | None
    ) -> None:
        self._pool = library.core.AsyncConnectionPool(
            **_pool_options(library, rule, is_https),
            network_backend=AsyncNetwork(library.core, rule, tls),
        )

    async def send_async(
        self, library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
    ) -> Any:
        """Make an attempt and return the library's response."""
        sent = _for_core(library, request, stream, action, timeouts)
        return _response(library, await self._pool.handle_async_request(sent))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._pool.aclose()


def environment_proxy(scheme: str, host: str) -> str | None:
    """Return the proxy that the environment names for a host, None for none.

    A client with a transport of its own looks for none, so that a host which is not the mesh's
    would become unreachable behind one.
    """
    from urllib.request import getproxies, proxy_bypass

    proxies = getproxies()
    found = proxies.get(scheme) or proxies.get("all")
    if not found or proxy_bypass(host, proxies):
        return None
    return found if "://" in found else f"http://{found}"


def _pool_options(library: Library, rule: PoolRule, is_https: bool) -> dict[str, Any]:
    # As many connections as there are calls, as with Envoy unless policy sets a limit.
    return {
        "ssl_context": library.ssl_context if is_https else None,
        "max_connections": None,
        "max_keepalive_connections": None,
        "keepalive_expiry": rule.idle_s,
    }


def edited_raw(raw: list[tuple[bytes, bytes]], edit: MessageEdit) -> list[tuple[bytes, bytes]]:
    """Return headers as they go on the wire, changed."""
    drop = {name.encode("ascii") for name in edit.drop}
    kept = [pair for pair in raw if pair[0].lower() not in drop]
    return kept + [(name.encode("ascii"), value.encode()) for name, value in edit.append]


def _raw_headers(request: Any, action: Send) -> list[tuple[bytes, bytes]]:
    """Return a request's headers, with those of the attempt set, as they go on the wire."""
    raw: list[tuple[bytes, bytes]] = request.headers.raw
    if action.edit is not None:
        raw = edited_raw(raw, action.edit)
    if not action.headers:
        return raw
    ours = [(name.encode("ascii"), value.encode()) for name, value in action.headers]
    names = {name.lower() for name, _ in ours}
    return [pair for pair in raw if pair[0].lower() not in names] + ours


def _extensions(request: Any, action: Send, timeouts: Timeouts | None) -> dict[str, Any]:
    extensions: dict[str, Any] = request.extensions
    if action.target is not None and "target" in extensions:  # the caller's, in place of the URL's
        extensions = {name: value for name, value in extensions.items() if name != "target"}
    if timeouts is None:
        return extensions
    extensions = {**extensions, "timeout": timeouts}
    if request.url.scheme == "https":  # the certificate is for the name, wherever we dial
        extensions.setdefault("sni_hostname", request.url.raw_host.decode("ascii"))
    return extensions


def _for_transport(
    library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
) -> Any:
    if action.address is None and not action.headers and stream is request.stream:
        return request
    if action.pool.tls is not None and request.url.scheme != "https":
        raise library.module.ConnectError("the inner transport cannot originate policy's TLS")
    if action.address is not None and unix_path(action.address) is not None:
        raise library.module.ConnectError("the inner transport cannot dial Unix sockets")
    return library.request_class(
        request,
        target=None if action.target is None else action.target.encode("latin-1"),
        headers=library.module.Headers(_raw_headers(request, action)),
        stream=stream,
        extensions=_extensions(request, action, timeouts),
        dial=None if action.address is None else (action.address, action.port),
    )


def _for_core(
    library: Library, request: Any, stream: Any, action: Send, timeouts: Timeouts | None
) -> Any:
    core, url = library.core, request.url
    address = url.raw_host if action.address is None else to_host(action.address).encode("ascii")
    return core.Request(
        request.method.encode("ascii"),
        core.URL(
            scheme=url.raw_scheme,
            host=address,
            port=action.port,
            target=url.raw_path if action.target is None else action.target.encode("latin-1"),
        ),
        headers=_raw_headers(request, action),
        content=stream,
        extensions=_extensions(request, action, timeouts),
    )


def _response(library: Library, received: Any) -> Any:
    return library.module.Response(
        received.status,
        headers=received.headers,
        stream=received.stream,
        extensions=received.extensions,
    )
