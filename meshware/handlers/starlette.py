"""What Starlette and FastAPI run for a request, by their own routes, and the check before it runs.

The way through an app is followed as its routers do: mounts, hosts, included routers, apps within
apps. Each route that is passed has a `handle`; those of the route classes are wrapped when a rule
first asks, and let a call go only the way that was found for it.

Attributes of FastAPI's included routers are its own matter and may change; where they are not as
known, nothing is known, and nothing is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any

from meshware.handlers.apps import Kind, behind, class_of
from meshware.handlers.found import BODY, KEY, UNKNOWN, Found, lets
from meshware.handlers.guards import guard
from meshware.handlers.mounts import Passed
from meshware.handlers.names import documented_id, function_names, joined, template_names
from meshware.handlers.remembered import remembered
from meshware.policy.inbound_facts import Handler

__all__ = [
    "find", "handler_of", "included_handler", "is_included", "is_route", "passed", "static_handler",
]  # fmt: skip

Scope = dict[str, Any]
FindOther = Callable[[Kind, Any, Scope, str], Found]

_FASTAPI = "fastapi"  # where FastAPI keeps what it knows of a call in the scope


def find(kind: Kind, app: Any, scope: Scope, find_other: FindOther) -> Found:
    """Return what an app runs.

    Args:
        kind: of the app.
        app: an application or a router.
        scope: a copy of the server's, which is changed.
        find_other: is asked about apps of other frameworks that are mounted, with the prefix.
    """
    return _Way(scope, find_other).in_app((kind, app), "")


def passed(router: Any, scope: Scope, find_other: FindOther) -> Passed:
    """Return what a request passes from a router on; see `find`."""
    way = _Way(scope, find_other)
    way.in_app((Kind.ROUTER, router), "")
    return way.passed


class _Way:
    """One request's way through routers."""

    def __init__(self, scope: Scope, find_other: FindOther) -> None:
        self._scope = scope
        self._find_other = find_other
        self._steps: list[Any] = []
        self.passed: Passed = []

    def in_app(self, known: tuple[Kind, Any] | None, prefix: str) -> Found:
        """Go on with what is mounted."""
        if known is None:
            return UNKNOWN
        kind, app = known
        if kind is Kind.STARLETTE:
            if getattr(app, "root_path", ""):
                self._scope["root_path"] = app.root_path  # as FastAPI does
            self._scope["app"] = app
            self._pass(kind, app, prefix)
            self._pass(kind, app.router, prefix)
            return self._in_router(app.router, prefix)
        self._pass(kind, app, prefix)
        if kind is Kind.ROUTER:
            return self._in_router(app, prefix)
        if kind is Kind.STATIC:
            return self._ends_at(static_handler(app, prefix))
        found = self._find_other(kind, app, self._scope, prefix)
        if found.handlers is None:
            return UNKNOWN
        return Found(found.handlers, (*self._tokens(), *found.way), (*self._steps, *found.keeps))

    def _pass(self, kind: Kind, app: object, prefix: str) -> None:
        self.passed.append((kind, app, prefix, self._scope.get("root_path", "")))

    def _in_router(self, router: Any, prefix: str) -> Found:
        match = class_of("starlette.routing", "Match")
        partial = None
        _guard_routes(router)
        for route in router.routes:
            fits, child = route.matches(self._scope)
            if fits is match.FULL:
                return self._at(route, child, prefix)
            if fits is match.PARTIAL and partial is None:
                partial = route, child
        if partial is not None:
            return self._refused_at(*partial)
        for _ in getattr(router, "_iter_low_priority_routes", tuple)():
            return UNKNOWN  # FastAPI's frontends; which file it would be is theirs to say
        default = getattr(router.default, "__func__", None)
        if default is not getattr(type(router), "not_found", None):
            return UNKNOWN
        return self._nothing()

    def _at(self, route: Any, child: Scope, prefix: str) -> Found:
        """Go on at a route that takes the request."""
        self._steps.append(route)
        self._take(child)
        if isinstance(route, class_of("starlette.routing", "Mount")):
            return self.in_app(behind(route.app), prefix + route.path)
        if isinstance(route, class_of("starlette.routing", "Host")):
            return self.in_app(behind(route.app), prefix)
        if is_included(route):
            return self._in_included(route, prefix)
        if is_route(route):
            method = self._scope.get("method", "GET")
            return self._ends_at(
                remembered(route, (prefix, method), lambda: handler_of(route, method, prefix))
            )
        return UNKNOWN

    def _in_included(self, included: Any, prefix: str) -> Found:
        """Go on in a router that FastAPI has included."""
        match = class_of("starlette.routing", "Match")
        _guard_routes(included.original_router)
        fits, child, route, context = included._match(self._scope)
        if route is None or fits is match.NONE:
            return UNKNOWN
        api_route = class_of("fastapi.routing", "APIRoute")
        if context is None or not isinstance(context.original_route, api_route):
            if fits is match.PARTIAL:
                return self._refused_at(route, child)
            return self._at(route, child, prefix)
        self._steps.append(context.original_route)
        if fits is match.PARTIAL:
            return self._nothing()
        return self._ends_at(
            remembered(context, prefix, lambda: included_handler(context, prefix=prefix))
        )

    def _refused_at(self, route: Any, child: Scope) -> Found:
        """Return what there is where a route has other methods than the request's: 405."""
        self._steps.append(route)
        if is_route(route):
            return self._nothing()
        if is_included(route):
            self._take(child)
            return self._in_included(route, "")
        return UNKNOWN

    def _take(self, child: Scope) -> None:
        child = dict(child)
        ours = child.pop(_FASTAPI, None)
        if isinstance(ours, dict):
            self._scope[_FASTAPI] = {**self._scope.get(_FASTAPI, {}), **ours}
        self._scope.update(child)

    def _tokens(self) -> tuple[Hashable, ...]:
        return tuple(map(id, self._steps))

    def _ends_at(self, handler: Handler) -> Found:
        return Found((handler,), self._tokens(), tuple(self._steps))

    def _nothing(self) -> Found:
        return Found((), self._tokens(), tuple(self._steps))


