"""Which framework stands behind an app: through wrappers, to the first one that can be asked.

Only frameworks that the process has imported already are looked for; nothing is imported here.
"""

from __future__ import annotations

import sys
from enum import Enum, auto
from functools import partial
from types import MethodType
from typing import Any

__all__ = ["Kind", "behind", "class_of"]

_DEEPEST = 32  # wrappers around an app; more is a ring

_NEXT = ("app", "application", "wsgi_app")
"""Where middleware keeps what it wraps."""


class Kind(Enum):
    """What can be asked for its handlers."""

    STARLETTE = auto()  # an application, FastAPI's too
    ROUTER = auto()  # of Starlette or FastAPI
    STATIC = auto()  # Starlette's StaticFiles
    BRIDGE = auto()  # from ASGI to WSGI
    FLASK = auto()
    DJANGO_WSGI = auto()
    DJANGO_ASGI = auto()


_CLASSES = (
    (Kind.STARLETTE, "starlette.applications", "Starlette"),
    (Kind.ROUTER, "starlette.routing", "Router"),
    (Kind.STATIC, "starlette.staticfiles", "StaticFiles"),
    (Kind.BRIDGE, "starlette.middleware.wsgi", "WSGIMiddleware"),
    (Kind.BRIDGE, "uvicorn.middleware.wsgi", "_WSGIMiddleware"),
    (Kind.FLASK, "flask.app", "Flask"),
    (Kind.DJANGO_WSGI, "django.core.handlers.wsgi", "WSGIHandler"),
    (Kind.DJANGO_ASGI, "django.core.handlers.asgi", "ASGIHandler"),
)
_CHOOSING = (("werkzeug.middleware.dispatcher", "DispatcherMiddleware"),)
"""Wrappers that call one of several apps: which one is not known before."""


def class_of(module: str, name: str) -> Any:
    """Return a class of a module that is imported already; None: there is none."""
    return getattr(sys.modules.get(module), name, None)


def behind(app: Any) -> tuple[Kind, Any] | None:
    """Return the first thing behind an app that can be asked; None: nothing of what is known."""
    for _ in range(_DEEPEST):
        if isinstance(app, MethodType):
            app = app.__self__
        elif isinstance(app, partial):
            app = app.func
        kind = _kind_of(app)
        if kind is not None:
            return kind, app
        if _chooses(app):
            return None
        for name in _NEXT:
            wrapped = getattr(app, name, None)
            if callable(wrapped):
                app = wrapped
                break
        else:
            return None
    return None


def _kind_of(app: Any) -> Kind | None:
    for kind, module, name in _CLASSES:
        known = class_of(module, name)
        if isinstance(known, type) and isinstance(app, known):
            return kind
    return None


def _chooses(app: Any) -> bool:
    return any(
        isinstance(known, type) and isinstance(app, known)
        for known in (class_of(module, name) for module, name in _CHOOSING)
    )
