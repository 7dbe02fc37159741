"""Put the mesh around apps and the functions that call them, once."""

from __future__ import annotations

import functools
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from meshware.wsgi import MeshMiddleware as WsgiMesh

__all__ = ["around_asgi", "around_wsgi", "carry_calls", "replace", "root_path"]

_MARK = "_meshware_run"
_DEEPEST = 16  # wrappers around an app; more is a ring


def replace(owner: Any, name: str, make: Callable[[Any], Callable[..., Any]]) -> None:
    """Replace a function of a module or class by one made from it. Does so once.

    Args:
        owner: the module or class.
        name: the function's name.
        make: gets the function, and returns the one in its place.

    Raises:
        AttributeError: it is not there, so this version is one that nobody tried.
    """
    original = getattr(owner, name)
    if hasattr(original, _MARK):
        return
    made = functools.wraps(original)(make(original))
    setattr(made, _MARK, True)
    setattr(owner, name, made)


def carry_calls() -> None:
    """Have threads and executors carry the current call from here on."""
    from meshware.runtime.context import install

    install()


def around_wsgi(app: Any) -> WsgiMesh:
    """Return a WSGI app that lets the mesh decide before `app` sees a call."""
    from meshware.wsgi import MeshMiddleware

    return app if isinstance(app, MeshMiddleware) else MeshMiddleware(app)


def around_asgi(app: Any, root: str | None = None) -> Callable[..., Awaitable[None]]:
    """Return an ASGI app that lets the mesh decide before `app` sees a call.

    Args:
        app: what is to be called.
        root: what FastAPI will make the call's root path; None: look for it.
    """
    from meshware.asgi import MeshMiddleware

    mesh = app if isinstance(app, MeshMiddleware) else MeshMiddleware(app)
    if root is None:
        root = root_path(app)
    return _Rooted(mesh, root) if root else mesh


def root_path(app: Any) -> str:
    """Return the prefix without which an app routes, by `FastAPI(root_path=...)`; "" for none.

    FastAPI notes it in the scope when it is called. The rules are asked before, and have to see
    the path as it does: `/api/admin` is `/admin` there.
    """
    fastapi = sys.modules.get("fastapi")
    if fastapi is None:
        return ""
    for _ in range(_DEEPEST):
        if isinstance(app, fastapi.FastAPI):
            return str(app.root_path or "")
        app = getattr(app, "app", None)
        if app is None:
            break
    return ""


class _Rooted:
    """Sets a scope's `root_path`, as FastAPI will do itself."""

    def __init__(self, app: Callable[..., Awaitable[None]], root: str) -> None:
        self.app = app
        self._root = root

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = {**scope, "root_path": self._root}
        await self.app(scope, receive, send)
