"""Telemetries by table: which of them count, and what they come to, level by level."""

from __future__ import annotations

import pytest
from merge_world import (
    APP,
    COUNT,
    DB,
    FRONT,
    OLD,
    OLDER,
    OWN,
    ROOT,
    SIZE,
    WEB,
    all_with,
    mesh_config,
    metrics,
    override,
    plan_of,
    shown,
    telemetry,
)
from policy_check import resource

from meshware.policy.file import MemoryRecords
from meshware.policy.parse import parse_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.telemetry_plan import DEFAULT_PLAN
from meshware.policy.view import Client
from meshware.testing import TestMesh

# --- which apply ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("documents", "value"),
    [
        ([], {}),
        ([telemetry(metrics(override(t="'root'")), namespace=ROOT)], "root"),
        (
            [
                telemetry(metrics(override(t="'root'")), namespace=ROOT),
                telemetry(metrics(override(t="'own'"))),
            ],
            "own",
        ),
        (
            [
                telemetry({"selector": WEB, **metrics(override(t="'mine'"))}),
                telemetry(metrics(override(t="'own'")), "wide"),
                telemetry(metrics(override(t="'root'")), namespace=ROOT),
            ],
            "mine",
        ),
        (
            [
                telemetry({"selector": DB, **metrics(override(t="'db'"))}),
                telemetry(metrics(override(t="'own'")), "wide"),
            ],
            "own",
        ),
        # A selector in the root namespace is for the workloads of that one.
        (
            [
                telemetry(
                    {"selector": WEB, **metrics(override(t="'root'"))},
                    namespace=ROOT,
                )
            ],
            {},
        ),
        ([telemetry(metrics(override(t="'other'")), namespace="other")], {}),
        # Of several the first by creation, then by name.
        (
            [
                telemetry(metrics(override(t="'a'")), "a", creationTimestamp=OLD),
                telemetry(metrics(override(t="'b'")), "b", creationTimestamp=OLDER),
                telemetry(metrics(override(t="'c'")), "c"),
            ],
            "b",
        ),
        (
            [
                telemetry(metrics(override(t="'b'")), "b"),
                telemetry(metrics(override(t="'a'")), "a"),
            ],
            "a",
        ),
        (
            [
                telemetry({"selector": FRONT, **metrics(override(t="'b'"))}, "b"),
                telemetry({"selector": WEB, **metrics(override(t="'a'"))}, "a"),
            ],
            "a",
        ),
        # An empty selector is none.
        ([telemetry({"selector": {}, **metrics(override(t="'own'"))})], "own"),
    ],
)
def test_of_each_level_one_telemetry_counts(documents, value):
    """Root namespace, namespace, selector: the narrower one over the wider."""
    found = shown(plan_of(*documents).inbound.metrics)
    assert found == (value if value == {} else all_with(t=value))


def test_without_any_word_the_plan_is_the_default():
    """Metrics, and nothing else."""
    assert plan_of() is DEFAULT_PLAN


# --- metrics ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("levels", "inbound", "outbound"),
    [
        ([metrics(override("REQUEST_COUNT", t="'v'"))], {COUNT: {"t": "v"}}, {COUNT: {"t": "v"}}),
        ([metrics(override("REQUEST_COUNT", "SERVER", t=None))], {COUNT: {"t": None}}, {}),
        ([metrics(override("REQUEST_COUNT", "CLIENT", t=None))], {}, {COUNT: {"t": None}}),
        (
            [metrics(override("REQUEST_SIZE", "CLIENT_AND_SERVER", disabled=True))],
            {SIZE: {"off": True}},
            {SIZE: {"off": True}},
        ),
        ([metrics(override("ALL_METRICS", t="'v'"))], all_with(t="v"), all_with(t="v")),
        ([metrics(override(t="'v'"))], all_with(t="v"), all_with(t="v")),
        # Later over earlier, by metric and tag.
        (
            [metrics(override(a="'1'", b="'1'"), override("REQUEST_COUNT", b=None, c="'2'"))],
            {**all_with(a="1", b="1"), COUNT: {"a": "1", "b": None, "c": "2"}},
            {**all_with(a="1", b="1"), COUNT: {"a": "1", "b": None, "c": "2"}},
        ),
        (
            [
                metrics(override("REQUEST_COUNT", a="'root'", b="'root'", disabled=True)),
                metrics(override("REQUEST_COUNT", b="'own'", c=None)),
                metrics(override("REQUEST_COUNT", c="'mine'", disabled=False)),
            ],
            {COUNT: {"a": "root", "b": "own", "c": "mine"}},
            {COUNT: {"a": "root", "b": "own", "c": "mine"}},
        ),
        # All metrics off, of both sides or one; whatever is said later puts them on again.
        ([metrics(override("ALL_METRICS", disabled=True))], "off", "off"),
        ([metrics(override("ALL_METRICS", "CLIENT", disabled=True))], {}, "off"),
        (
            [
                metrics(override("ALL_METRICS", disabled=True)),
                metrics(override("REQUEST_COUNT", "SERVER", disabled=False)),
            ],
            {COUNT: {}},
            "off",
        ),
        (
            [metrics(override("REQUEST_COUNT", t="'v'"), override("ALL_METRICS", disabled=True))],
            "off",
            "off",
        ),
        (
            [
                metrics(override("ALL_METRICS", disabled=True)),
                metrics(override("ALL_METRICS", disabled=False)),
            ],
            all_with(),
            all_with(),
        ),
        # Each of them off is not all of them off: each has to be put on.
        (
            [metrics(override(disabled=True)), metrics(override("REQUEST_COUNT", disabled=False))],
            {**all_with(off=True), COUNT: {}},
            {**all_with(off=True), COUNT: {}},
        ),
        # Metrics that there are not here.
        ([metrics(override("TCP_OPENED_CONNECTIONS", t="'v'"))], {}, {}),
        (
            [metrics({"match": {"customMetric": "requests_total"}, "disabled": True})],
            {COUNT: {"off": True}},
            {COUNT: {"off": True}},
        ),
    ],
)
def test_overrides_are_merged_by_side_metric_and_tag(levels, inbound, outbound):
    """Levels are root namespace, namespace and workload."""
    places = (
        (ROOT, {}),
        (OWN, {}),
        (OWN, {"selector": WEB}),
    )
    documents = [
        telemetry({**more, **spec}, f"t{at}", namespace)
        for at, (spec, (namespace, more)) in enumerate(zip(levels, places, strict=False))
    ]
    plan = plan_of(*documents)
    assert shown(plan.inbound.metrics) == inbound
    assert shown(plan.outbound.metrics) == outbound


