"""Who holds and who does not: the survey agrees with the view, and leaves nobody out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshware.policy.file import MemoryRecords
from meshware.policy.parse import parse_text
from meshware.policy.records import build_records
from meshware.policy.survey import (
    survey_destination_rules,
    survey_service_policies,
    survey_services,
    survey_telemetries,
    survey_virtual_services,
)
from meshware.policy.view import Client, View, view

HOST = "orders.shop.svc.cluster.local"
SERVICE = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders, namespace: shop}}
spec:
  hosts: [{HOST}]
  resolution: STATIC
  ports: [{{number: 80, name: http}}]
  endpoints: [{{address: 10.0.0.1}}]
"""


def seen(*policies: str, namespace: str = "web") -> View:
    """What a client with the label `app: web` sees."""
    resources, problems = parse_text("\n---".join([SERVICE, *policies]), "test.yaml")
    assert not problems, problems
    client = Client(namespace=namespace, labels={"app": "web"})
    return view(MemoryRecords(build_records(resources)), client)


def rule(namespace: str, name: str, more: str = "", host: str = HOST) -> str:
    """A DestinationRule."""
    return f"""
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{host: "{host}", {more}}}
"""


def routes(namespace: str, name: str, more: str = "", host: str = HOST) -> str:
    """A VirtualService."""
    return f"""
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{hosts: ["{host}"], http: [{{route: [{{destination: {{host: "{HOST}"}}}}]}}], {more}}}
"""


def by_name(found):
    """State and reason of each, by `namespace/name`."""
    return {f"{each.name.namespace}/{each.name.name}": (each.state, each.why) for each in found}


@pytest.mark.parametrize(
    ("policies", "name", "expected"),
    [
        (
            [routes("shop", "a"), routes("shop", "b")],
            "shop/b",
            ("comes-after", "VirtualService shop/a comes first: it is older"),
        ),
        (
            [routes("shop", "a"), routes("web", "z", 'exportTo: ["."]')],
            "shop/a",
            ("comes-after", "VirtualService web/z comes first: it is exported to this namespace "),
        ),
        (
            [routes("shop", "a"), routes("shop", "wide", host="*.shop.svc.cluster.local")],
            "shop/wide",
            ("comes-after", f"its host *.shop.svc.cluster.local is less specific than {HOST}"),
        ),
        (
            [routes("shop", "a"), routes("shop", "own", 'exportTo: ["."]')],
            "shop/own",
            ("hidden", "it is exported to namespace shop, and this client is in web"),
        ),
        (
            [routes("shop", "a"), routes("shop", "nobody", 'exportTo: ["~"]')],
            "shop/nobody",
            ("hidden", "it is exported to nobody"),
        ),
    ],
    ids=["age", "privacy", "host", "exportTo", "nobody"],
)
def test_a_virtual_service_that_does_not_hold_says_why(policies, name, expected):
    """One wins, and nothing is merged."""
    state, why = by_name(survey_virtual_services(seen(*policies), HOST))[name]
    assert state == expected[0] and why.startswith(expected[1])


SELECTS = "workloadSelector: {matchLabels: {app: %s}}"


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        (
            [rule("shop", "a"), rule("web", "b", host="*.local")],
            {"web/b": ("in-force", ""), "shop/a": ("comes-after", "DestinationRule web/b comes")},
        ),
        (
            [rule("shop", "a"), rule("shop", "b")],
            {
                "shop/a": ("in-force", "joined with DestinationRule shop/b"),
                "shop/b": ("in-force", "joined with DestinationRule shop/a"),
            },
        ),
        (
            [rule("web", "a", SELECTS % "cart"), rule("shop", "b")],
            {
                "web/a": ("not-for-this-client", "its workloadSelector: app is web, wanted cart"),
                "shop/b": ("in-force", ""),
            },
        ),
        (
            [rule("web", "a", SELECTS % "web"), rule("web", "b")],
            {"web/a": ("in-force", ""), "web/b": ("comes-after", "a rule of the same host and")},
        ),
        (
            [rule("shop", "a", SELECTS % "web")],
            {"shop/a": ("not-for-this-client", "it has a workloadSelector, and so is for clients")},
        ),
        (
            [rule("other", "a", 'exportTo: ["*"]')],
            {"other/a": ("not-for-this-client", "only rules of the client's namespace")},
        ),
        (
            [rule("shop", "a", 'exportTo: ["."]'), rule("istio-system", "b")],
            {
                "shop/a": ("hidden", "it is exported to namespace shop"),
                "istio-system/b": ("in-force", ""),
            },
        ),
    ],
    ids=["namespace", "joined", "labels", "selected first", "others' labels", "third", "exportTo"],
)  # fmt: skip
def test_destination_rules_say_which_hold_and_why(policies, expected):
    """The first namespace with any match decides, in it the most specific host."""
    found = by_name(survey_destination_rules(seen(*policies), HOST, "shop"))
    assert found.keys() == expected.keys()
    for name, (state, why) in expected.items():
        assert found[name][0] == state and (found[name][1] or "").startswith(why)


