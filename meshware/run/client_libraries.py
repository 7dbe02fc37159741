"""Bring the mesh into client libraries: sessions and clients made from now on go through it.

What an app has chosen itself stays: a transport, an adapter, a middleware of the mesh's own, or a
setting of httpx that only its own transport knows. Code that wants no spans of its own (an exporter
that sends them) goes by the mesh too: it would otherwise wait for itself.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

from meshware.run.wrapping import replace

__all__ = ["CLIENTS", "hook_aiohttp", "hook_httpx", "hook_requests"]

CLIENTS = {
    "requests.sessions": "meshware.run.client_libraries:hook_requests",
    "httpx": "meshware.run.client_libraries:hook_httpx",
    "httpx2": "meshware.run.client_libraries:hook_httpx",
    "aiohttp.client": "meshware.run.client_libraries:hook_aiohttp",
}
"""The modules that are waited for; see `meshware.run.hooks.HOOKS`."""

_log = logging.getLogger("meshware")

# Arguments of httpx clients that they hand to a transport of their own making.
_TRANSPORT_ARGUMENTS = ("transport", "mounts", "verify", "cert", "http1", "http2", "proxy", "app")


def hook_requests(sessions: ModuleType) -> None:
    """requests: each session gets the adapter, which the app may still replace."""

    def init_of(init: Any) -> Any:
        def init_with_mesh(self: Any, *arguments: Any, **named: Any) -> None:
            init(self, *arguments, **named)
            if _is_exporting():
                return
            from meshware.clients.requests import MeshAdapter

            for scheme in ("http://", "https://"):
                self.mount(scheme, MeshAdapter())

        return init_with_mesh

    def send_of(send: Any) -> Any:
        def send_past_exporters(self: Any, request: Any, **named: Any) -> Any:
            if not _is_exporting():
                return send(self, request, **named)
            from requests.adapters import HTTPAdapter

            from meshware.clients.requests import MeshAdapter

            if not isinstance(self.get_adapter(request.url), MeshAdapter):
                return send(self, request, **named)
            adapters = self.adapters
            self.adapters = {"http://": HTTPAdapter(), "https://": HTTPAdapter()}
            try:
                return send(self, request, **named)
            finally:
                self.adapters = adapters

        return send_past_exporters

    replace(sessions.Session, "__init__", init_of)
    replace(sessions.Session, "send", send_of)


def hook_httpx(module: ModuleType) -> None:
    """httpx and httpx2: clients that name no transport, nor anything that only one would know."""

    def init_of(name: str) -> Any:
        def make(init: Any) -> Any:
            def init_with_mesh(self: Any, *arguments: Any, **named: Any) -> None:
                if any(named.get(one) is not None for one in _TRANSPORT_ARGUMENTS):
                    _tell_left_out(module.__name__)
                elif not _is_exporting():
                    from meshware.clients import httpx

                    named["transport"] = getattr(httpx, name)()
                init(self, *arguments, **named)

            return init_with_mesh

        return make

    replace(module.Client, "__init__", init_of("MeshTransport"))
    replace(module.AsyncClient, "__init__", init_of("AsyncMeshTransport"))


def hook_aiohttp(client: ModuleType) -> None:
    """aiohttp: each session gets the middleware, behind those of the app's own."""

    def init_of(init: Any) -> Any:
        def init_with_mesh(self: Any, *arguments: Any, **named: Any) -> None:
            from meshware.clients.aiohttp import MeshClientMiddleware

            own = tuple(named.get("middlewares") or ())
            if not any(isinstance(one, MeshClientMiddleware) for one in own):
                named["middlewares"] = (*own, MeshClientMiddleware())
            init(self, *arguments, **named)

        return init_with_mesh

    replace(client.ClientSession, "__init__", init_of)


def _is_exporting() -> bool:
    """Say whether the code that runs now sends spans."""
    context = sys.modules.get("opentelemetry.context")
    return context is not None and bool(context.get_value(context._SUPPRESS_INSTRUMENTATION_KEY))


_told: set[str] = set()


def _tell_left_out(library: str) -> None:
    if library not in _told:
        _told.add(library)
        _log.warning(
            "a client of %s brings its own transport or settings of one, so its calls are not in "
            "the mesh; give it meshware.clients.httpx.MeshTransport() to bring them in",
            library,
        )