def is_route(route: Any) -> bool:
    """Say whether a route leads to an endpoint."""
    return isinstance(
        route,
        (class_of("starlette.routing", "Route"), class_of("starlette.routing", "WebSocketRoute")),
    )


def is_included(route: Any) -> bool:
    """Say whether a route stands for a router that FastAPI has included."""
    included = class_of("fastapi.routing", "_IncludedRouter")
    return isinstance(included, type) and isinstance(route, included)


def handler_of(route: Any, method: str, prefix: str) -> Handler:
    """Return the names of what a route leads to."""
    return Handler(
        routes=template_names(joined(prefix, route.path)),
        functions=function_names(route.endpoint),
        operation_ids=_operation_ids(route, method),
    )


def static_handler(app: Any, prefix: str) -> Handler:
    """Return the names of StaticFiles that are mounted."""
    routes = template_names(f"{prefix}/{{path:path}}")
    return Handler(routes=routes, functions=function_names(app))


def included_handler(context: Any, _method: str = "GET", *, prefix: str) -> Handler:
    """Return the names of what a route of FastAPI leads to, in a router that it has included."""
    return Handler(
        routes=template_names(joined(prefix, context.path)),
        functions=function_names(context.endpoint),
        operation_ids=_made_ids(context),
    )


def _made_ids(route: Any) -> tuple[str, ...]:
    """Return the ID of a route of FastAPI; of one with several methods all that it may have.

    FastAPI ends the ID that it makes in one of the methods, which differs from process to process.
    """
    if route.operation_id:
        return (route.operation_id,)
    made: str = route.unique_id
    methods = sorted(getattr(route, "methods", None) or ())
    last = made.rpartition("_")[2]
    if len(methods) < 2 or last.upper() not in methods:
        return (made,)
    return tuple(made[: -len(last)] + method.lower() for method in methods)


def _operation_ids(route: Any, method: str) -> tuple[str, ...]:
    """Return the ID that FastAPI gives a route, or that Starlette reads from a docstring."""
    if hasattr(route, "unique_id"):
        return _made_ids(route)
    found = documented_id(route.endpoint, method)
    return () if found is None else (found,)


# --- the check ------------------------------------------------------------------------------------

_GUARDED = "_meshware_guarded"


def _guard_routes(router: Any) -> None:
    """Have every route of a router checked, those too that the request is not for."""
    count = len(router.routes)
    if getattr(router, _GUARDED, None) == count:
        return
    for route in router.routes:
        guard(type(route), "handle", _checked)
    setattr(router, _GUARDED, count)


def _checked(handle: Callable[..., Any]) -> Callable[..., Any]:
    """Return a route's `handle` that runs only where the call's way leads."""

    async def handle_if_decided(self: Any, scope: Any, receive: Any, send: Any) -> None:
        if lets(scope.get(KEY), id(self), scope.get("method", "GET")):
            await handle(self, scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": BODY})
        else:
            body = BODY.encode()
            headers = [
                (b"content-type", b"text/plain"),
                (b"content-length", str(len(body)).encode()),
            ]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    return handle_if_decided
