"""ServiceEntries, WorkloadEntries and WorkloadGroups by themselves."""

from __future__ import annotations

import pytest
from policy_check import brief, problems, resource, workload

GOOD = {
    "hosts": ["reviews"],
    "location": "MESH_INTERNAL",
    "resolution": "STATIC",
    "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
    "endpoints": [{"address": "10.0.0.1"}],
}


def found(**changes):
    """Return the problems of a good ServiceEntry with changed fields; None removes one."""
    spec = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    return problems(resource("ServiceEntry", spec), workload("a"))


def port(number=9080, name="http", **more):
    """Return a port."""
    return {"number": number, "name": name, **more}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hosts": ["reviews", "reviews.shop.test", "*.shop.test"]},
        {"hosts": ["10.1.2.3"]},
        {"exportTo": ["~"]},
        {"exportTo": [".", "shop"]},
        {"ports": [port(80, "http-a"), port(81, "b", targetPort=9080, protocol="grpc-web")]},
        {"ports": [port(443, "https", protocol="HTTPS"), port(444, "t", protocol="tls")]},
        {"location": None},
        {"endpoints": [{"address": "::1", "ports": {"http": 1}, "weight": 5}]},
        {"endpoints": [{"address": "10.0.0.1"}, {"address": "10.0.0.1", "ports": {"http": 1}}]},
        {"endpoints": [{"address": "10.0.0.1", "labels": {"a.b/c": "", "d": "E_f.g"}}]},
        {"endpoints": [{"address": "10.0.0.1", "locality": "eu/eu-1/a", "serviceAccount": "r"}]},
        {"endpoints": None, "workloadSelector": {"labels": {"app": "a"}}},
        {"endpoints": [{"address": "10.0.0.1", "network": "near"}]},
        {"endpoints": [{"address": "unix:///run/reviews.sock"}, {"address": "10.0.0.1"}]},
        {"subjectAltNames": ["spiffe://cluster.local/ns/default/sa/reviews"]},
    ],
    ids=str,
)
def test_a_good_service_entry_has_no_problem(changes):
    """What Istio takes and the mesh carries out passes without a word."""
    assert found(**changes) == []


@pytest.mark.parametrize(
    ("changes", "code", "field", "message"),
    [
        ({"hosts": []}, "IST0106", "spec.hosts", "add the host"),
        ({"hosts": ["*"]}, "IST0106", "spec.hosts[0]", "every host there is"),
        ({"hosts": ["reviews:80"]}, "IST0106", "spec.hosts[0]", "without its port"),
        ({"hosts": ["re_views"]}, "IST0106", "spec.hosts[0]", "write hyphens"),
        ({"hosts": ["a", "A"]}, "duplicate", "spec.hosts[1]", "there already"),
        ({"hosts": [f"h{n}" for n in range(257)]}, "IST0106", "spec.hosts", "Istio takes 256"),
        ({"ports": None}, "IST0106", "spec.ports", "nothing can be called"),
        ({"ports": []}, "IST0106", "spec.ports", "nothing can be called"),
        (
            {"ports": [port(80, "a"), port(80, "b")]},
            "duplicate",
            "spec.ports[1].number",
            "at spec.ports[0].number",
        ),
        (
            {"ports": [port(80, "a"), port(81, "a")]},
            "duplicate",
            "spec.ports[1].name",
            "at spec.ports[0].name",
        ),
        ({"ports": [port(80, "a_b")]}, "IST0106", "spec.ports[0].name", "letters, digits"),
        ({"ports": [port(80, "")]}, "IST0106", "spec.ports[0].name", "letters, digits"),
        (
            {"ports": [port(protocol="HTPP")]},
            "IST0106",
            "spec.ports[0].protocol",
            "write one of GRPC",
        ),
        ({"resolution": None}, "IST0106", "spec.resolution", "missing, which means NONE"),
        (
            {"workloadSelector": {"labels": {"app": "a"}}},
            "IST0106",
            "spec.workloadSelector",
            "keep one of them",
        ),
        (
            {"endpoints": None, "workloadSelector": {"labels": {"app": "a*"}}},
            "IST0106",
            "spec.workloadSelector.labels[app]",
            "no wildcards",
        ),
        ({"exportTo": ["~", "shop"]}, "IST0106", "spec.exportTo", "stand alone"),
    ],
    ids=str,
)
def test_what_could_not_be_called_or_mean_two_things_is_an_error(changes, code, field, message):
    """Istio, ValidateServiceEntry, and what is not supported yet."""
    [problem] = [p for p in found(**changes) if p.severity == "error"]
    assert (problem.code, problem.field) == (code, field)
    assert message in problem.message


