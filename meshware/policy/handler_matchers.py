"""The tests that `routes`, `functions` and `operationIds` come to: what the app runs for a request.

What is not certain must harm neither way, as in `inbound_matchers`:

1. What is not known (an app of no framework that can be asked, a router that fails) holds for what
   denies and does not for ALLOW, in the field and in its `not` twin.
2. Of several handlers that a request may come to, one is enough for what denies, and ALLOW needs
   each of them.
3. Where the router says that nothing handles the request (404, 405, a redirect), the fields do not
   hold and their `not` twins do.

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
        if names is None:
            return None
        found += names
    return tuple(found)


def handler_test(operation: MeshOperation, *, is_deny: bool) -> Callable[[Facts], bool]:
    """Return the test of all that an operation says of handlers.

    Args:
        operation: as written.
        is_deny: whether its rule denies, asks or audits; else it allows.
    """
    of_one = meets(operation)
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


def meets(operation: MeshOperation) -> Callable[[Handler], bool | None]:
    """Return what says whether one handler is what an operation says; None: it is not known."""
    fields = tuple(
        (
            names,
            Patterns(handler_values(name, wanted)) if wanted else None,
            Patterns(handler_values(name, unwanted or ())),
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
            elif wanted is not None and not any(map(wanted, found)) or any(map(unwanted, found)):
                return False
        return answer

    return of_one
