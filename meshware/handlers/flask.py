"""What Flask runs for a request, by its own URL map, and the check before it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from meshware.handlers.found import BODY, KEY, Found, lets
from meshware.handlers.guards import guard
from meshware.handlers.names import documented_id, function_names, joined, template_names
from meshware.handlers.remembered import remembered
from meshware.policy.inbound_facts import Handler

__all__ = ["find", "handler_of"]


def find(app: Any, environ: dict[str, Any], prefix: str = "") -> Found:
    """Return what a Flask app runs.

    Args:
        app: of Flask.
        environ: a copy of the server's, which may be changed.
        prefix: the template under which the app is mounted.
    """
    guard(type(app), "dispatch_request", _checked)
    http_exception = sys.modules["werkzeug.exceptions"].HTTPException
    try:
        adapter = app.create_url_adapter(app.request_class(environ))
        rule, _ = adapter.match(return_rule=True)
    except http_exception:  # 404, 405, a redirect, a Host that is not trusted
        return Found(())
    view = app.view_functions.get(rule.endpoint)
    way, keeps = (_token(rule, view),), (rule, view)
    method = environ["REQUEST_METHOD"]
    if method == "OPTIONS" and getattr(rule, "provide_automatic_options", False):
        return Found((), way, keeps)
    handler = remembered(
        view,
        (rule.rule, prefix, method),
        lambda: handler_of(app, rule, method, prefix),
    )
    return Found((handler,), way, keeps)


def _token(rule: Any, view: Any) -> tuple[int, int]:
    return id(rule), id(view)


def handler_of(app: Any, rule: Any, method: str, prefix: str) -> Handler:
    """Return the names of what a rule of the URL map leads to."""
    view = app.view_functions.get(rule.endpoint)
    documented = None if view is None else documented_id(view, method)
    return Handler(
        routes=template_names(joined(prefix, rule.rule)),
        functions=() if view is None else function_names(view),
        # Flask has no OpenAPI of its own, and its extensions keep IDs in places of their own.
        operation_ids=None if documented is None else (documented,),
    )


def _checked(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    """Return a `dispatch_request` that runs a view only if the call was decided for it."""

    def dispatch_if_decided(self: Any, *arguments: Any) -> Any:
        request = sys.modules["flask"].request
        rule = request.url_rule
        if request.routing_exception is None and not lets(
            request.environ.get(KEY),
            _token(rule, self.view_functions.get(rule.endpoint)),
            request.method,
        ):
            return BODY, 403, {"Content-Type": "text/plain"}
        return dispatch(self, *arguments)

    return dispatch_if_decided
