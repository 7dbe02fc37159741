"""Resources that say different things about one host."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, routes, service, to, workload

SHOP = "reviews.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (
            routes(to(), name="a"),
            routes(to(), name="b"),
            [("error", "IST0109", "spec.hosts[0]")],
        ),
        (
            routes(to(), name="a"),
            routes(to(), host="reviews.default.svc.cluster.local", name="b"),
            [("error", "IST0109", "spec.hosts[0]")],
        ),
        (
            routes(to(), name="a", exportTo=["."]),
            routes(to(), name="b", exportTo=["."]),
            [("error", "IST0109", "spec.hosts[0]")],
        ),
        (
            routes(to(), name="a", exportTo=["web", "shop"]),
            routes(to(), name="b", exportTo=["shop", "api"]),
            [("error", "IST0109", "spec.hosts[0]")],
        ),
        (
            routes(to(), name="a", exportTo=["*"]),
            routes(to(), name="b", exportTo=["."]),
            [("info", "IST0109", "spec.hosts[0]")],
        ),
        (routes(to(), name="a", exportTo=["web"]), routes(to(), name="b", exportTo=["shop"]), []),
        (routes(to(), name="a"), routes(to(), host="*.local", name="b"), []),
        (routes(to(), name="a"), routes(to(), gateways=["shop/front"], name="b"), None),
    ],
    ids=[
        "the same host",
        "short and full",
        "both private",
        "lists that meet",
        "private over public",
        "lists that do not meet",
        "a pattern",
        "for gateways",
    ],
)
def test_one_virtual_service_speaks_for_a_host(first, second, expected):
    """In the mesh they are not merged; Istio, IST0109."""
    found = [p for p in problems(service(), first, second) if p.code == "IST0109"]
    assert brief(found) == (expected or [])
    if expected:
        assert found[0].name == "b"
        assert "VirtualService default/a (mesh.yaml:" in found[0].message


def test_the_owner_and_a_consumer_may_both_speak_for_a_host():
    """A consumer's VirtualService is private to its namespace, and there holds over the owner's."""
    owner = routes(to(SHOP), host=SHOP, namespace="shop")
    consumer = routes(to(SHOP), host=SHOP, namespace="web")
    [problem] = problems(service(namespace="shop"), owner, consumer)
    assert (str(problem.severity), problem.namespace) == ("info", "web")
    assert problem.message.startswith(
        "for clients of web this holds instead of VirtualService shop"
    )


def test_the_oldest_is_named_as_the_one_that_is_there():
    """Age is what decides between them, so the younger one is told."""
    text = resource(
        "VirtualService",
        {"hosts": ["reviews"], "http": [to()]},
        "a",
        creationTimestamp="2026-02-01T00:00:00Z",
    ) + resource(
        "VirtualService",
        {"hosts": ["reviews"], "http": [to()]},
        "b",
        creationTimestamp="2026-01-01T00:00:00Z",
    )
    [problem] = problems(service(), text)
    assert problem.name == "a"


def test_many_for_one_host_are_one_problem_each():
    """However many there are, each is told once."""
    text = "".join(routes(to(), name=f"r{number}") for number in range(20))
    assert len(problems(service(), text)) == 19


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        (service(name="b"), [("error", "duplicate", "spec.hosts[0]")]),
        (service("ratings", name="b"), []),
        (service("*.local", name="b"), []),
        (service(SHOP, name="b"), []),
    ],
    ids=["same", "other", "pattern", "of another namespace"],
)
def test_one_service_entry_of_a_namespace_declares_a_host(second, expected):
    """The oldest would hold, its ports and endpoints alone."""
    assert brief(problems(service(name="a"), second)) == expected


def test_a_host_that_two_namespaces_declare_for_all_is_told():
    """Clients of a third namespace get the oldest, whichever they meant."""
    text = service("api.test", "shop") + service("api.test", "web")
    [problem] = problems(text)
    assert brief([problem]) == [("warning", "duplicate", "spec.hosts[0]")]
    private = service("api.test", "shop") + service("api.test", "web", exportTo=["."])
    assert problems(private) == []


def test_what_is_there_twice_by_name_is_told_once():
    """A copied resource is one mistake, not one for each of its hosts."""
    assert [p.code for p in problems(service(), service())] == ["duplicate"]
    twice = routes(to()) + routes(to())
    assert [p.code for p in problems(service(), twice)] == ["duplicate"]


def test_a_service_whose_selector_meets_a_group_has_workloads():
    """The workloads of a group come and go; the group itself is enough."""
    chosen = service(workloadSelector={"labels": {"app": "reviews"}})
    group = resource(
        "WorkloadGroup", {"metadata": {"labels": {"app": "reviews"}}, "template": {}}, "reviews"
    )
    assert problems(chosen, group) == []
    assert problems(chosen, workload("reviews")) == []
    assert brief(problems(chosen, workload("reviews", "shop"))) == [
        ("warning", "IST0127", "spec.workloadSelector.labels")
    ]
