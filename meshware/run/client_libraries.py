"""Bring the mesh into client libraries: sessions and clients made from now on go through it.

What an app has chosen itself stays: a transport, an adapter, a middleware of the mesh's own, or a
setting of httpx that only its own transport knows. Exporters of spans go through the mesh like
anyone: no spans are made of their calls, and a switch of telemetry must not lead past policy.
"""

from __future__ import annotations

import inspect
import logging
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
            from meshware.clients.requests import MeshAdapter

            for scheme in ("http://", "https://"):
                self.mount(scheme, MeshAdapter())

        return init_with_mesh

    replace(sessions.Session, "__init__", init_of)


def hook_httpx(module: ModuleType) -> None:
    """httpx and httpx2: clients that name no transport, nor anything that only one would know."""

    def init_of(name: str) -> Any:
        def make(init: Any) -> Any:
            defaults = {
                each.name: each.default
                for each in inspect.signature(init).parameters.values()
                if each.name in _TRANSPORT_ARGUMENTS
            }

            def init_with_mesh(self: Any, *arguments: Any, **named: Any) -> None:
                from meshware.clients import httpx

                ours = getattr(httpx, name)
                own = [
                    one
                    for one, default in defaults.items()
                    if one in named and named[one] is not default and named[one] is not None
                ]
                if not own:
                    named["transport"] = ours()
                elif not isinstance(named.get("transport"), ours):
                    _tell_left_out(module.__name__)
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


_told: set[str] = set()


def _tell_left_out(library: str) -> None:
    if library not in _told:
        _told.add(library)
        _log.warning(
            "a client of %s brings its own transport or settings of one, so its calls are not in "
            "the mesh; give it meshware.clients.httpx.MeshTransport() to bring them in",
            library,
        )
