"""AuthorizationPolicies of the mesh's own kind: Istio's checks, and those of its own fields."""

from __future__ import annotations

import pytest

from meshware.policy.load import load_mapping
from meshware.policy.problems import Severity

HERE = "spec.rules[0].to[0].operation"


def problems(spec, group="meshware.dev/v1alpha1"):
    """What `check` says of a policy, but for the workload that is not there."""
    loaded = load_mapping(
        {
            "apiVersion": group,
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "rules"},
            "spec": spec,
        }
    )
    return [
        (problem.severity, problem.field, problem.message)
        for problem in loaded.problems
        if problem.code != "IST0127"
    ]


def operation(**fields):
    """A policy of one operation."""
    return {"rules": [{"to": [{"operation": fields}]}]}


@pytest.mark.parametrize(
    "fields",
    [
        {"routes": ["/users/{id}", "/users/<int:id>", "users/<int:pk>/", "/a/*", "*/b", "*"]},
        {"notRoutes": [r"^users/(?P<pk>\w*)/$"]},
        {"functions": ["show", "shop.api.show", "shop.*", "*.show", "a.<locals>.b", "Thing"]},
        {"notFunctions": ["*"]},
        {"operationIds": ["showUser", "show-user.v1", "show*"]},
        {"notOperationIds": ["x"], "methods": ["GET"], "paths": ["/a/{*}"]},
    ],
    ids=str,
)
def test_what_names_handlers_is_fine(fields):
    """Of every framework, in Istio's value syntax."""
    assert problems(operation(**fields)) == []


@pytest.mark.parametrize(
    ("fields", "severity", "field", "words"),
    [
        ({"functions": ["shop.api:show"]}, Severity.ERROR, "functions[0]",
         "write a function's or class's name, bare or with its module"),
        ({"notFunctions": ["show()"]}, Severity.ERROR, "notFunctions[0]", "write a function's"),
        ({"functions": ["a b"]}, Severity.ERROR, "functions[0]", "write a function's"),
        ({"functions": ["sh*w"]}, Severity.ERROR, "functions[0]", "write a function's"),
        ({"routes": [""]}, Severity.ERROR, "routes[0]", "write a text that is not empty"),
        ({"notRoutes": []}, Severity.ERROR, "notRoutes", "is an empty list"),
        ({"operationIds": []}, Severity.ERROR, "operationIds", "is an empty list"),
        ({"routes": ["/users/*/edit"]}, Severity.WARNING, "routes[0]",
         "write a parameter as the framework does, such as {id}"),
        ({"routes": ["*/admin/*"]}, Severity.WARNING, "routes[0]", "only a `*` that is first or"),
        ({"notRoutes": ["GET /users"]}, Severity.WARNING, "notRoutes[0]", "a route has no method"),
        ({"operationIds": ["a*b"]}, Severity.WARNING, "operationIds[0]", "plain characters"),
        ({"paths": ["users"]}, Severity.WARNING, "paths[0]", "a path begins with a slash"),
        ({"ports": ["x"]}, Severity.ERROR, "ports[0]", "write a port"),
        ({"methods": []}, Severity.ERROR, "methods", "is an empty list"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_meant_is_told_with_its_field(fields, severity, field, words):
    """Errors refuse the policy; a warning is of what never matches."""
    [(found, at, message)] = problems(operation(**fields))
    assert (found, at) == (severity, f"{HERE}.{field}")
    assert words in message


def test_the_fields_are_of_the_own_kind_alone():
    """One directory serves Istio and the mesh: Istio's kind stays Istio's."""
    [(severity, field, message)] = problems(operation(routes=["/a"]), "security.istio.io/v1")
    assert severity is Severity.ERROR
    assert field == f"{HERE}.routes"
    assert "routes" in message


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"action": "DENY"}, "spec.rules"),
        ({"rules": [{"from": [{"source": {"ipBlocks": ["x"]}}]}]},
         "spec.rules[0].from[0].source.ipBlocks[0]"),
        ({"rules": [{"when": [{"key": "source.up", "values": ["a"]}]}]},
         "spec.rules[0].when[0].key"),
        ({"targetRef": {"group": "", "kind": "Service", "name": "a"}}, "spec.targetRef"),
    ],
    ids=str,
)  # fmt: skip
def test_what_istio_has_is_checked_as_in_istio(spec, field):
    """It is the same specification, and more."""
    assert [(found, at) for found, at, _ in problems(spec)][0] == (Severity.ERROR, field)
    ours = [at for _, at, _ in problems(spec)]
    assert ours == [at for _, at, _ in problems(spec, "security.istio.io/v1")]


@pytest.mark.parametrize("name", ["routes", "notRoutes", "functions", "operationIds"])
def test_in_istios_own_kind_the_error_says_whose_fields_they_are(name):
    """And no field of Istio's that looks alike is proposed."""
    for group in ("security.istio.io/v1", "security.istio.io/v1beta1"):
        [(severity, field, message)] = problems(operation(**{name: ["show"]}), group)
        assert (severity, field) == (Severity.ERROR, f"{HERE}.{name}")
        assert "of meshware.dev/v1alpha1 AuthorizationPolicy; write that apiVersion" in message
    [(_, _, message)] = problems(operation(pathes=["/x"]), "security.istio.io/v1")
    assert "did you mean 'paths'?" in message
