"""What VirtualServices refer to: hosts, ports and subsets, as the clients that get them see it."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, routes, service, subsets, to, workload

SHOP = "reviews.shop.svc.cluster.local"
HOST = "spec.http[0].route[0].destination.host"
SUBSET = "spec.http[0].route[0].destination.subset"
PORT = "spec.http[0].route[0].destination.port.number"
UNKNOWN = "IST0101"


def found(*texts):
    """Return severity, code and field of the problems."""
    return brief(problems(*texts))


@pytest.mark.parametrize(
    "texts",
    [
        (service(), routes(to())),
        (service(), routes(to("reviews.default.svc.cluster.local."[:-1]))),
        (service(), routes(to("REVIEWS"))),
        (service(namespace="shop"), routes(to(), namespace="shop")),
        (service(namespace="shop"), routes(to(SHOP), host=SHOP, namespace="web")),
        (service("a.test"), routes(to("a.test"), host="a.test")),
        (service("*.shop.test"), routes(to("a.shop.test"), host="a.shop.test")),
        (service("*.shop.test"), routes(to("a.shop.test"), host="*.shop.test")),
        (service(), routes(to(port={"number": 9080}))),
        (service(), subsets("v1"), routes(to(subset="v1"))),
        (service(), subsets("v1", host="*.local", exportTo=["*"]), routes(to(subset="v1"))),
        (service(), subsets("v1", exportTo=["."]), routes(to(subset="v1"), exportTo=["."])),
        (service(), subsets("v1", name="a"), subsets("v2", name="b"), routes(to(subset="v2"))),
        (service("10.1.1.1"), routes(to("10.1.1.1"), host="10.1.1.1")),
    ],
    ids=range(14),
)
def test_what_is_declared_can_be_referred_to(texts):
    """By its short name within its namespace, by its full one elsewhere, through patterns."""
    assert found(*texts) == []


@pytest.mark.parametrize(
    ("world", "written", "remedy"),
    [
        (service(), "rewiews", "did you mean reviews?"),
        (service("api.shop.test"), "api.shop.tset", "did you mean api.shop.test?"),
        (service(namespace="shop"), "reviews", f"did you mean {SHOP}?"),
        (service(namespace="shop"), "reviews.shop", f"has no dot: write {SHOP}"),
        (service(namespace="shop"), "reviews.shop.svc", f"has no dot: write {SHOP}"),
        (service(), "something.else", "add a ServiceEntry"),
    ],
)
def test_an_unknown_destination_is_an_error_with_the_host_that_was_meant(world, written, remedy):
    """Its calls would be 503 NC; `reviews.shop` in policy is a host of its own, as in Istio."""
    text = world + service("front") + routes(to(written), host="front")
    [problem] = problems(text)
    assert brief([problem]) == [("error", UNKNOWN, HOST)]
    assert problem.message.endswith(remedy)
    assert "no ServiceEntry has the host" in problem.message


def test_a_destination_that_is_not_exported_here_is_an_error():
    """The message says whose `exportTo` keeps it away."""
    own = service("front", "web") + routes(to(SHOP), host="front", namespace="web")
    [problem] = problems(service(namespace="shop", exportTo=["."]), own)
    assert brief([problem]) == [("error", UNKNOWN, HOST)]
    assert "ServiceEntry shop/reviews does not export it to clients of web" in problem.message


def test_a_destination_that_some_clients_do_not_see_is_told():
    """A public VirtualService with a private destination is 503 for everybody else."""
    world = service("front") + service("back", exportTo=["."])
    [problem] = problems(world, routes(to("back"), host="front"))
    assert brief([problem]) == [("warning", UNKNOWN, HOST)]
    assert problem.message.startswith("clients of other namespaces do not see back.default.svc")
    assert problems(world, routes(to("back"), host="front", exportTo=["."])) == []


def test_clients_that_cannot_dial_the_host_are_no_clients():
    """A private service with a public VirtualService concerns its own namespace only."""
    assert found(service(exportTo=["."]), routes(to())) == []


@pytest.mark.parametrize(
    ("host", "code"),
    [("reviews", None), ("*.local", None), ("rewiews", UNKNOWN), ("*.test", UNKNOWN)],
)
def test_routes_for_a_host_that_nobody_declares_are_told(host, code):
    """Istio routes such a host on port 80 only, so this is most often a slip."""
    expected = [] if code is None else [("warning", code, "spec.hosts[0]")]
    assert found(service(), routes(to(), host=host)) == expected


@pytest.mark.parametrize(
    ("rules", "hint"),
    [
        ("", "add it to subsets of one"),
        (subsets("V2"), "there are V2; did you mean V2?"),
        (subsets("v1", "stable"), "there are v1, stable; add it to subsets of one"),
        (subsets("stable"), "there are stable; add it to subsets of one"),
        (subsets("v2", host="ratings"), "add it to subsets of one"),
        (subsets("v2", host="reviews", namespace="web"), "add it to subsets of one"),
    ],
    ids=["no rule", "a like one", "several", "another", "of another host", "of other clients"],
)
def test_a_subset_that_no_rule_defines_is_an_error(rules, hint):
    """Its calls would be 503 NC."""
    text = service() + service("ratings") + rules + routes(to(subset="v2"))
    [problem] = [p for p in problems(text) if p.kind == "VirtualService"]
    assert brief([problem]) == [("error", UNKNOWN, SUBSET)]
    assert problem.message.startswith(
        "no DestinationRule for reviews.default.svc.cluster.local defines subset 'v2'"
    )
    assert problem.message.endswith(hint)


def test_a_subset_that_some_clients_do_not_get_is_told():
    """A DestinationRule that is private to its namespace does not serve the callers of others."""
    text = service() + subsets("v1", exportTo=["."]) + routes(to(subset="v1"))
    [problem] = problems(text)
    assert brief([problem]) == [("warning", UNKNOWN, SUBSET)]
    assert problem.message.startswith("clients of other namespaces get no DestinationRule")


def test_a_rule_of_the_clients_namespace_hides_that_of_the_service():
    """Istio takes the first namespace that has any rule, and merges nothing across."""
    text = (
        service(namespace="shop")
        + subsets("v1", host="reviews", namespace="shop")
        + resource(
            "DestinationRule",
            {"host": "*.local", "trafficPolicy": {"loadBalancer": {"simple": "RANDOM"}}},
            "all",
            "web",
        )
        + routes(to(SHOP, subset="v1"), host=SHOP, namespace="web")
    )
    assert found(text) == [("error", UNKNOWN, SUBSET)]


@pytest.mark.parametrize(
    ("ports", "route", "expected"),
    [
        ((80,), to(port={"number": 81}), [("error", UNKNOWN, PORT)]),
        ((80, 81), to(port={"number": 81}), []),
        ((80, 81), to(port={"number": 82}), [("error", UNKNOWN, PORT)]),
        ((80, 81), to(), [("info", "IST0112", HOST[:-5])]),
        ((80, 81), {"match": [{"port": 80}], **to()}, []),
        (
            (80,),
            {"match": [{"port": 81}], **to()},
            [("warning", "IST0131", "spec.http[0].match[0].port")],
        ),
    ],
    ids=str,
)
def test_a_port_is_one_of_the_services(ports, route, expected):
    """Of several ports the dialled one is taken; one that the service has not is 503 NC."""
    assert found(service(ports=ports), routes(route)) == expected


def test_a_destination_needs_its_port_where_callers_dial_another():
    """Istio, IST0112: calls to 8080 of the front find no such port of the back."""
    world = service("front", ports=(8080,)) + service("back", ports=(80, 81))
    [problem] = problems(world, routes(to("back"), host="front"))
    assert brief([problem]) == [("warning", "IST0112", HOST[:-5])]
    assert "calls to port 8080 find none of them; write port.number" in problem.message
    only = service("front", ports=(8080,)) + service("back", ports=(80,))
    assert problems(only, routes(to("back"), host="front")) == []


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"sourceLabels": {"app": "web"}}, []),
        ({"sourceNamespace": "default", "sourceLabels": {"app": "web"}}, []),
        (
            {"sourceLabels": {"app": "wep"}},
            [("warning", "IST0127", "spec.http[0].match[0].sourceLabels")],
        ),
        (
            {"sourceNamespace": "shop", "sourceLabels": {"app": "web"}},
            [("warning", "IST0127", "spec.http[0].match[0].sourceLabels")],
        ),
    ],
    ids=str,
)
def test_labels_of_callers_are_those_of_some_workload(block, expected):
    """A condition that no caller meets leaves its route without calls."""
    text = service() + workload("web") + routes({"match": [block], **to()}, to())
    assert found(text) == expected


def test_callers_of_a_namespace_that_does_not_get_the_routes_are_told():
    """`exportTo` decides first who sees a VirtualService at all."""
    route = {"match": [{"sourceNamespace": "shop"}], **to()}
    assert found(service(), routes(route, to(), exportTo=["."])) == [
        ("warning", "IST0131", "spec.http[0].match[0].sourceNamespace")
    ]
    assert found(service(), routes(route, to(), exportTo=[".", "shop"])) == []


def test_parts_for_gateways_refer_to_what_they_like():
    """Only the routes that clients of the mesh take are looked at."""
    route = {"match": [{"gateways": ["shop/front"], "port": 1}], **to("nowhere")}
    assert found(service(), routes(route, to())) == []


def test_meshconfig_decides_what_an_absent_export_means():
    """With Istio's default a rule about another namespace's host is for all clients."""
    config = resource(
        "MeshConfig",
        {"defaultVirtualServiceExportTo": ["*"]},
        "mesh",
        "istio-system",
        "meshware.dev/v1alpha1",
    )
    world = service(namespace="shop") + subsets("v1", host=SHOP, namespace="web")
    mine = routes(to(SHOP, subset="v1"), host=SHOP, namespace="web")
    assert found(world, mine) == []
    assert found(world, mine, config) == [("warning", UNKNOWN, SUBSET)]


def test_a_destination_is_told_where_it_is_written():
    """Line and field are those of the host, in a file of many."""
    text = service() + (
        """---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: default}
