"""The route of a call once its framework has routed it, by the name that rules know it by.

Telemetry and apps ask for it on every call, so the routers are asked once more only behind mounts,
and then once for each route and path of mounts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from meshware.handlers.forecast import find_from, passed_from
from meshware.handlers.mounts import mounts_in_environ, mounts_of
from meshware.handlers.names import joined

__all__ = ["template_of_environ", "template_of_scope"]

_MOST = 1000
_known: dict[Hashable, tuple[object, str]] = {}


def template_of_scope(scope: Mapping[str, Any]) -> str | None:
    """Return the template that Starlette or FastAPI chose; None: there is none (yet)."""
    route = scope.get("route")
    if route is None:
        return None
    chosen = _in_full(route, scope)
    template = getattr(chosen, "path_format", None) or getattr(chosen, "path", None)
    if not isinstance(template, str):
        return None
    mounts = mounts_of(scope)
    if mounts and not hasattr(route, "endpoint"):  # a mount, with nothing behind it that is known
        path = getattr(route, "path", "")
        if scope.get("path_params") or not mounts.endswith(path):
            return None
        return mounts[: len(mounts) - len(path)] + template
    if not mounts:
        return template
    place = id(chosen), mounts
    found = _known.get(place)
    if found is not None:
        return found[1]
    asked = _asked(scope)
    if asked is not None:  # a call in a method that the route has not may come first
        if len(_known) >= _MOST:
            _known.clear()
        _known[place] = chosen, asked  # the chosen is kept, so that its id stays its own
    return asked


def _asked(scope: Mapping[str, Any]) -> str | None:
    try:
        handlers = find_from(scope["router"], scope).handlers
    except Exception:  # a router's mistake is the app's to tell, and harms no call by being asked
        return None
    return handlers[0].routes[-1] if handlers else None


def _in_full(route: Any, scope: Mapping[str, Any]) -> Any:
    """Return what holds a route's template: with the prefixes under which FastAPI includes it."""
    ours = scope.get("fastapi")
    context = ours.get("effective_route_context") if isinstance(ours, dict) else None
    return context if getattr(context, "original_route", None) is route else route


def template_of_environ(environ: Mapping[str, Any]) -> str | None:
    """Return the URL rule that Flask (werkzeug) chose; None: there is none (yet, any more)."""
    rule = getattr(environ.get("werkzeug.request"), "url_rule", None)
    template = getattr(rule, "rule", None)
    if not isinstance(template, str):
        return None
    try:
        mounts = mounts_in_environ(environ, passed_from)
    except Exception:  # as in `_asked`
        return None
    return None if mounts is None else joined(mounts, template)
