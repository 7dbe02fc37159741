"""What Django runs for a request, by its own URL configuration, and the check before it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any

from meshware.handlers.found import BODY, KEY, Found, lets
from meshware.handlers.guards import guard
from meshware.handlers.names import documented_id, function_names, plain, plain_regex
from meshware.handlers.remembered import remembered
from meshware.policy.inbound_facts import Handler

__all__ = ["find_by_environ", "find_by_scope", "handler_of", "patterns_of"]


def find_by_environ(handler: Any, environ: dict[str, Any], prefix: str = "") -> Found:
    """Return what Django's WSGI handler runs.

    Args:
        handler: Django's.
        environ: the server's.
        prefix: the template under which it is mounted.
    """
    path = sys.modules["django.core.handlers.wsgi"].get_path_info(environ) or "/"
    return _find(type(handler), path, environ["REQUEST_METHOD"], prefix)


def find_by_scope(handler: Any, scope: dict[str, Any], prefix: str = "") -> Found:
    """Return what Django's ASGI handler runs."""
    script = sys.modules["django.core.handlers.asgi"].get_script_prefix(scope)
    path = scope["path"].removeprefix(script) if script else scope["path"]
    return _find(type(handler), path, scope["method"], prefix)


def _find(handler_class: type, path: str, method: str, prefix: str) -> Found:
    guard(handler_class, "resolve_request", _checked)
    urls = sys.modules["django.urls"]
    with _language_of(path):
        try:
            match = urls.get_resolver().resolve(path)
        except urls.Resolver404:
            return Found(())
    handler = remembered(
        match.func,
        (match.route, method, prefix),
        lambda: handler_of(match.func, match.route, method, prefix),
    )
    return Found((handler,), (_token(match),), (match.func,))


def _token(match: Any) -> tuple[int, str]:
    return id(match.func), match.route


def _language_of(path: str) -> AbstractContextManager[object]:
    """Return the language in which Django will resolve a path, as its LocaleMiddleware says."""
    settings = sys.modules["django.conf"].settings
    if not settings.USE_I18N:
        return nullcontext()
    translation = import_module("django.utils.translation")
    found = translation.get_language_from_path(path) or settings.LANGUAGE_CODE
    made: AbstractContextManager[object] = translation.override(found)
    return made


def handler_of(view: Any, route: str, method: str, prefix: str) -> Handler:
    """Return the names of a view.

    Args:
        view: the function behind a pattern.
        route: as `ResolverMatch.route` has it, without a leading slash.
        method: of the request.
        prefix: of the mount.
    """
    documented = documented_id(view, method)
    return Handler(
        routes=route_names(route, prefix),
        functions=function_names(view),
        # Django has no OpenAPI of its own, and what adds it keeps IDs in places of its own.
        operation_ids=None if documented is None else (documented,),
    )


def route_names(route: str, prefix: str) -> tuple[str, ...]:
    """Return how policy may write a route: as Django does, and as a path with plain braces."""
    braced = plain_template(route)
    names = [f"{prefix}/{route}" if prefix else route]
    if braced is not None:
        names.append(f"{prefix}/{braced}")
    return tuple(dict.fromkeys(names))


def plain_template(route: str) -> str | None:
    """Return a route with plain braces; None: a regular expression that has no template."""
    if not any(char in route for char in "^$(\\"):
        return plain(route)
    return plain_regex(route)


def _checked(resolve: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `resolve_request` whose view runs only if the call was decided for it."""

    def resolve_if_decided(self: Any, request: Any) -> Any:
        match = resolve(self, request)
        scope = getattr(request, "scope", None)
        call = (request.META if scope is None else scope).get(KEY)
        if not lets(call, _token(match), request.method):
            raise sys.modules["django.core.exceptions"].PermissionDenied(BODY)
        return match

    return resolve_if_decided


def patterns_of(patterns: Any, route: str = "") -> Iterator[tuple[Any, str]]:
    """Yield each view below some URL patterns, with its route as `ResolverMatch.route` has it."""
    for pattern in patterns:
        own = str(pattern.pattern)
        here = route + own.removeprefix("^") if route else own  # as Django joins them
        below = getattr(pattern, "url_patterns", None)
        if below is None:
            yield pattern.callback, here
        else:
            yield from patterns_of(below, here)
