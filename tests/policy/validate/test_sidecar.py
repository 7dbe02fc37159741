"""Sidecars: by themselves, against services and workloads, and against each other."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, service, subsets, workload

WORLD = (
    subsets("v1") + service() + service("api.shop.test", "shop") + workload("web") + workload("job")
)
HOST = "reviews.default.svc.cluster.local"


def sidecar(name="it", namespace="default", **spec):
    """Return a Sidecar."""
    return resource("Sidecar", spec, name, namespace)


def egress(*hosts):
    """Return the egress of a Sidecar."""
    return [{"hosts": list(hosts)}]


def through(proxy, mode="ALLOW_ANY"):
    """Return what a Sidecar says of an egress proxy."""
    return {"outboundTrafficPolicy": {"egressProxy": proxy, **({"mode": mode} if mode else {})}}


@pytest.mark.parametrize(
    "spec",
    [
        {"egress": egress("*/*")},
        {"egress": egress("~/*")},
        {"egress": egress("./*", "shop/*")},
        {"egress": egress(f"./{HOST}", "*/api.shop.test", "shop/*.test")},
        {"egress": egress("./*"), "workloadSelector": {"labels": {"app": "web"}}},
        {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}},
        through({"host": "reviews", "port": {"number": 9080}}),
        through({"host": "reviews", "port": {"number": 9080}, "subset": "v1"}),
    ],
    ids=str,
)
def test_a_good_sidecar_has_no_problem(spec):
    """What Istio takes and the mesh carries out passes without a word."""
    assert problems(WORLD, sidecar(**spec)) == []


EGRESS = "spec.egress[0].hosts[0]"


@pytest.mark.parametrize(
    ("spec", "code", "field", "message"),
    [
        ({}, "IST0106", "spec", "says nothing"),
        (
            {"inboundConnectionPool": {"http": {"http2MaxRequests": 0}}},
            "IST0106",
            "spec.inboundConnectionPool",
            "sets no limit",
        ),
        ({"egress": []}, "IST0106", "spec.egress", "all or nothing"),
        ({"egress": [{"hosts": []}]}, "IST0106", "spec.egress[0].hosts", "namespace/host"),
        (
            {"egress": egress("./*") + egress("shop/*")},
            "IST0106",
            "spec.egress[1]",
            "into egress[0]",
        ),
        ({"egress": egress("reviews")}, "IST0106", EGRESS, f"./{HOST}"),
        ({"egress": egress("./reviews")}, "IST0106", EGRESS, f"write ./{HOST}"),
        ({"egress": egress("shop/api")}, "IST0106", EGRESS, "shop/api.shop.svc.cluster.local"),
        ({"egress": egress("/*")}, "IST0106", EGRESS, "before the slash"),
        ({"egress": egress("a_b/*")}, "IST0106", EGRESS, "before the slash"),
        ({"egress": egress("./")}, "IST0106", EGRESS, "write a host"),
        ({"egress": egress("./a.*")}, "IST0106", EGRESS, "only come first"),
        ({"egress": egress("./*shop.test")}, "IST0106", EGRESS, "write ./*.shop.test"),
        ({"egress": egress("~shop/*")}, "IST0106", EGRESS, "stands alone, for nothing"),
        (
            {"egress": egress("./*"), "workloadSelector": {"labels": {"app": "*"}}},
            "IST0106",
            "spec.workloadSelector.labels[app]",
            "no wildcards",
        ),
    ],
    ids=str,
)
def test_a_sidecar_that_cannot_be_read_is_an_error(spec, code, field, message):
    """Istio, ValidateSidecar: hosts are namespace/host, full, and there is one list of them."""
    [problem] = [p for p in problems(WORLD, sidecar(**spec)) if p.severity == "error"]
    assert (problem.code, problem.field) == (code, field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"egress": egress("./*", "./*")},
            [("warning", "duplicate", "spec.egress[0].hosts[1]")],
        ),
        (
            {"egress": egress("shop/*", "*/*")},
            [("warning", "IST0133", "spec.egress[0].hosts[0]")],
        ),
        ({"egress": egress("~/*", "./*")}, [("warning", "IST0133", "spec.egress[0].hosts[0]")]),
        ({"outboundTrafficPolicy": {}}, [("warning", "IST0133", "spec.outboundTrafficPolicy")]),
        (
            {"egress": egress("./*"), "workloadSelector": {}},
            [("warning", "IST0133", "spec.workloadSelector")],
        ),
        (
            {"egress": egress("./*"), "workloadSelector": {"labels": {"app": "nobody"}}},
            [("warning", "IST0127", "spec.workloadSelector.labels")],
        ),
        ({"egress": egress("./a.test")}, [("warning", "IST0101", EGRESS)]),
        ({"egress": egress("*/a.test")}, [("warning", "IST0101", EGRESS)]),
        ({"egress": egress("./api.shop.test")}, [("warning", "IST0101", EGRESS)]),
        ({"egress": egress("./*.shop.test")}, [("warning", "IST0101", EGRESS)]),
        ({"egress": egress("*/*.example")}, [("warning", "IST0101", EGRESS)]),
    ],
    ids=str,
)
def test_a_sidecar_that_does_less_than_it_says_is_told(spec, expected):
    """A client that does not import what it needs finds out by its calls."""
    assert brief(problems(WORLD, sidecar(**spec))) == expected


def test_a_namespace_has_one_sidecar_for_all():
    """Istio, IST0111; those of other namespaces do not count."""
    one = {"egress": egress("./*")}
    found = problems(WORLD, sidecar("b", **one), sidecar("a", **one), sidecar("a", "shop", **one))
    assert brief(found) == [("error", "IST0111", "spec")]
    assert found[0].name == "b"
    assert "Sidecar default/a (mesh.yaml:" in found[0].message


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"app": "job"}, []),
        ({"app": "web"}, [("error", "IST0110", "spec.workloadSelector.labels")]),
    ],
    ids=str,
)
def test_a_workload_has_one_sidecar(labels, expected):
    """Istio, IST0110: two selectors that meet in a workload."""
    first = sidecar("a", egress=egress("./*"), workloadSelector={"labels": {"app": "web"}})
    second = sidecar("b", egress=egress("./*"), workloadSelector={"labels": labels})
    assert brief(problems(WORLD, first, second)) == expected


PROXY = "spec.outboundTrafficPolicy.egressProxy"
GATE = {"host": "reviews", "port": {"number": 9080}}


@pytest.mark.parametrize(
    ("spec", "code", "field", "message"),
    [
        (through(GATE, "REGISTRY_ONLY"), "IST0106", "spec.outboundTrafficPolicy.mode", "ALLOW_ANY"),
        (through(GATE, None), "IST0106", "spec.outboundTrafficPolicy.mode", "is missing"),
        (through({"host": "reviews"}), "IST0106", f"{PROXY}.port", "port is missing"),
        (through({**GATE, "host": "*.test"}), "IST0106", f"{PROXY}.host", "a pattern"),
        (through({**GATE, "host": "rviews"}), "IST0101", f"{PROXY}.host", "did you mean reviews?"),
        (
            through({"host": "reviews", "port": {"number": 1}}),
            "IST0101",
            f"{PROXY}.port.number",
            "it has 9080",
        ),
        (through({**GATE, "subset": "v9"}), "IST0101", f"{PROXY}.subset", "add it to subsets"),
    ],
    ids=str,
)
def test_an_egress_proxy_is_a_service_with_a_port(spec, code, field, message):
    """Istio, validateSidecarOutboundTrafficPolicy; and there has to be one to call."""
    [problem] = problems(WORLD, sidecar(**spec))
    assert (problem.severity, problem.code, problem.field) == ("error", code, field)
    assert message in problem.message
