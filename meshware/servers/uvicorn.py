"""TLS for uvicorn, whichever protocols, loop and number of workers it has.

`install()` makes its servers speak as policy says. Who would rather hand it settings has a context
factory, and protocol classes that tell the app of TLS by ASGI's own extension:

    uvicorn.run("app:app", ssl_context_factory=meshware.servers.uvicorn.ssl_context_factory,
                http="meshware.servers.uvicorn:HTTP", ws="meshware.servers.uvicorn:WebSocket")
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any

from meshware.servers.asyncio_module import stand_in

__all__ = ["install", "ssl_context_factory", "telling"]

_PROTOCOLS = {
    "HTTP": "uvicorn.protocols.http.auto:AutoHTTPProtocol",
    "H11": "uvicorn.protocols.http.h11_impl:H11Protocol",
    "HttpTools": "uvicorn.protocols.http.httptools_impl:HttpToolsProtocol",
    "WebSocket": "uvicorn.protocols.websockets.auto:AutoWebSocketsProtocol",
    "WebSockets": "uvicorn.protocols.websockets.websockets_impl:WebSocketProtocol",
    "WebSocketsSansIO": (
        "uvicorn.protocols.websockets.websockets_sansio_impl:WebSocketsSansIOProtocol"
    ),
    "WSProto": "uvicorn.protocols.websockets.wsproto_impl:WSProtocol",
}


def install() -> None:
    """Make every uvicorn server of this process speak as policy says. Idempotent.

    Raises:
        SettingsError: this version of uvicorn is not known.
    """
    import uvicorn.server

    stand_in(uvicorn.server)


def ssl_context_factory(config: Any, default: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Return the context for `uvicorn.Config(ssl_context_factory=...)`: mutual TLS and no other."""
    from meshware.servers.context import front_of_this_process

    return front_of_this_process()


def telling(protocol: type[Any]) -> type[Any]:
    """Return a protocol class that tells the app of TLS, made from one of uvicorn's."""

    class Telling(protocol):  # type: ignore[misc]
        app: Any

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            connection = transport.get_extra_info("ssl_object")
            if connection is not None:
                from meshware.servers.tls_extension import with_tls

                self.app = with_tls(self.app, connection)

    Telling.__name__ = Telling.__qualname__ = f"Telling{protocol.__name__}"
    return Telling


def __getattr__(name: str) -> Any:
    # Made when asked for: each of uvicorn's needs another library.
    place = _PROTOCOLS.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from uvicorn.importer import import_from_string

    protocol = import_from_string(place)
    if protocol is None:
        raise AttributeError(f"{place} needs a library that is not installed")
    made = globals()[name] = telling(protocol)
    return made