@pytest.mark.parametrize(
    ("endpoint", "field", "message"),
    [
        ({}, ".address", "write the IP address"),
        ({"address": ""}, ".address", "write the IP address"),
        ({"address": "reviews.test"}, ".address", "names need resolution: DNS"),
        ({"address": "*.test"}, ".address", "a pattern cannot be called"),
        ({"address": "10.0.0.1:80"}, ".address", "without its port: 10.0.0.1"),
        ({"address": "[::1]:80"}, ".address", "without its port: ::1"),
        ({"address": "[::1]"}, ".address", "without the brackets"),
        ({"address": "fe80::1%eth0"}, ".address", "without its zone"),
        ({"address": "unix:run/a"}, ".address", "an absolute path"),
        ({"address": "unix://run/a"}, ".address", "an absolute path"),
        ({"address": "unix:///run/"}, ".address", "no directory"),
        ({"address": "unix://@"}, ".address", "an abstract name"),
        ({"address": f"unix://@{'a' * 107}"}, ".address", "107 bytes at most"),
        ({"address": f"unix:///{'a' * 107}"}, ".address", "107 bytes at most"),
        ({"address": "unix:///run/a", "ports": {"http": 1}}, ".ports", "has no ports"),
        ({"address": "10.0.0"}, ".address", "write an IP address"),
        ({"address": "10.0.0.0/8"}, ".address", "write an IP address"),
        ({"address": "10.0.0.1", "ports": {"htp": 80}}, ".ports[htp]", "one of http"),
        ({"address": "10.0.0.1", "ports": {"a b": 80}}, ".ports[a b]", "no name of a port"),
        ({"address": "10.0.0.1", "weight": -1}, ".weight", "at least 1"),
        ({"address": "10.0.0.1", "labels": {"a": "b c"}}, ".labels[a]", "the value of a label"),
        ({"address": "10.0.0.1", "labels": {"-a": "b"}}, ".labels[-a]", "the name of a label"),
        ({"address": "10.0.0.1", "labels": {"a": "b" * 64}}, ".labels[a]", "the value of"),
        ({"address": "10.0.0.1", "locality": "a/b/c/d"}, ".locality", "region/zone/subzone"),
        ({"address": "10.0.0.1", "locality": "a//c"}, ".locality", "region/zone/subzone"),
        ({"address": "10.0.0.1", "serviceAccount": "ns/a"}, ".serviceAccount", "name alone"),
        ({"address": "10.0.0.1", "serviceAccount": "a b"}, ".serviceAccount", "write letters"),
    ],
    ids=str,
)
def test_an_endpoint_is_an_address_with_the_services_ports(endpoint, field, message):
    """Istio, validateWorkloadEntry; with resolution STATIC an address is an IP address."""
    [problem] = found(endpoints=[{"address": "10.0.0.9"}, endpoint])
    assert brief([problem]) == [("error", "IST0106", f"spec.endpoints[1]{field}")]
    assert message in problem.message


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"endpoints": None}, [("warning", "IST0133", "spec.endpoints")]),
        ({"endpoints": []}, [("warning", "IST0133", "spec.endpoints")]),
        (
            {"endpoints": [{"address": "10.0.0.1", "weight": 0}]},
            [("warning", "IST0133", "spec.endpoints[0].weight")],
        ),
        (
            {"endpoints": [{"address": "10.0.0.1"}, {"address": "10.0.0.1"}]},
            [("warning", "duplicate", "spec.endpoints[1]")],
        ),
        (
            {"endpoints": None, "workloadSelector": {}},
            [("warning", "IST0133", "spec.workloadSelector")],
        ),
        (
            {"endpoints": None, "location": None, "workloadSelector": {"labels": {"app": "a"}}},
            [("warning", "IST0133", "spec.location")],
        ),
        (
            {"endpoints": None, "workloadSelector": {"labels": {"app": "b"}}},
            [("warning", "IST0127", "spec.workloadSelector.labels")],
        ),
        ({"hosts": ["*shop.test"]}, [("warning", "IST0133", "spec.hosts[0]")]),
        (
            {"ports": [port(protocol="Mongo")]},
            [("info", "not-applicable", "spec.ports[0].protocol")],
        ),
    ],
    ids=str,
)
def test_what_is_most_likely_a_mistake_is_told(changes, expected):
    """Istio takes these, some with a warning."""
    assert brief(found(**changes)) == expected


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"address": "10.0.0.1", "ports": {"anything": 80}}, []),
        ({}, [("error", "IST0106", "spec.address")]),
        ({"network": "far"}, [("warning", "IST0133", "spec.address")]),
        ({"address": "reviews"}, []),
        ({"address": "unix:///run/reviews.sock"}, []),
        ({"address": "re/views"}, [("error", "IST0106", "spec.address")]),
        ({"address": "10.0.0.1", "weight": -2}, [("error", "IST0106", "spec.weight")]),
        ({"address": "10.0.0.1", "weight": 0}, [("warning", "IST0133", "spec.weight")]),
        ({"address": "10.0.0.1", "ports": {"a/b": 1}}, [("error", "IST0106", "spec.ports[a/b]")]),
    ],
    ids=str,
)
def test_a_workload_entry_is_an_endpoint_alone(spec, expected):
    """Its port names belong to services that select it, and so are not known here."""
    assert brief(problems(resource("WorkloadEntry", spec))) == expected


