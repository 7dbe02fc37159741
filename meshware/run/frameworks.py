"""Bring the mesh into frameworks, for the servers that are not known: the app's own entrance.

Within a call that the mesh has decided already, by its server or by a `MeshMiddleware` of the
app's own, the entrance is as it was.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from meshware.call import Call
from meshware.run.wrapping import around_asgi, around_wsgi, carry_calls, replace, root_path

__all__ = ["hook_bridge", "hook_fastapi", "hook_flask", "hook_starlette"]

_KEY = "meshware"


def hook_flask(app: ModuleType) -> None:
    """Flask: `app(...)`, and `app.wsgi_app(...)` for those who wrap that."""
    for name in ("__call__", "wsgi_app"):
        replace(app.Flask, name, _wsgi_entrance)


def hook_starlette(applications: ModuleType) -> None:
    """Starlette; not where it builds its middleware, which FastAPI and others override."""
    replace(applications.Starlette, "__call__", _asgi_entrance)


def hook_fastapi(applications: ModuleType) -> None:
    """FastAPI, whose own entrance does more before it comes to Starlette's."""
    if "__call__" in vars(applications.FastAPI):
        replace(applications.FastAPI, "__call__", _asgi_entrance)


def hook_bridge(module: ModuleType) -> None:
    """An adapter of WSGI apps to ASGI: what is decided in the scope is decided in the environ.

    The app behind would otherwise be asked for again, without connection and peer.
    """
    for name in ("build_environ", "_build_environ"):
        if hasattr(module, name):
            replace(module, name, _telling_environ)


def _wsgi_entrance(original: Any) -> Any:
    def entrance(self: Any, environ: Any, start_response: Any) -> Any:
        if isinstance(environ.get(_KEY), Call):
            return original(self, environ, start_response)
        carry_calls()
        return around_wsgi(original.__get__(self))(environ, start_response)

    return entrance


def _asgi_entrance(original: Any) -> Any:
    async def entrance(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if isinstance(scope.get(_KEY), Call):
            await original(self, scope, receive, send)
            return
        carry_calls()
        await around_asgi(original.__get__(self), root_path(self))(scope, receive, send)

    return entrance


def _telling_environ(build_environ: Any) -> Any:
    def build_with_call(scope: Any, *arguments: Any) -> Any:
        environ = build_environ(scope, *arguments)
        call = scope.get(_KEY)
        if isinstance(call, Call):
            environ[_KEY] = call
        return environ

    return build_with_call
