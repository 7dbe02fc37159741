"""DestinationRules: by themselves, and against the services they are for."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, service, subsets, workload

WORLD = service() + workload("web")
LB = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
V1 = {"name": "v1", "labels": {"version": "v1"}}


def found(*more, host="reviews", **spec):
    """Return the problems of a DestinationRule for a host of the world."""
    return problems(WORLD, *more, resource("DestinationRule", {"host": host, **spec}))


@pytest.mark.parametrize(
    "spec",
    [
        {"trafficPolicy": LB},
        {"subsets": [V1]},
        {"host": "*.local", "trafficPolicy": LB},
        {"host": "*", "trafficPolicy": LB},
        {"subsets": [{**V1, "trafficPolicy": LB}], "exportTo": ["."]},
        {"trafficPolicy": {"tls": {"mode": "DISABLE"}}},
        {"trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "1ms"}}}},
        {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 9080}, **LB}]}},
        {"trafficPolicy": LB, "workloadSelector": {"matchLabels": {"app": "web"}}},
        {
            "trafficPolicy": LB,
            "workloadSelector": {"matchLabels": {"app": "web"}},
            "exportTo": ["."],
        },
    ],
    ids=str,
)
def test_a_good_rule_has_no_problem(spec):
    """What Istio takes and the mesh carries out passes without a word."""
    assert found(**spec) == []


POLICY = "spec.trafficPolicy"


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"host": "", "trafficPolicy": LB}, "spec.host", "write a host"),
        ({"host": "a.*", "trafficPolicy": LB}, "spec.host", "only come first"),
        ({"host": "reviews:80", "trafficPolicy": LB}, "spec.host", "without its port"),
        ({"trafficPolicy": {}}, POLICY, "trafficPolicy is empty"),
        ({"trafficPolicy": {"connectionPool": {}}}, f"{POLICY}.connectionPool", "is empty"),
        (
            {"trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "0s"}}}},
            f"{POLICY}.connectionPool.tcp.connectTimeout",
            "at least 1ms",
        ),
        (
            {"trafficPolicy": {"portLevelSettings": [LB]}},
            f"{POLICY}.portLevelSettings[0].port",
            "port.number is missing",
        ),
        (
            {"trafficPolicy": {"portLevelSettings": [{"port": {}, **LB}]}},
            f"{POLICY}.portLevelSettings[0].port",
            "port.number is missing",
        ),
        (
            {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 9080}}]}},
            f"{POLICY}.portLevelSettings[0]",
            "no setting for this port",
        ),
        (
            {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 9080}, **LB}] * 2}},
            f"{POLICY}.portLevelSettings[1].port.number",
            "portLevelSettings[0] is for port 9080 too",
        ),
        ({"subsets": [{**V1, "name": ""}]}, "spec.subsets[0].name", "letters, digits"),
        ({"subsets": [{**V1, "name": "v_1"}]}, "spec.subsets[0].name", "letters, digits"),
        ({"subsets": [V1, V1]}, "spec.subsets[1].name", "at spec.subsets[0].name"),
        (
            {"subsets": [{**V1, "trafficPolicy": {}}]},
            "spec.subsets[0].trafficPolicy",
            "trafficPolicy is empty",
        ),
        (
            {"trafficPolicy": LB, "workloadSelector": {"matchLabels": {"app": "w*"}}},
            "spec.workloadSelector.matchLabels[app]",
            "no wildcards",
        ),
        (
            {
                "trafficPolicy": LB,
                "workloadSelector": {"matchLabels": {"app": "web"}},
                "exportTo": ["shop"],
            },
            "spec.exportTo",
            "clients of its own namespace",
        ),
        ({"trafficPolicy": LB, "exportTo": ["~"]}, "spec.exportTo[0]", "from everybody"),
    ],
    ids=str,
)
def test_a_rule_that_cannot_be_meant_so_is_an_error(spec, field, message):
    """Istio, ValidateDestinationRule."""
    [problem] = [p for p in found(**spec) if p.severity == "error"]
    assert problem.field == field
    assert message in problem.message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, [("warning", "IST0133", "spec")]),
        ({"subsets": [{"name": "all"}]}, [("warning", "IST0133", "spec.subsets[0]")]),
        ({"trafficPolicy": {"tls": {}}}, [("warning", "IST0133", "spec.trafficPolicy.tls")]),
        (
            {"trafficPolicy": LB, "workloadSelector": {}},
            [("warning", "IST0133", "spec.workloadSelector")],
        ),
        (
            {
                "trafficPolicy": {
                    **LB,
                    "portLevelSettings": [
                        {"port": {"number": 9080}, "tls": {"mode": "DISABLE"}},
                    ],
                }
            },
            [("info", "IST0133", "spec.trafficPolicy.portLevelSettings[0]")],
        ),
        ({"host": "rewiews", "trafficPolicy": LB}, [("warning", "IST0174", "spec.host")]),
        ({"host": "*.shop.test", "trafficPolicy": LB}, [("warning", "IST0174", "spec.host")]),
        (
            {"subsets": [V1, {"name": "v9", "labels": {"version": "v9"}}]},
            [("warning", "IST0173", "spec.subsets[1].labels")],
        ),
        (
            {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, **LB}]}},
            [("warning", "IST0101", f"{POLICY}.portLevelSettings[0].port.number")],
        ),
        (
            {
                "subsets": [
                    {
                        **V1,
                        "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, **LB}]},
                    }
                ]
            },
            [
                (
                    "warning",
                    "IST0101",
                    "spec.subsets[0].trafficPolicy.portLevelSettings[0].port.number",
                )
            ],
        ),
        (
            {"trafficPolicy": LB, "workloadSelector": {"matchLabels": {"app": "nobody"}}},
            [("warning", "IST0127", "spec.workloadSelector.matchLabels")],
        ),
    ],
    ids=str,
)
def test_a_rule_that_does_less_than_it_says_is_told(spec, expected):
    """Istio takes these: its analysers tell, or nobody does."""
    assert brief(found(**spec)) == expected


def test_a_slip_in_the_host_gets_the_host_that_was_meant():
    """The remedy is the full service name where the short one is of another namespace."""
    [problem] = problems(WORLD, subsets("v1", host="reviews", namespace="shop"))
    assert problem.message.endswith("did you mean reviews.default.svc.cluster.local?")


def test_a_rule_for_the_clients_of_others_belongs_where_they_look():
    """Clients look in their own namespace, in the service's and in the root one."""
    host = "reviews.default.svc.cluster.local"
    mine = subsets("v1", host=host, namespace="web", exportTo=["*"])
    assert brief(problems(WORLD, mine)) == [("warning", "IST0133", "spec.exportTo")]
    root = subsets("v1", host=host, namespace="istio-system", exportTo=["*"])
    assert problems(WORLD, root) == []


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (subsets("v2", name="b"), []),
        (subsets("v1", name="b"), []),
        (
            resource(
                "DestinationRule",
                {"host": "reviews", "subsets": [{"name": "v1", "labels": {"version": "v2"}}]},
                "b",
            ),
            [("error", "duplicate", "spec.subsets[0].name")],
        ),
        (
            resource("DestinationRule", {"host": "reviews", "trafficPolicy": LB}, "b"),
            [],
        ),
    ],
    ids=["other subsets", "the same subset", "a subset in another way", "a policy alone"],
)
def test_two_rules_for_one_host_are_joined_and_may_not_contradict(other, expected):
    """Istio unions the subsets by name, and the first that there is holds."""
    assert brief(problems(WORLD, subsets("v1", name="a"), other)) == expected