def test_labels_in_metadata_count_and_are_checked_too():
    """They select a workload as those of its spec do."""
    text = resource("WorkloadEntry", {"address": "10.0.0.1"}, labels={"app": "a/b/c"})
    assert brief(problems(text)) == [("error", "IST0106", "metadata.labels[app]")]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"template": {}}, []),
        ({"metadata": {"labels": {"app": "a"}}, "template": {"serviceAccount": "a"}}, []),
        ({"template": {"weight": -1}}, [("error", "IST0106", "spec.template.weight")]),
        (
            {"metadata": {"labels": {"app": "*"}}, "template": {}},
            [("error", "IST0106", "spec.metadata.labels[app]")],
        ),
        (
            {"template": {"labels": {"app": "a b"}}},
            [("error", "IST0106", "spec.template.labels[app]")],
        ),
    ],
    ids=str,
)
def test_a_workload_group_is_a_template_without_an_address(spec, expected):
    """Each of its workloads has an address of its own."""
    assert brief(problems(resource("WorkloadGroup", spec))) == expected


def test_each_problem_of_a_service_has_its_line():
    """The line is that of the item, not of the resource."""
    text = """apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews}
spec:
  hosts:
    - reviews
    - reviews
  resolution: STATIC
  ports:
    - number: 80
      name: http
      protocol: HPPT
  endpoints:
    - address: 10.0.0.1
      ports:
        https: 8443
"""
    assert {problem.field: problem.line for problem in problems(text)} == {
        "spec.hosts[1]": 7,
        "spec.ports[0].protocol": 12,
        "spec.endpoints[0].ports[https]": 16,
    }
