"""Every endpoint of an app, as its framework has them: for `meshware check --app`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from meshware.handlers.apps import Kind, behind, class_of, look_behind
from meshware.handlers.dispatcher import mounted_in
from meshware.handlers.mounts import Place, placed
from meshware.handlers.names import written_as
from meshware.policy.handler_coverage import Endpoint
from meshware.policy.inbound_facts import Handler

__all__ = ["endpoints_of"]

_DEEPEST = 8  # mounts in mounts that are listed
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


def endpoints_of(app: Any) -> list[Endpoint] | None:
    """Return the endpoints of an app, one for each method; None: it is of no known framework.

    HEAD where GET is, and what a framework answers to OPTIONS by itself, are left out.
    """
    known = behind(app)
    return None if known is None else list(_of_app(app, _At()))


@dataclass(frozen=True, slots=True)
class _At:
    """Where something stands in an app: behind which mounts, and where the first mesh is."""

    inner: str = ""  # the templates of mounts behind the mesh, or of all where there is none
    mesh: str | None = None  # the templates of those in front of it; None: there is no mesh
    depth: int = 0  # in mounts; an app may be mounted in itself

    @property
    def prefix(self) -> str:
        return (self.mesh or "") + self.inner

    def below(self, mount: str) -> _At:
        return replace(self, inner=self.inner + mount, depth=self.depth + 1)

    def behind_mesh(self) -> _At:
        return self if self.mesh is not None else _At("", self.inner, self.depth)

    def placed(self, handler: Handler) -> Handler:
        """Return a handler as a mesh there will tell rules of it."""
        return placed(handler, Place(self.mesh or ""))


def _of_app(app: Any, at: _At) -> Iterator[Endpoint]:
    known, has_mesh = look_behind(app)
    if has_mesh:
        at = at.behind_mesh()
    if known is None or at.depth > _DEEPEST:
        yield _unseen(at)
        return
    kind, app = known
    if kind is Kind.STARLETTE:
        if look_behind(app.router)[1]:
            at = at.behind_mesh()
        yield from _of_routes(app.router.routes, at)
    elif kind is Kind.ROUTER:
        yield from _of_routes(app.routes, at)
    elif kind is Kind.FLASK:
        yield from _of_flask(app, at)
    elif kind in (Kind.DJANGO_WSGI, Kind.DJANGO_ASGI):
        yield from _of_django(at)
    elif kind is Kind.BRIDGE:
        yield from _of_app(app.app, at)
    elif kind is Kind.DISPATCHER:
        for inner, mount in mounted_in(app):
            yield from _of_app(inner, at.below(mount))
    elif kind is Kind.STATIC:
        from meshware.handlers import starlette

        yield from _each(lambda _: starlette.static_handler(app, at.inner), ("GET",), app, at)


def _unseen(at: _At) -> Endpoint:
    route = f"{at.prefix}/{{path:path}}"
    return Endpoint(handler=None, route=route, method=None, has_mesh=at.mesh is not None)


def _of_routes(routes: Iterable[Any], at: _At) -> Iterator[Endpoint]:
    from meshware.handlers import starlette

    for route in routes:
        if starlette.is_included(route):
            yield from _of_included(route, at)
        elif isinstance(route, class_of("starlette.routing", "Mount")):
            yield from _of_app(route.app, at.below(route.path))
        elif isinstance(route, class_of("starlette.routing", "Host")):
            yield from _of_app(route.app, at)
        elif starlette.is_route(route):
            yield from _each(
                partial(starlette.handler_of, route, prefix=at.inner),
                _methods_of(route),
                route.endpoint,
                at,
            )
        else:
            yield _unseen(at)


def _of_included(included: Any, at: _At) -> Iterator[Endpoint]:
    from meshware.handlers import starlette

    api_route = class_of("fastapi.routing", "APIRoute")
    for context in included.effective_route_contexts():
        if isinstance(context.original_route, api_route):
            yield from _each(
                partial(starlette.included_handler, context, prefix=at.inner),
                context.methods,
                context.endpoint,
                at,
            )
        else:
            yield from _of_routes([context.starlette_route or context.original_route], at)


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


def _of_flask(app: Any, at: _At) -> Iterator[Endpoint]:
    from meshware.handlers import flask

    for rule in app.url_map.iter_rules():
        methods = set(rule.methods or ())
        if getattr(rule, "provide_automatic_options", False):
            methods.discard("OPTIONS")
        yield from _each(
            partial(flask.handler_of, app, rule, prefix=at.inner),
            methods or None,
            app.view_functions.get(rule.endpoint),
            at,
        )


def _of_django(at: _At) -> Iterator[Endpoint]:
    from meshware.handlers import django

    for view, route in django.patterns_of(sys.modules["django.urls"].get_resolver().url_patterns):
        view_class = getattr(view, "view_class", None) or getattr(view, "cls", None)
        methods = _with_functions(view_class) if isinstance(view_class, type) else None
        if methods is not None and "OPTIONS" in methods:
            methods.remove("OPTIONS")  # every view of a class answers it by itself
        yield from _each(
            partial(django.handler_of, view, route, prefix=at.inner),
            methods,
            view,
            at,
        )


def _each(
    handler_of: Callable[[str], Handler], methods: Iterable[str] | None, endpoint: Any, at: _At
) -> Iterator[Endpoint]:
    """Yield the endpoint for each of its methods."""
    found = {None} if methods is None else set(methods)
    if "GET" in found:
        found.discard("HEAD")
    file, line = _place_of(endpoint)
    for method in sorted(found, key=_order):
        handler = at.placed(handler_of(method or "GET"))
        braced = [route for route in handler.routes if route.startswith("/")]
        yield Endpoint(
            handler=handler,
            route=(braced or handler.routes)[-1],
            method=method,
            file=file,
            line=line,
            has_mesh=at.mesh is not None,
        )


def _order(method: str | None) -> tuple[int, str]:
    return (_METHODS.index(method), "") if method in _METHODS else (len(_METHODS), method or "")


def _place_of(endpoint: Any) -> tuple[str | None, int | None]:
    """Return the file and line in which an endpoint is written; None where that is not known."""
    try:
        found = inspect.unwrap(written_as(endpoint))
        return inspect.getsourcefile(found), inspect.getsourcelines(found)[1]
    except (OSError, TypeError, ValueError):
        return None, None
