"""How endpoints are found: what each resolution asks of a ServiceEntry."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, workload

OURS = "meshware.dev/v1alpha1"
PORTS = [{"number": 80, "name": "http", "protocol": "HTTP"}]
TWO_PORTS = [*PORTS, {"number": 81, "name": "more", "protocol": "HTTP"}]


def entry(name="it", **spec):
    """Return a ServiceEntry."""
    given = {"hosts": ["api.shop.test"], "ports": PORTS, "location": "MESH_INTERNAL", **spec}
    return resource("ServiceEntry", given, name)


@pytest.mark.parametrize(
    "spec",
    [
        {"resolution": "DNS"},
        {"resolution": "DNS", "hosts": ["api", "API.shop.test"]},
        {"resolution": "DNS", "endpoints": [{"address": "a.test"}, {"address": "10.0.0.1"}]},
        {"resolution": "DNS", "hosts": ["*.shop.test"], "endpoints": [{"address": "a.test"}]},
        {"resolution": "DNS_ROUND_ROBIN"},
        {"resolution": "DNS_ROUND_ROBIN", "endpoints": [{"address": "a.test", "weight": 2}]},
        {"resolution": "NONE", "hosts": ["*.shop.test"]},
        {"hosts": ["*.shop.test", "10.0.0.1"]},
        {"resolution": "NONE", "addresses": ["10.0.0.0/8", "::1"]},
        {"resolution": "DYNAMIC_DNS", "hosts": ["*.shop.test"]},
        {"resolution": "DNS", "addresses": ["240.0.0.1"]},
    ],
    ids=str,
)
def test_what_istio_takes_has_no_problem(spec):
    """Istio, ValidateServiceEntry."""
    assert problems(entry(**spec)) == []


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"resolution": "DNS", "hosts": ["*.a.test"]}, "spec.hosts[0]", "nobody can look up"),
        ({"resolution": "DNS", "hosts": ["10.0.0.1"]}, "spec.hosts[0]", "STATIC, with endpoints"),
        (
            {"resolution": "DNS", "endpoints": [{"address": "unix:///run/a"}]},
            "spec.endpoints[0].address",
            "Unix sockets need resolution: STATIC",
        ),
        (
            {"resolution": "DNS", "endpoints": [{"address": "a b"}]},
            "spec.endpoints[0].address",
            "write an IP address or a name",
        ),
        (
            {"resolution": "DNS", "endpoints": [{"address": "a.test:80"}]},
            "spec.endpoints[0].address",
            "without its port: a.test",
        ),
        (
            {"resolution": "DNS_ROUND_ROBIN", "endpoints": [{"address": "a"}, {"address": "b"}]},
            "spec.endpoints",
            "takes one; write resolution: DNS",
        ),
        (
            {"resolution": "NONE", "endpoints": [{"address": "10.0.0.1"}]},
            "spec.resolution",
            "it is NONE: calls go where",
        ),
        ({"endpoints": []}, "spec.resolution", "missing, which means NONE"),
        (
            {
                "resolution": "DYNAMIC_DNS",
                "hosts": ["*.a.test"],
                "endpoints": [{"address": "10.0.0.1"}],
            },
            "spec.resolution",
            "it is DYNAMIC_DNS: calls go where",
        ),
        (
            {
                "resolution": "STATIC",
                "ports": TWO_PORTS,
                "endpoints": [{"address": "10.0.0.1"}, {"address": "unix:///run/a"}],
            },
            "spec.endpoints[1].address",
            "has one port",
        ),
        (
            {"resolution": "DNS", "addresses": ["10.0.0.0/8"]},
            "spec.addresses[0]",
            "a block of addresses, which goes with resolution NONE and STATIC",
        ),
        ({"addresses": ["a.test"]}, "spec.addresses[0]", "write an IP address, or a block"),
        ({"addresses": ["10.0.0.0/33"]}, "spec.addresses[0]", "write an IP address, or a block"),
        ({"addresses": ["::1", "0::1"]}, "spec.addresses[1]", "there already"),
    ],
    ids=str,
)
def test_what_could_not_be_found_is_an_error(spec, field, message):
    """Istio, ValidateServiceEntry, and the rules of its CRD."""
    [problem] = problems(entry(**spec))
    assert (problem.severity, problem.field) == ("error", field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"resolution": "DYNAMIC_DNS"},
            [("warning", "IST0133", "spec.hosts[0]")],
        ),
        (
            {"resolution": "NONE", "workloadSelector": {"labels": {"app": "a"}}},
            [("warning", "IST0133", "spec.resolution")],
        ),
        (
            {"resolution": "STATIC", "endpoints": [{"network": "far"}]},
            [("warning", "IST0133", "spec.endpoints[0].address")],
        ),
    ],
    ids=str,
)
def test_what_does_less_than_it_seems_is_told(spec, expected):
    """Istio takes these."""
    assert brief(problems(entry(**spec), workload("a"))) == expected


@pytest.mark.parametrize(
    ("spec", "address", "expected"),
    [
        ({"resolution": "STATIC"}, "a.test", [("error", "IST0106", "spec.resolution")]),
        ({"resolution": "DNS"}, "a.test", []),
        ({"resolution": "STATIC"}, "unix:///run/a", []),
        ({"resolution": "DNS"}, "unix:///run/a", [("error", "IST0106", "spec.resolution")]),
        (
            {"resolution": "STATIC", "ports": TWO_PORTS},
            "unix:///run/a",
            [("error", "IST0106", "spec.ports")],
        ),
    ],
    ids=str,
)
def test_a_selected_workload_has_an_address_that_its_service_can_use(spec, address, expected):
    """A WorkloadEntry alone may have any: what it means depends on who selects it."""
    chosen = {"workloadSelector": {"labels": {"app": "a"}}, **spec}
    assert brief(problems(entry(**chosen), workload("a", address=address))) == expected


def test_two_services_with_one_address_and_port_are_told():
    """A call to it could mean either."""
    both = entry("a", addresses=["10.0.0.1"]) + entry(
        "b", hosts=["b.test"], addresses=["10.0.0.1", "10.0.0.2"]
    )
    [problem] = problems(both)
    assert brief([problem]) == [("warning", "duplicate", "spec.addresses[0]")]
    assert "ServiceEntry default/a (mesh.yaml:" in problem.message
    assert problems(entry("a", addresses=["10.0.0.1"]), entry("b", hosts=["b.test"])) == []


@pytest.mark.parametrize("rate", ["0s", "0.5ms"])
def test_a_refresh_rate_is_at_least_a_millisecond(rate):
    """Istio takes none shorter."""
    mesh = resource("MeshConfig", {"dnsRefreshRate": rate}, "mesh", "istio-system", OURS)
    assert brief(problems(mesh)) == [("error", "IST0106", "spec.dnsRefreshRate")]


def test_how_many_endpoints_dns_finds_is_not_counted():
    """An outlier share that two names make pointless may well make sense."""
    rule = {
        "host": "api.shop.test",
        "trafficPolicy": {"outlierDetection": {"maxEjectionPercent": 10}},
    }
    two = [{"address": "a.test"}, {"address": "b.test"}]
    named = entry(resolution="DNS", endpoints=two)
    assert problems(named, resource("DestinationRule", rule)) == []
    static = [{"address": "10.0.0.1"}, {"address": "10.0.0.2"}]
    counted = entry(resolution="STATIC", endpoints=static)
    assert len(problems(counted, resource("DestinationRule", rule))) == 1
