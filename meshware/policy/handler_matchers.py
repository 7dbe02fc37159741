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

from collections.abc import Callable

from meshware.policy.document.authorization_policy import MeshOperation
from meshware.policy.inbound_facts import Facts, Handler
from meshware.policy.match import Patterns

__all__ = ["HANDLER_FIELDS", "asks_handlers", "handler_names", "handler_test", "meets"]

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
        (names, Patterns(wanted) if wanted else None, Patterns(unwanted or ()))
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
