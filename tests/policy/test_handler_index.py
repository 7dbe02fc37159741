"""Rules by handler are found by its names: the decision of asking all of them, and few asked."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshware.policy.document.authorization_policy import (
    MeshAuthorizationPolicySpec,
    MeshOperation,
    MeshRule,
    MeshTo,
)
from meshware.policy.inbound_facts import Facts, Handler
from meshware.policy.inbound_rules import NamedPolicy, RuleSet, compile_inbound

ROUTES = ["/a", "/a/{x}", "/a*", "*{x}", "*", "/b"]
FUNCTIONS = ["f", "m.f", "m.*", "*.g", "*"]
IDS = ["one", "two", "o*", "*"]


def values(found: list[str]) -> Any:
    """A list of values, or none."""
    return st.none() | st.lists(st.sampled_from(found), min_size=1, max_size=2).map(tuple)


OPERATIONS = st.builds(
    MeshOperation,
    routes=values(ROUTES),
    not_routes=values(ROUTES),
    functions=values(FUNCTIONS),
    not_functions=values(FUNCTIONS),
    operation_ids=values(IDS),
    not_operation_ids=values(IDS),
    methods=values(["GET", "PUT"]),
    paths=values(["/a", "/a*"]),
)
HANDLERS = st.builds(
    Handler,
    routes=st.sampled_from([("/a",), ("/a/<x>", "/a/{x}"), ("/b",)]),
    functions=st.sampled_from([("f", "m.f"), ("g", "n.g")]),
    operation_ids=st.sampled_from([("one",), (), None]),
    besides=st.sampled_from([(), (), ("/a",), ("/b", "/a/{x}")]),
) | st.builds(
    Handler,
    tails=st.sampled_from([("/a",), ("/{x}",), ("/b/c",)]),
    functions=st.sampled_from([("f", "m.f"), ("g", "n.g")]),
)


def rule_set(operations: list[MeshOperation], action: str) -> RuleSet:
    """The compiled rules of one policy with a rule for each operation."""
    rules = tuple(MeshRule(to=(MeshTo(operation=one),)) for one in operations)
    spec = MeshAuthorizationPolicySpec(action=action, rules=rules)
    compiled = compile_inbound([NamedPolicy(namespace="a", name="b", spec=spec)])
    found = compiled.deny if action == "DENY" else compiled.allow
    assert found is not None
    return found


def facts(handlers: tuple[Handler, ...] | None) -> Facts:
    """A call that these may handle."""
    return Facts(
        method="GET",
        authority="app",
        headers=lambda name: (),
        source_ip=None,
        destination_ip=None,
        port=None,
        handlers_of=lambda path: handlers,
    )


@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
@given(
    st.lists(OPERATIONS, min_size=9, max_size=40),
    st.none() | st.lists(HANDLERS, max_size=2).map(tuple),
)
def test_the_index_finds_what_asking_all_finds(action, operations, handlers):
    """Whatever is known of the handlers, and however many there are."""
    rules = rule_set(operations, action)
    asked = facts(handlers)
    naive = next((entry for entry in rules.entries if entry.holds(asked, "/a")), None)
    assert rules.first(asked, "/a") == naive


@pytest.mark.parametrize("field", ["routes", "functions", "operation_ids"])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_of_a_thousand_rules_by_handler_only_a_few_are_asked(field, action):
    """By each of the fields."""
    rules = rule_set([MeshOperation(**{field: (f"/x{n}",)}) for n in range(1000)], action)
    handler = Handler(**{"routes": ("/r",), "functions": ("f",), field: ("/x7",)})
    assert len(rules.index.find(facts((handler,)), "/a")) <= 8
    assert len(rules.index.find(facts(()), "/a")) == 0
    unknown = rules.index.find(facts(None), "/a")
    assert len(unknown) == (1000 if action == "DENY" else 0)