def test_two_rules_with_policies_for_one_host_contradict():
    """Only the first policy would hold, and which is first is a matter of age."""
    one = resource("DestinationRule", {"host": "reviews", "trafficPolicy": LB}, "a")
    policy = {"loadBalancer": {"simple": "RANDOM"}}
    other = resource("DestinationRule", {"host": "reviews", "trafficPolicy": policy}, "b")
    [problem] = problems(WORLD, one, other)
    assert (problem.name, problem.field) == ("b", "spec.trafficPolicy")
    assert "DestinationRule default/a (mesh.yaml:" in problem.message


def test_two_rules_for_the_same_clients_are_an_error():
    """Of those with equal selectors only the oldest counts."""
    selector = {"matchLabels": {"app": "web"}}
    spec = {"host": "reviews", "trafficPolicy": LB, "workloadSelector": selector}
    text = resource("DestinationRule", spec, "a") + resource("DestinationRule", spec, "b")
    assert brief(problems(WORLD, text)) == [("error", "duplicate", "spec.workloadSelector")]


@pytest.mark.parametrize(
    ("policy", "severity", "field"),
    [
        ({"connectionPool": {"http": {"http2MaxRequests": -1}}}, "error", "http2MaxRequests"),
        ({"connectionPool": {"http": {"maxRetries": 0}}}, "warning", "maxRetries"),
        ({"retryBudget": {"minRetryConcurrency": -1}}, "error", "minRetryConcurrency"),
    ],
    ids=str,
)
def test_limits_are_numbers_above_zero(policy, severity, field):
    """A 0 counts as not written, which is no limit at all."""
    rule = resource("DestinationRule", {"host": "reviews", "trafficPolicy": policy})
    [problem] = problems(service(), rule)
    assert str(problem.severity) == severity
    assert problem.field.endswith(field)
