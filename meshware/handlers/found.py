"""What a router answered, and how the call is held to it.

Theory of operation: rules are asked before the app is called, so what they are told of handlers is
a forecast, made by the framework's own router. Whatever stands between the mesh and that router (a
middleware that rewrites paths, methods or URL configurations) can prove it wrong. So the forecast
is bound to the call, and at the last step before a handler, which each framework has, what is about
to run is compared with it: what is not on the forecast's way is refused and never runs.

A forecast of nothing (404, 405, a redirect) is held to as well. One that could not be made binds
nothing: what was decided then holds for every handler.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import msgspec

from meshware.call import Call, current_call
from meshware.handlers.words import in_words
from meshware.inbound.passage import Admission
from meshware.policy.inbound_facts import Handler

__all__ = ["BODY", "KEY", "UNKNOWN", "Bound", "Found", "HandlersOfCall", "hold_to_handler", "lets"]

_log = logging.getLogger("meshware.handlers")

BODY = "RBAC: access denied"
"""Envoy's body of a refusal."""

_REASON = "rbac_access_denied_another_handler"
KEY = "meshware"
"""Where scopes and environs hold the call."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a router says of one request."""

    handlers: tuple[Handler, ...] | None  # as `HandlersOf` returns them
    way: tuple[Hashable, ...] = ()  # what the framework passes, the handler last, by its tokens
    keeps: tuple[object, ...] = ()  # what the tokens are of, for an id is one while its object is


UNKNOWN = Found(None)


class HandlersOfCall(msgspec.Struct, eq=False):  # made for each call
    """Asks the router about one call, once and only when a rule does. A `HandlersOf`.

    Args:
        ask: returns what the router says, given the path that the app will see.
        app: behind the mesh.
        request: the server's scope or environ.

    Attributes:
        found: what was found; None: nobody asked.
        path: that was asked about.
    """

    ask: Callable[[Any, Any, str | None], Found]
    app: Any
    request: Any
    found: Found | None = None
    path: str | None = None

    def __call__(self, path: str | None) -> tuple[Handler, ...] | None:
        """Return what may handle the request; see `HandlersOf`."""
        if self.found is None or path != self.path:
            self.path = path
            try:
                self.found = self.ask(self.app, self.request, path)
            except Exception as error:  # a router's mistake must not open a door, nor give a 5xx
                _log.warning("the app's router cannot be asked: %s", in_words(error))
                self.found = UNKNOWN
        return self.found.handlers


class Bound:
    """Holds a call to the handler that it was decided for.

    Args:
        found: the forecast.
        method: that it was made for.
        admission: of the call.
    """

    __slots__ = ("_admission", "_found", "_has_run", "_method")

    def __init__(self, found: Found, method: str, admission: Admission) -> None:
        self._found = found
        self._method = method
        self._admission = admission
        self._has_run = False

    def lets(self, token: Hashable, method: str, *, is_this_call: bool) -> bool:
        """Say whether the framework may go on with a step; a refusal is noted for the log."""
        found = self._found
        if token in found.way:
            # Nothing was to run: it stays so only as long as the method is the same.
            if found.handlers or method == self._method:
                if found.handlers and token == found.way[-1]:
                    self._has_run = True
                return True
        elif self._has_run and not is_this_call:
            return True  # the handler that was let in calls another part of the app
        self._admission.stop(_REASON)
        return False


def hold_to_handler(admission: Admission) -> None:
    """Hold an admitted call to what its rules were told of handlers, if they were."""
    if not admission.binds_handlers:
        return
    head = admission.head
    asked = head.handlers_of
    found = asked.found if isinstance(asked, HandlersOfCall) else None
    if found is not None and found.handlers is not None:
        head.route_of.bound = Bound(found, head.method, admission)


def lets(call: object, token: Hashable, method: str) -> bool:
    """Say whether a framework may go on with a step of a call.

    Args:
        call: what the scope or environ holds under the mesh's name. A middleware may have made a
            new one without it; then the call in context counts.
        token: of the step.
        method: of the request, as the framework sees it; a WebSocket handshake is "GET".
    """
    is_this_call = isinstance(call, Call)
    held = call if isinstance(call, Call) else current_call()
    bound = None if held is None else getattr(held.route_of, "bound", None)
    if not isinstance(bound, Bound):
        return True
    return bound.lets(token, method, is_this_call=is_this_call)