OTHER = {"name": "Other", "prometheus": {}}


@pytest.mark.parametrize(
    ("config", "levels", "then"),
    [
        ({"defaultProviders": {"metrics": []}}, [], "off"),
        ({"defaultProviders": {"metrics": ["prometheus"]}}, [], {}),
        ({"defaultProviders": {"metrics": ["none"]}}, [], "off"),
        ({"defaultProviders": {"metrics": ["none", "prometheus"]}}, [], {}),
        ({"defaultProviders": {"metrics": []}}, [metrics(providers=["Prometheus"])], {}),
        ({}, [metrics(providers=["unknown"])], "off"),
        ({}, [metrics(providers=["envoy"])], "off"),  # takes access logs
        # A lower level's providers stand in the place of those above.
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'")), metrics(providers=["other"])],
            {},
        ),
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'"), providers=["OTHER"]), metrics(override(u="'w'"))],
            all_with(t="v", u="w"),
        ),
        (
            {"extensionProviders": [OTHER]},
            [metrics(override(t="'v'"), providers=["other"]), metrics(providers=["prometheus"])],
            {},
        ),
    ],
)
def test_providers_of_a_level_stand_in_the_place_of_those_above(config, levels, then):
    """Names compare without case; those that there are not are left out."""
    documents = [
        telemetry(spec, namespace=namespace)
        for spec, namespace in zip(levels, (ROOT, OWN), strict=False)
    ]
    plan = plan_of(mesh_config(**config), *documents)
    assert shown(plan.inbound.metrics) == then


# --- in force ---------------------------------------------------------------------------------


def test_expressions_know_their_workload():
    """`xds.node` is of the workload that policy is compiled for."""
    expression = "xds.node.metadata['NAMESPACE'] + '/' + xds.node.metadata['LABELS']['app']"
    plan = plan_of(telemetry(metrics(override(t=expression))))
    assert shown(plan.inbound.metrics)[COUNT] == {"t": "shop/web"}


def test_a_change_of_other_policy_leaves_the_plan_as_it_is():
    """What is made of a plan is kept by it."""
    documents = APP + telemetry(metrics(override(t="'v'")))
    mesh = TestMesh(documents, f"{OWN}/app")
    before = mesh.cell.current.telemetry
    other = resource("ServiceEntry", {"hosts": ["a.example"], "resolution": "NONE",
                     "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}]})  # fmt: skip
    mesh.apply(documents + other)
    assert mesh.cell.current.telemetry is before
    mesh.apply(APP + telemetry(metrics(override(t="'w'"))))
    assert shown(mesh.cell.current.telemetry.inbound.metrics)[COUNT] == {"t": "w"}
    mesh.apply(APP)
    assert mesh.cell.current.telemetry is DEFAULT_PLAN


def test_a_workload_that_policy_does_not_know_has_its_namespaces_telemetry():
    """And is selected by no label."""
    mesh = TestMesh(telemetry(metrics(override(t="'v'")), namespace="default"), "default/app")
    assert shown(mesh.cell.current.telemetry.inbound.metrics) == all_with(t="v")


def test_what_cannot_be_compiled_leaves_the_plan_as_it_is():
    """Records of a newer daemon's, say. Telemetry fails open: no call goes wrong for it."""
    resources, _ = parse_text(APP + telemetry(metrics(override(t="'v'"))), "mesh.yaml")
    records = build_records(resources)
    told = []

    def built(records, previous=None):
        return build_snapshot(
            MemoryRecords(records),
            Client(namespace=OWN, name="app"),
            generation=1,
            on_refusal=lambda subject, error: told.append((subject, str(error))),
            previous=previous,
        )

    good = built(records)
    bad = b'{"metrics":[{"overrides":[{"tagOverrides":{"t":{"value":"??"}}}]}]}'
    broken = {**records, f"telemetry/{OWN}/it": bad}
    assert built(broken, good).telemetry is good.telemetry
    assert built(broken).telemetry is DEFAULT_PLAN
    assert built(broken).inbound is not None
    assert [subject for subject, _ in told] == ["telemetry"] * 3
    assert "at line 1, column 1" in told[0][1]
    again = built(records, built(broken, good))
    assert shown(again.telemetry.inbound.metrics) == all_with(t="v")
