"""The tests that `routes`, `functions` and `operationIds` come to: what the app runs for a request.

What is not certain must harm neither way, as in `inbound_matchers`:

1. What is not known (an app of no framework that can be asked, a router that fails) holds for what
   denies and does not for ALLOW, in the field and in its `not` twin.
2. Of several handlers that a request may come to, one is enough for what denies, and ALLOW needs
   each of them.
3. Where the router says that nothing handles the request (404, 405, a redirect), the fields do not
   hold and their `not` twins do.

4. A route is meant with the mounts in front of it. What refuses holds for other readings of it as
   well (`Handler.besides`), in `routes`; what allows does not by them, in `notRoutes`. Where the
   mounts are not known, a value is not decided on unless it cannot end in the route's template.

A handler has several names in each field (`/users/{id}` and `/users/<int:id>`); a value that meets
one of them meets the handler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meshware.policy.document.authorization_policy import MeshOperation
from meshware.policy.inbound_facts import Facts, Handler
from meshware.policy.match import Patterns

__all__ = [
    "HANDLER_FIELDS",
    "asks_handlers",
    "handler_names",
    "handler_test",
    "handler_values",
    "meets",
    "plain",
]

HANDLER_FIELDS = (
    "routes",
    "not_routes",
    "functions",
    "not_functions",
    "operation_ids",
    "not_operation_ids",
)
"""The fields of a `MeshOperation` that are about handlers."""

_Names = Callable[[Handler], "tuple[str, ...] | None"]
_NAMES: tuple[tuple[str, _Names], ...] = (
    ("routes", lambda handler: handler.routes),
    ("functions", lambda handler: handler.functions),
    ("operation_ids", lambda handler: handler.operation_ids),
)


# `{id}` and `{id:int}` of Starlette; `<id>`, `<int:id>` and `<any(a, b):id>` of the others.
_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*)?\}|<(?:[^<>]*:)?(\w+)>")


def plain(template: str) -> str:
    """Return a template with `{name}` for each of its parameters."""
    return _PARAMETER.sub(lambda found: "{" + (found[1] or found[2]) + "}", template)


def handler_values(field: str, values: Sequence[str]) -> tuple[str, ...]:
    """Return the values of a field with all that they are short for.

    A route may be written as any framework does: every route has a name with plain braces and a
    leading slash, and so has every value.
    """
    if field.removeprefix("not_") != "routes":
        return tuple(values)
    found = dict.fromkeys(values)
    for value in values:
        short = plain(value)
        found[short if short.startswith(("/", "*", "^")) else f"/{short}"] = None
    return tuple(found)


def asks_handlers(operation: object) -> bool:
    """Say whether an operation is about what the app runs."""
    return isinstance(operation, MeshOperation) and any(
        getattr(operation, name) is not None for name in HANDLER_FIELDS
    )


def handler_names(facts: Facts, field: str) -> tuple[str, ...] | None:
    """Return every name that the handlers of a request have; None: not all of them are known.

    Args:
        facts: of the request.
        field: of `Handler`.
    """
    handlers = facts.handlers_of(facts.app_path)
    if handlers is None:
        return None
    found: list[str] = []
    for handler in handlers:
        names = getattr(handler, field)
        if names is None or (field == "routes" and handler.tails):
            return None
        found += names
        if field == "routes":
            found += handler.besides
    return tuple(found)


def handler_test(operation: MeshOperation, *, is_deny: bool) -> Callable[[Facts], bool]:
    """Return the test of all that an operation says of handlers.

    Args:
        operation: as written.
        is_deny: whether its rule denies, asks or audits; else it allows.
    """
    of_one = meets(operation, is_deny=is_deny)
    wants = any(getattr(operation, name) for name, _ in _NAMES)

    def holds(facts: Facts) -> bool:
        handlers = facts.handlers_of(facts.app_path)
        if handlers is None:
            return is_deny
        if not handlers:
            return not wants
        if is_deny:
            return any(of_one(handler) is not False for handler in handlers)
        return all(of_one(handler) is True for handler in handlers)

    return holds


def meets(operation: MeshOperation, *, is_deny: bool) -> Callable[[Handler], bool | None]:
    """Return what says whether one handler is what an operation says; None: it is not known.

    Args:
        operation: as written.
        is_deny: as in `handler_test`.
    """
    fields = tuple(
        (
            names,
            _Wanted(name, wanted) if wanted else None,
            _Wanted(name, unwanted or ()),
        )
        for name, names in _NAMES
        for wanted, unwanted in [(getattr(operation, name), getattr(operation, f"not_{name}"))]
        if wanted or unwanted
    )

    def of_one(handler: Handler) -> bool | None:
        answer: bool | None = True
        for names, wanted, unwanted in fields:
            found = names(handler)
            if found is None:
                answer = None
                continue
            is_wanted = True if wanted is None else wanted.is_of(handler, found, also=is_deny)
            is_unwanted = unwanted.is_of(handler, found, also=not is_deny)
            if is_wanted is False or is_unwanted is True:
                return False
            if is_wanted is None or is_unwanted is None:
                answer = None
        return answer

    return of_one


class _Wanted:
    """The values of one field."""

    __slots__ = ("_is_of_routes", "_patterns", "_values")

    def __init__(self, field: str, values: Sequence[str]) -> None:
        self._values = handler_values(field, values)
        self._patterns = Patterns(self._values)
        self._is_of_routes = field == "routes"

    def is_of(self, handler: Handler, names: tuple[str, ...], *, also: bool) -> bool | None:
        """Say whether a handler has one of them; None: it is not known.

        Args:
            handler: whose.
            names: that it has in the field.
            also: whether other readings of a route count.
        """
        if any(map(self._patterns, names)):
            return True
        if not self._is_of_routes:
            return False
        if also and any(map(self._patterns, handler.besides)):
            return True
        if handler.tails and self._patterns.is_any:
            return True  # whatever is in front
        is_open = any(may_end(value, tail) for value in self._values for tail in handler.tails)
        return None if is_open else False


def may_end(value: str, tail: str) -> bool:
    """Say whether some text that ends in a tail is what a value says."""
    if value.startswith("*"):
        return value[1:].endswith(tail) or tail.endswith(value[1:])
    return value.endswith(("*", tail))
