"""What of the prefixes in front of an app is mounts, and what is the server's.

A mesh within a mounted app is told of the mounts in front of it by their paths alone, in one text
with the server's prefix. Rules are about the mounts' templates and not about the server. So:

1. Starlette's routers leave the outermost of them in the scope. It is asked again for the way to
   where the mesh stands, which gives the templates on that way.
2. werkzeug's dispatcher, and the bridges from ASGI to WSGI, leave nothing. Each is made to.
3. What else is in front is taken for the server's: a dispatcher of somebody's own looks the same.

Where the way cannot be found, the templates in front are not known.
"""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from meshware.handlers.apps import Kind, class_of
from meshware.handlers.dispatcher import as_text, chosen
from meshware.handlers.guards import guard
from meshware.handlers.names import joined, template_names
from meshware.policy.inbound_facts import Handler

__all__ = [
    "Passed", "Place", "before_mounts", "mounts_in_environ", "mounts_of",
    "place_in_environ", "place_in_scope", "placed", "trace_mounts",
]  # fmt: skip

_KEY = "meshware.mounted"
_MOST_PARTS = 16  # of a prefix that is not known to be the server's alone

Passed = list[tuple[Kind, object, str, str]]
"""Each app and router on a request's way, with the template and the path in front of it."""

Walk = Callable[[Any, dict[str, Any]], Passed]
"""Return what a request passes, from a router of Starlette's on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a mesh stands."""

    mounts: str | None  # templates of the mounts in front; None: there are, and they are not known
    before: str = ""  # the path in front of those: the server's, or of what nobody knows


class Step(NamedTuple):
    """A call of a dispatcher, as it began."""

    call: Callable[..., Any]  # the dispatcher's own method
    dispatcher: Any
    script: str  # SCRIPT_NAME
    path: str  # PATH_INFO


class Trace(NamedTuple):
    """What is left in an environ by what mounts; what it means is worked out when asked."""

    before: str  # SCRIPT_NAME in front of the first
    steps: tuple[Step, ...] = ()
    scope: Mapping[str, Any] | None = None  # from which a bridge made the environ

    def followed(self, environ: Mapping[str, Any]) -> tuple[str, str] | None:
        """Return the mounts of the dispatchers as text, and SCRIPT_NAME as the last hands it on.

        None: they are not known. Something between them has put in another prefix, or one of them
        cannot be asked.
        """
        mounts, script = "", self.before
        for step in self.steps:
            if step.script != script:
                return None
            asked = {**environ, "SCRIPT_NAME": step.script, "PATH_INFO": step.path}
            try:
                _, given, mount = chosen(step.dispatcher, asked, step.call)
            except Exception:  # its mistake, if it is one, is the app's to tell
                return None
            mounts, script = mounts + mount, given["SCRIPT_NAME"]
        return mounts, script


def place_in_scope(scope: Mapping[str, Any], app: object, walk: Walk) -> Place:
    """Return where a mesh stands.

    Args:
        scope: as the mesh received it.
        app: the application or router behind the mesh.
        walk: asks Starlette.
    """
    return _place(scope, walk, lambda _, passed: passed is app)


def _place(scope: Mapping[str, Any], walk: Walk, is_here: Callable[[Kind, object], bool]) -> Place:
    root: str = scope.get("root_path", "").rstrip("/")
    router = scope.get("router")
    if router is None:
        return Place("", root)
    before: str = scope.get("app_root_path", scope.get("root_path", ""))
    found = {
        (template, path.rstrip("/"))
        for kind, passed, template, path in walk(router, before_mounts(scope))
        if is_here(kind, passed)
    }
    if len(found) != 1:
        return Place(None)
    [(template, path)] = found
    return Place(template, before.rstrip("/")) if path == root else Place(None)


