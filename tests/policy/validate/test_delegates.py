"""Delegates that are not there, that nobody names, and rules that never match."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, routes, service, to


def delegate(name: str = "part", namespace: str = "default", **spec) -> str:
    """A VirtualService without hosts."""
    spec.setdefault("http", [to()])
    return resource("VirtualService", spec, name, namespace)


def found(*texts: str) -> list[tuple[str, str, str]]:
    """Severity, `name: field`, and message."""
    return [
        (str(p.severity), f"{p.name}: {p.field}", p.message) for p in problems(service(), *texts)
    ]


NAMES_IT = {"delegate": {"name": "part"}}


def test_a_root_and_its_delegate_are_fine():
    """Whatever the root says for all of its delegate's rules."""
    root = routes({**NAMES_IT, "match": [{"uri": {"prefix": "/a"}}], "timeout": "1s"})
    assert found(root, delegate()) == []
    elsewhere = routes({"delegate": {"name": "part", "namespace": "shop"}})
    assert found(elsewhere, delegate(namespace="shop", http=[{"redirect": {"uri": "/"}}])) == []


@pytest.mark.parametrize(
    ("texts", "severity", "field", "words"),
    [
        (
            [routes(NAMES_IT)],
            "error",
            "it: spec.http[0].delegate",
            "no VirtualService default/part",
        ),
        (
            [
                routes({"delegate": {"name": "prat"}}),
                delegate(),
                routes(NAMES_IT, host="x.test", name="x"),
            ],
            "error",
            "it: spec.http[0].delegate",
            "did you mean default/part?",
        ),
        (
            [routes({"delegate": {"name": "other"}}), routes(to(), host="x.test", name="other")],
            "error",
            "it: spec.http[0].delegate",
            "has hosts and so is no delegate",
        ),
        ([routes({"delegate": {}}), delegate()], "error", "it: spec.http[0].delegate", "no name"),
        (
            [routes({**NAMES_IT, **to()}), delegate()],
            "error",
            "it: spec.http[0]",
            "route and delegate stand in one route",
        ),
        (
            [
                routes({"delegate": {"name": "part", "namespace": "shop"}}),
                delegate(namespace="shop", exportTo=["."], http=[{"redirect": {"uri": "/"}}]),
            ],
            "error",
            "it: spec.http[0].delegate",
            "is not exported to default",
        ),
        ([delegate()], "warning", "part: spec.hosts", "no rule delegates to"),
        (
            [routes(NAMES_IT), delegate(gateways=["mesh"])],
            "error",
            "part: spec.gateways",
            "remove them here",
        ),
        (
            [routes(NAMES_IT), delegate(http=[{"delegate": {"name": "part"}}])],
            "error",
            "part: spec.http[0].delegate",
            "may not delegate further",
        ),
        (
            [
                routes({**NAMES_IT, "match": [{"uri": {"prefix": "/a"}}]}),
                delegate(http=[{**to(), "match": [{"uri": {"prefix": "/b"}}]}]),
            ],
            "warning",
            "part: spec.http[0].match",
            "never matches under spec.http[0] of VirtualService default/it",
        ),
        (
            [routes(NAMES_IT), delegate(http=[to("nobody")])],
            "error",
            "part: spec.http[0].route[0].destination.host",
            "no ServiceEntry has the host nobody",
        ),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(texts, severity, field, words):
    """With what to do about it."""
    told = [each for each in found(*texts) if words in each[2]]
    assert [(each[0], each[1]) for each in told] == [(severity, field)]