spec:
  hosts: [reviews]
  http:
    - route:
        - destination:
            host: reviews
            subset: v7
        - destination:
            host: rewiews
          weight: 1
"""
    )
    first = text.index("metadata: {name: reviews, namespace")
    start = text[:first].count("\n") + 1
    lines = {p.field: (p.line or 0) - start for p in problems(text) if p.severity == "error"}
    assert lines == {
        "spec.http[0].route[0].destination.subset": 7,
        "spec.http[0].route[1].destination.host": 9,
    }


@pytest.mark.parametrize(
    ("spec", "host", "message"),
    [
        ({"resolution": "NONE"}, "*.shop.test", None),
        ({"resolution": "NONE"}, "a.shop.test", None),
        ({"resolution": "NONE"}, "reviews", "is not covered by it; write one host"),
        ({"resolution": "DYNAMIC_DNS"}, "a.test", "is not covered by it; write one host"),
        ({"resolution": "STATIC", "endpoints": [{"address": "10.0.0.1"}]}, "reviews", None),
    ],
    ids=str,
)
def test_a_pattern_without_endpoints_is_for_the_hosts_that_it_covers(spec, host, message):
    """Calls go where they were dialled, which another host would not lead to."""
    ports = [{"number": 9080, "name": "http", "protocol": "HTTP"}]
    pattern = resource("ServiceEntry", {"hosts": ["*.shop.test"], "ports": ports, **spec}, "any")
    found = problems(service(), service("a.test"), pattern, routes(to("*.shop.test"), host=host))
    assert [problem.message for problem in found if problem.severity == "error"] == (
        [] if message is None else [found[0].message]
    )
    assert message is None or message in found[0].message