def before_mounts(scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return a scope as the outermost router received it."""
    asked = {key: value for key, value in scope.items() if key not in _OF_THE_WAY}
    asked["root_path"] = scope.get("app_root_path", scope.get("root_path", ""))
    return asked


_OF_THE_WAY = frozenset({"path_params", "endpoint", "route", "fastapi"})
"""What routers note in a scope as they go."""


def place_in_environ(environ: Mapping[str, Any], walk: Walk) -> Place:
    """Return where a mesh stands, by an environ as it received it."""
    is_late = trace_mounts()
    script = as_text(environ.get("SCRIPT_NAME", ""))
    trace = environ.get(_KEY)
    if not isinstance(trace, Trace):
        return Place(None) if is_late and script else Place("", script.rstrip("/"))
    followed = trace.followed(environ)
    if followed is None or environ.get("SCRIPT_NAME", "") != followed[1]:
        return Place(None)  # callers may choose what has been put in
    mounts = followed[0]
    if trace.scope is None:
        return Place(mounts, as_text(trace.before).rstrip("/"))
    bridge = _place(trace.scope, walk, lambda kind, _: kind is Kind.BRIDGE)
    if bridge.mounts is None:
        return bridge
    return Place(bridge.mounts + mounts, bridge.before)


def placed(handler: Handler, place: Place) -> Handler:
    """Return the names of a handler in view of where the mesh stands.

    Args:
        handler: as the app behind the mesh has it.
        place: of the mesh.
    """
    if place.mounts == "" and not place.before:
        return handler
    own = handler.routes
    if place.mounts is None or place.before.count("/") > _MOST_PARTS:
        return replace(handler, routes=(), tails=own)
    routes = _behind(place.mounts, own)
    besides = own if place.mounts else ()
    for prefix in _ends(place.before):
        besides += _behind(prefix, routes)
    return replace(handler, routes=routes, besides=besides)


def _behind(prefix: str, routes: tuple[str, ...]) -> tuple[str, ...]:
    return template_names(*(joined(prefix, route) for route in routes)) if prefix else routes


def _ends(prefix: str) -> Iterator[str]:
    """Yield what of a prefix may be a mount: `/b` and `/a/b` of `/a/b`."""
    at = len(prefix)
    while (at := prefix.rfind("/", 0, at)) >= 0:
        yield prefix[at:]


def mounts_of(scope: Mapping[str, Any]) -> str:
    """Return the path of the mounts that a call has passed, without the server's prefix."""
    root: str = scope.get("root_path", "")
    before: str = scope.get("app_root_path", root)
    return root[len(before) :].rstrip("/") if root.startswith(before) else ""


def mounts_in_environ(environ: Mapping[str, Any], walk: Walk) -> str | None:
    """Return the mounts of a WSGI call, as far as there are traces; None: they are not known."""
    trace = environ.get(_KEY)
    if not isinstance(trace, Trace):
        return ""
    if trace.scope is not None and trace.scope.get("path_params"):
        return place_in_environ(environ, walk).mounts  # with the names of parameters
    followed = trace.followed(environ)
    if followed is None:
        return None
    return ("" if trace.scope is None else mounts_of(trace.scope)) + followed[0]


# --- traces ---------------------------------------------------------------------------------------

_lock = threading.Lock()
_BRIDGES = ("starlette.middleware.wsgi", "uvicorn.middleware.wsgi")
_traced: set[str] = set()


def trace_mounts() -> bool:
    """Have what mounts WSGI apps leave a trace; say whether something new was found that will."""
    dispatcher = class_of("werkzeug.middleware.dispatcher", "DispatcherMiddleware")
    is_new = False
    if isinstance(dispatcher, type) and dispatcher.__module__ not in _traced:
        guard(dispatcher, "__call__", _tracing)
        _traced.add(dispatcher.__module__)
        is_new = True
    for name in _BRIDGES:
        module = sys.modules.get(name)
        if module is None or name in _traced:
            continue
        with _lock:
            build = getattr(module, "build_environ", None)
            if build is not None and name not in _traced:
                module.build_environ = _tracing_environ(build)  # type: ignore[attr-defined]
                _traced.add(name)
                is_new = True
    return is_new


def _tracing(call: Callable[..., Any]) -> Callable[..., Any]:
    def call_with_trace(self: Any, environ: dict[str, Any], start_response: Any) -> Any:
        script, last = environ.get("SCRIPT_NAME", ""), environ.get(_KEY)
        if not isinstance(last, Trace):
            last = Trace(script)
        # Which mount it chooses is asked by whoever wants to know: most calls have nobody who does.
        step = Step(call, self, script, environ.get("PATH_INFO", ""))
        environ[_KEY] = Trace(last.before, (*last.steps, step), last.scope)
        return call(self, environ, start_response)

    return call_with_trace


def _tracing_environ(build: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    @functools.wraps(build)
    def build_with_trace(scope: Mapping[str, Any], *arguments: Any) -> dict[str, Any]:
        environ = build(scope, *arguments)
        environ[_KEY] = Trace(environ.get("SCRIPT_NAME", ""), (), scope)
        return environ

    return build_with_trace
