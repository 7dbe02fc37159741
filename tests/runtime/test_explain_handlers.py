"""`explain` about rules by handler: the question says what the app would run."""

from __future__ import annotations

import msgspec
import pytest

from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.view import Client
from meshware.runtime.explain import Explainer, Question
from meshware.testing import FakeClock

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app}
spec: {metadata: {labels: {app: app}}, template: {}}
---
apiVersion: meshware.dev/v1alpha1
kind: AuthorizationPolicy
metadata: {name: by-handler}
spec:
  action: ACTION
  rules:
    - to: [{operation: FIELDS}]
"""
SHOW = {"route": "/users/{id}", "function": "shop.api.show", "operation_id": "showUser"}
UNSEEN = {"route": "/users/{id}", "function": "shop.api.show"}


def verdict(action: str, fields: str, handlers) -> str:
    """The answer to a question about one call."""
    loaded = load_text(POLICY.replace("ACTION", action).replace("FIELDS", fields))
    loaded.raise_for_errors()
    records = MemoryRecords(build_records(loaded.resources))
    question = msgspec.convert({"direction": "inbound", "handlers": handlers}, Question)
    client = Client(namespace="default", name="app")
    answer = Explainer(records, client, now=FakeClock().now).answer(question)
    assert answer.inbound is not None
    return answer.inbound.verdict


@pytest.mark.parametrize(
    ("fields", "handlers", "denied", "allowed"),
    [
        ('{routes: ["/users/{id}"]}', [SHOW], "deny", "allow"),
        ("{functions: [show]}", [SHOW], "deny", "allow"),
        ("{functions: [shop.api.show]}", [SHOW], "deny", "allow"),
        ("{functions: [other]}", [SHOW], "allow", "deny"),
        ("{operationIds: [showUser]}", [SHOW], "deny", "allow"),
        ("{operationIds: [showUser]}", [UNSEEN], "deny", "deny"),
        ("{notFunctions: [show]}", [SHOW], "allow", "deny"),
        ("{functions: [show]}", [], "allow", "deny"),
        ("{notFunctions: [show]}", [], "deny", "allow"),
        ("{functions: [show]}", None, "deny", "deny"),
        ("{notFunctions: [show]}", None, "deny", "deny"),
    ],
)
def test_the_gate_decides_by_the_handlers_of_the_question(fields, handlers, denied, allowed):
    """None known: both refuse."""
    assert verdict("DENY", fields, handlers) == denied
    assert verdict("ALLOW", fields, handlers) == allowed


WITHIN = {"route": "/api/users/{id}", "function": "shop.api.show", "mount": "/api"}


@pytest.mark.parametrize(
    ("fields", "handler", "denied", "allowed"),
    [
        ('{routes: ["/api/users/{id}"]}', WITHIN, "deny", "allow"),
        ('{routes: ["/users/{id}"]}', WITHIN, "deny", "deny"),
        ('{routes: ["/users/{id}"]}', WITHIN | {"mount": ""}, "allow", "deny"),
        ('{notRoutes: ["/users/{id}"]}', WITHIN, "deny", "deny"),
        ('{notRoutes: ["/api/users/{id}"]}', WITHIN, "allow", "deny"),
    ],
)
def test_a_middleware_within_a_mount_decides_as_it_does(fields, handler, denied, allowed):
    """What refuses holds for the part of the route that the app within knows, as in the process."""
    assert verdict("DENY", fields, [handler]) == denied
    assert verdict("ALLOW", fields, [handler]) == allowed


@pytest.mark.parametrize("mount", ["/ap", "/users", "/api/users/{id}"])
def test_a_mount_that_is_not_in_front_of_the_route_is_a_mistake(mount):
    """In the question."""
    with pytest.raises(msgspec.ValidationError, match="is not how route .* begins"):
        verdict("DENY", "{functions: [x]}", [WITHIN | {"mount": mount}])