def test_service_entries_and_policies_say_it_too():
    """The client's own claim comes first; the policy of a third namespace never counts."""
    mine = SERVICE.replace("namespace: shop", "namespace: web")
    found = by_name(survey_services(seen(mine), HOST))
    assert found["web/orders"] == ("in-force", None)
    assert "the client's own namespace" in found["shop/orders"][1]
    policy = f"""
apiVersion: meshware.dev/v1alpha1
kind: ServicePolicy
metadata: {{name: p, namespace: NS}}
spec: {{hosts: ["{HOST}"], http: [{{safeToRepeat: true}}]}}
"""
    both = [policy.replace("NS", namespace) for namespace in ("shop", "other")]
    found = by_name(survey_service_policies(seen(*both), HOST, "shop"))
    assert found["shop/p"] == ("in-force", None)
    assert found["other/p"][0] == "not-for-this-client"


NAMESPACES = st.sampled_from(["web", "shop", "istio-system", "other"])
MORE = st.sampled_from(["", 'exportTo: ["."]', 'exportTo: ["*"]', "exportTo: [web]"])
HOSTS = st.sampled_from([HOST, "*.shop.svc.cluster.local", "*.local"])
WRITTEN = st.lists(
    st.tuples(NAMESPACES, MORE, HOSTS, st.sampled_from(["", SELECTS % "web", SELECTS % "cart"])),
    max_size=6,
)


@settings(deadline=None)
@given(WRITTEN, NAMESPACES)
def test_the_survey_agrees_with_the_view_and_tells_of_everybody_once(written, namespace):
    """What it says is in force is what the view found, whoever else there is."""
    rules = [
        rule(ns, f"n{n}", ", ".join(filter(None, [more, selector])), host)
        for n, (ns, more, host, selector) in enumerate(written)
    ]
    routed = [routes(ns, f"n{n}", more, host) for n, (ns, more, host, _) in enumerate(written)]
    there = seen(*rules, *routed, namespace=namespace)
    names = sorted(f"{ns}/n{n}" for n, (ns, *_) in enumerate(written))

    found = survey_destination_rules(there, HOST, "shop")
    holds = there.destination_rule(HOST, "shop")
    parts = () if holds is None else holds.parts or (holds,)
    assert sorted(by_name(found)) == names and len(found) == len(names)
    in_force = [name for name, (state, _) in by_name(found).items() if state == "in-force"]
    assert in_force == [f"{part.namespace}/{part.name}" for part in parts]

    found = survey_virtual_services(there, HOST)
    chosen = there.virtual_service(HOST)
    assert sorted(by_name(found)) == names and len(found) == len(names)
    in_force = [name for name, (state, _) in by_name(found).items() if state == "in-force"]
    assert in_force == ([f"{chosen.namespace}/{chosen.name}"] if chosen is not None else [])
    assert all(each.why for each in found if each.state != "in-force")


def telemetry(namespace: str, name: str, more: str = "") -> str:
    """A Telemetry."""
    return f"""
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{{more}}}
"""


def test_of_each_level_one_telemetry_holds_and_the_others_come_after():
    """Those that cannot be for the client are not named."""
    found = survey_telemetries(
        seen(
            telemetry("istio-system", "b"),
            telemetry("istio-system", "a"),
            telemetry("web", "wide"),
            telemetry("web", "narrow", "selector: {matchLabels: {app: web}}"),
            telemetry("web", "other", "selector: {matchLabels: {app: other}}"),
            telemetry("elsewhere", "wide"),
        )
    )
    assert [(each.name.namespace, each.name.name, each.state) for each in found] == [
        ("istio-system", "a", "in-force"),
        ("web", "wide", "in-force"),
        ("web", "narrow", "in-force"),
        ("istio-system", "b", "comes-after"),
    ]
    assert found[-1].why == (
        "Telemetry istio-system/a comes first: it is older, or its name is earlier in the alphabet"
    )
