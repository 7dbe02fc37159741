"""Every endpoint of an app, as its framework has them: for `meshware check --app`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from meshware.handlers.apps import Kind, behind, class_of
from meshware.handlers.names import written_as
from meshware.policy.handler_coverage import Endpoint
from meshware.policy.inbound_facts import Handler

__all__ = ["endpoints_of"]

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def endpoints_of(app: Any) -> list[Endpoint] | None:
    """Return the endpoints of an app, one for each method; None: it is of no known framework.

    HEAD where GET is, and what a framework answers to OPTIONS by itself, are left out.
    """
    known = behind(app)
    return None if known is None else list(_of_app(known, ""))


def _of_app(known: tuple[Kind, Any] | None, prefix: str) -> Iterator[Endpoint]:
    if known is None:
        yield Endpoint(handler=None, route=f"{prefix}/{{path:path}}", method=None)
        return
    kind, app = known
    if kind is Kind.STARLETTE:
        yield from _of_routes(app.router.routes, prefix)
    elif kind is Kind.ROUTER:
        yield from _of_routes(app.routes, prefix)
    elif kind is Kind.FLASK:
        yield from _of_flask(app, prefix)
    elif kind in (Kind.DJANGO_WSGI, Kind.DJANGO_ASGI):
        yield from _of_django(prefix)
    elif kind is Kind.BRIDGE:
        yield from _of_app(behind(app.app), prefix)
    elif kind is Kind.STATIC:
        from meshware.handlers import starlette

        yield from _each(lambda _: starlette.static_handler(app, prefix), ("GET",), app)


def _of_routes(routes: Iterable[Any], prefix: str) -> Iterator[Endpoint]:
    from meshware.handlers import starlette

    for route in routes:
        if starlette.is_included(route):
            yield from _of_included(route, prefix)
        elif isinstance(route, class_of("starlette.routing", "Mount")):
            yield from _of_app(behind(route.app), prefix + route.path)
        elif isinstance(route, class_of("starlette.routing", "Host")):
            yield from _of_app(behind(route.app), prefix)
        elif starlette.is_route(route):
            yield from _each(
                partial(starlette.handler_of, route, prefix=prefix),
                _methods_of(route),
                route.endpoint,
            )
        else:
            yield Endpoint(handler=None, route=f"{prefix}/{{path:path}}", method=None)


def _of_included(included: Any, prefix: str) -> Iterator[Endpoint]:
    from meshware.handlers import starlette

    api_route = class_of("fastapi.routing", "APIRoute")
    for context in included.effective_route_contexts():
        if isinstance(context.original_route, api_route):
            yield from _each(
                partial(starlette.included_handler, context, prefix=prefix),
                context.methods,
                context.endpoint,
            )
        else:
            yield from _of_routes([context.starlette_route or context.original_route], prefix)


def _methods_of(route: Any) -> Iterable[str] | None:
    if isinstance(route, class_of("starlette.routing", "WebSocketRoute")):
        return ("GET",)  # of the handshake
    if route.methods is None and isinstance(route.endpoint, type):
        return _with_functions(route.endpoint)
    found: Iterable[str] | None = route.methods
    return found


def _with_functions(view_class: type) -> list[str] | None:
    """Return the methods that a class has functions for; None: it has none, and takes any."""
    return [name for name in _METHODS if hasattr(view_class, name.lower())] or None


def _of_flask(app: Any, prefix: str) -> Iterator[Endpoint]:
    from meshware.handlers import flask

    for rule in app.url_map.iter_rules():
        methods = set(rule.methods or ())
        if getattr(rule, "provide_automatic_options", False):
            methods.discard("OPTIONS")
        yield from _each(
            partial(flask.handler_of, app, rule, prefix=prefix),
            methods or None,
            app.view_functions.get(rule.endpoint),
        )


def _of_django(prefix: str) -> Iterator[Endpoint]:
    from meshware.handlers import django

    for view, route in django.patterns_of(sys.modules["django.urls"].get_resolver().url_patterns):
        view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
        methods = _with_functions(view_class) if isinstance(view_class, type) else None
        if methods is not None and "OPTIONS" in methods:
            methods.remove("OPTIONS")  # every view of a class answers it by itself
        yield from _each(
            partial(django.handler_of, view, route, prefix=prefix),
            methods,
            view,
        )


def _each(
    handler_of: Callable[[str], Handler], methods: Iterable[str] | None, endpoint: Any
) -> Iterator[Endpoint]:
    """Yield the endpoint for each of its methods."""
    found = {None} if methods is None else set(methods)
    if "GET" in found:
        found.discard("HEAD")
    file, line = _place_of(endpoint)
    for method in sorted(found, key=_order):
        handler = handler_of(method or "GET")
        braced = [route for route in handler.routes if route.startswith("/")]
        route = (braced or handler.routes)[-1]
        yield Endpoint(handler=handler, route=route, method=method, file=file, line=line)


def _order(method: str | None) -> tuple[int, str]:
    return (_METHODS.index(method), "") if method in _METHODS else (len(_METHODS), method or "")


def _place_of(endpoint: Any) -> tuple[str | None, int | None]:
    """Return the file and line in which an endpoint is written; None where that is not known."""
    try:
        found = inspect.unwrap(written_as(endpoint))
        return inspect.getsourcefile(found), inspect.getsourcelines(found)[1]
    except (OSError, TypeError, ValueError):
        return None, None
