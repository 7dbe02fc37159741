"""Ask the framework behind the mesh what it would run for a request.

The request is asked about as the app will see it, on a copy: whatever a router notes in it stays
with the copy.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from dataclasses import replace
from typing import Any

from meshware.handlers.apps import Kind, behind
from meshware.handlers.dispatcher import chosen
from meshware.handlers.found import UNKNOWN, Found
from meshware.handlers.mounts import (
    Passed,
    Place,
    before_mounts,
    place_in_environ,
    place_in_scope,
    placed,
)

__all__ = ["find_by_environ", "find_by_scope", "find_from", "moved", "passed_from"]


def find_by_scope(app: Any, scope: MutableMapping[str, Any], path: str | None) -> Found:
    """Return what is run for an ASGI call.

    Args:
        app: behind the mesh.
        scope: the server's.
        path: that the app sees instead of the scope's, decoded; None: the scope's.
    """
    known = behind(app) or _outer(app, scope)
    if known is None:
        return UNKNOWN
    asked = dict(scope)
    if path is not None:
        asked["path"] = path
    found = _in_scope(*known, asked, "")
    return _placed(found, place_in_scope(scope, known[1], passed_from)) if found.handlers else found


def find_by_environ(app: Any, environ: dict[str, Any], path: str | None) -> Found:
    """Return what is run for a WSGI call; the arguments are those of `find_by_scope`."""
    known = behind(app)
    if known is None:
        return UNKNOWN
    asked = dict(environ)
    if path is not None:
        asked["SCRIPT_NAME"], asked["PATH_INFO"] = moved(environ.get("SCRIPT_NAME", ""), path)
    found = _in_environ(*known, asked, "")
    return _placed(found, place_in_environ(environ, passed_from)) if found.handlers else found


def find_from(router: Any, scope: Mapping[str, Any]) -> Found:
    """Return what is run for a call that Starlette has routed, from its outermost router on."""
    return _in_scope(Kind.ROUTER, router, before_mounts(scope), "")


def _placed(found: Found, place: Place) -> Found:
    handlers = tuple(placed(handler, place) for handler in found.handlers or ())
    return replace(found, handlers=handlers)


def passed_from(router: Any, scope: dict[str, Any]) -> Passed:
    """Return what a request passes from a router of Starlette's on."""
    from meshware.handlers import starlette

    return starlette.passed(router, scope, _in_scope)


def moved(prefix: str, path: str) -> tuple[str, str]:
    """Return SCRIPT_NAME and PATH_INFO for a path in place of the one received.

    Args:
        prefix: SCRIPT_NAME as received.
        path: decoded, the prefix included.
    """
    as_wsgi = path.encode("utf-8", "surrogateescape").decode("latin-1")
    rest = as_wsgi.removeprefix(prefix)
    if not as_wsgi.startswith(prefix) or rest[:1] not in ("", "/"):
        return "", as_wsgi  # the dots led out of where the app is mounted
    return prefix, rest


def _outer(app: Any, scope: MutableMapping[str, Any]) -> tuple[Kind, Any] | None:
    """Return the Starlette app of whose middleware the mesh is.

    What else is among its middleware may be a function, behind which nothing can be seen.
    """
    outer = scope.get("app")
    known = behind(outer) if outer is not None else None
    if known is None or known[0] is not Kind.STARLETTE:
        return None
    mesh = sys.modules["meshware.asgi.middleware"].MeshMiddleware
    classes = [getattr(one, "cls", None) for one in getattr(outer, "user_middleware", ())]
    return known if mesh in classes else None


def _in_scope(kind: Kind, app: Any, scope: dict[str, Any], prefix: str) -> Found:
    if kind in (Kind.STARLETTE, Kind.ROUTER, Kind.STATIC):
        from meshware.handlers import starlette

        return starlette.find(kind, app, scope, _in_scope)
    if kind is Kind.DJANGO_ASGI:
        from meshware.handlers import django

        return django.find_by_scope(app, scope, prefix)
    if kind is Kind.BRIDGE and scope["type"] == "http":
        known = behind(app.app)
        environ = _environ_of(app, scope)
        if known is not None and environ is not None:
            return _in_environ(*known, environ, prefix)
    return UNKNOWN


def _in_environ(kind: Kind, app: Any, environ: dict[str, Any], prefix: str) -> Found:
    if kind is Kind.FLASK:
        from meshware.handlers import flask

        return flask.find(app, environ, prefix)
    if kind is Kind.DJANGO_WSGI:
        from meshware.handlers import django

        return django.find_by_environ(app, environ, prefix)
    if kind is Kind.DISPATCHER:
        inner, asked, mount = chosen(app, environ)
        known = behind(inner)
        return UNKNOWN if known is None else _in_environ(*known, asked, prefix + mount)
    return UNKNOWN


def _environ_of(bridge: Any, scope: dict[str, Any]) -> dict[str, Any] | None:
    """Return the environ that a bridge will make of a scope, by the bridge's own function."""
    module = type(bridge).__module__
    build = getattr(sys.modules.get(module), "build_environ", None)
    if build is None:
        return None
    import io

    body: tuple[Any, ...] = (b"",) if module.startswith("starlette") else ({}, io.BytesIO())
    environ: dict[str, Any] = build(scope, *body)
    return environ
