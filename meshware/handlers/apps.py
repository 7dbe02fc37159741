"""Which framework stands behind an app: through wrappers, to the first one that can be asked.

Only frameworks that the process has imported already are looked for; nothing is imported here.
"""

from __future__ import annotations

import sys
from enum import Enum, auto
from functools import partial
from types import MethodType
from typing import Any

__all__ = ["Kind", "behind", "class_of", "is_mesh", "look_behind"]

_DEEPEST = 32  # wrappers around an app; more is a ring

_NEXT = ("app", "application", "wsgi_app")
"""Where middleware keeps what it wraps."""


class Kind(Enum):
    """What can be asked for its handlers."""

    STARLETTE = auto()  # an application, FastAPI's too
    ROUTER = auto()  # of Starlette or FastAPI
    STATIC = auto()  # Starlette's StaticFiles
    BRIDGE = auto()  # from ASGI to WSGI
    DISPATCHER = auto()  # werkzeug's, which calls one of several apps
    FLASK = auto()
    DJANGO_WSGI = auto()
    DJANGO_ASGI = auto()


_CLASSES = (
    (Kind.STARLETTE, "starlette.applications", "Starlette"),
    (Kind.ROUTER, "starlette.routing", "Router"),
    (Kind.STATIC, "starlette.staticfiles", "StaticFiles"),
    (Kind.BRIDGE, "starlette.middleware.wsgi", "WSGIMiddleware"),
    (Kind.BRIDGE, "uvicorn.middleware.wsgi", "_WSGIMiddleware"),
    (Kind.DISPATCHER, "werkzeug.middleware.dispatcher", "DispatcherMiddleware"),
    (Kind.FLASK, "flask.app", "Flask"),
    (Kind.DJANGO_WSGI, "django.core.handlers.wsgi", "WSGIHandler"),
    (Kind.DJANGO_ASGI, "django.core.handlers.asgi", "ASGIHandler"),
)
_MESHES = (
    ("meshware.asgi.middleware", "MeshMiddleware"),
    ("meshware.wsgi.middleware", "MeshMiddleware"),
)


def class_of(module: str, name: str) -> Any:
    """Return a class of a module that is imported already; None: there is none."""
    return getattr(sys.modules.get(module), name, None)


def behind(app: Any) -> tuple[Kind, Any] | None:
    """Return the first thing behind an app that can be asked; None: nothing of what is known."""
    return look_behind(app)[0]


def look_behind(app: Any) -> tuple[tuple[Kind, Any] | None, bool]:
    """Return what is behind an app, as `behind`, and whether a mesh stands before it."""
    has_mesh = False
    flask: tuple[Kind, Any] | None = None
    for _ in range(_DEEPEST):
        is_entrance = False
        if isinstance(app, MethodType):
            # `wsgi_app` of Flask's, or what hooks have put in its place, and not `__call__`.
            is_entrance = getattr(app.__func__, "__name__", "") != "__call__"
            app = app.__self__
        elif isinstance(app, partial):
            app = app.func
        has_mesh = has_mesh or is_mesh(type(app))
        kind = _kind_of(app)
        if kind is Kind.FLASK and not is_entrance and "wsgi_app" in vars(app):
            # What is put in the place of its entrance may choose among apps.
            flask, app = (kind, app), app.wsgi_app
            continue
        if kind is Kind.DISPATCHER and _is_changed(app):
            return flask, has_mesh
        if kind is not None:
            return (kind, app), has_mesh or (kind is not Kind.FLASK and _has_mesh(app))
        for name in _NEXT:
            wrapped = getattr(app, name, None)
            if callable(wrapped):
                app = wrapped
                break
        else:
            return flask, has_mesh
    return flask, has_mesh


def is_mesh(found: Any) -> bool:
    """Say whether a class is the mesh's middleware."""
    meshes = [class_of(module, name) for module, name in _MESHES]
    return isinstance(found, type) and any(
        isinstance(mesh, type) and issubclass(found, mesh) for mesh in meshes
    )


def _has_mesh(app: Any) -> bool:
    """Say whether a mesh is among the middleware of an application or a router of Starlette's."""
    if any(is_mesh(getattr(one, "cls", None)) for one in getattr(app, "user_middleware", ())):
        return True
    entrance = getattr(app, "middleware_stack", None)  # of an application once it has been called
    for _ in range(_DEEPEST):
        if entrance is None or isinstance(entrance, MethodType):
            return False
        if is_mesh(type(entrance)):
            return True
        entrance = getattr(entrance, "app", None)
    return False


def _is_changed(dispatcher: Any) -> bool:
    """Say whether a dispatcher chooses in a way of its own."""
    known = class_of("werkzeug.middleware.dispatcher", "DispatcherMiddleware")
    return type(dispatcher).__call__ is not known.__call__


def _kind_of(app: Any) -> Kind | None:
    for kind, module, name in _CLASSES:
        known = class_of(module, name)
        if isinstance(known, type) and isinstance(app, known):
            return kind
    return None
