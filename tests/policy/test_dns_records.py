"""Which names the records ask for, and what answers make of them."""

from __future__ import annotations

import json

import msgspec
import pytest

from meshware.policy.dns_records import (
    dns_names,
    known_addresses,
    refresh_s,
    with_addresses,
    with_names,
)
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.testing import TestMesh


def entry(host="api.test", resolution="DNS", name="it", namespace="default", **spec):
    """Return a ServiceEntry."""
    given = {
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "resolution": resolution,
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
        **spec,
    }
    return f"""---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}, namespace: {namespace}}}
spec: {json.dumps(given)}
"""


def records(*texts):
    """Compile policy."""
    loaded = load_text("".join(texts))
    loaded.raise_for_errors()
    return build_records(loaded.resources)


def endpoints(policy, known, host="api.test", namespace="default"):
    """Return address, ports and labels of the endpoints of a host, as a worker would read them."""
    found = json.loads(with_addresses(policy, known)[f"ep/{host}"])["byNamespace"][namespace]
    return [(each["address"], each["ports"]["80"], each.get("labels")) for each in found]


BOTH = {"api.test": ("10.0.0.2", "10.0.0.1")}


def test_a_service_without_endpoints_is_looked_up_itself():
    """Every address of its host is an endpoint, at the target port."""
    policy = records(entry())
    assert dns_names(policy) == {"api.test"}
    assert endpoints(policy, BOTH) == [("10.0.0.1", 8080, None), ("10.0.0.2", 8080, None)]


def test_a_short_host_is_looked_up_as_it_is_written():
    """It expands as a service, and to the resolver it is a name for its search domains."""
    policy = records(entry("API"))
    assert dns_names(policy) == {"api"}
    known = {"api": ("10.0.0.1",)}
    assert endpoints(policy, known, "api.default.svc.cluster.local") == [("10.0.0.1", 8080, None)]


def test_every_host_has_its_own_addresses():
    """Several hosts without endpoints are several names."""
    policy = records(entry(hosts=["a.test", "b.test"]))
    known = {"a.test": ("10.0.0.1",), "b.test": ("10.0.0.2",)}
    assert endpoints(policy, known, "a.test") == [("10.0.0.1", 8080, None)]
    assert endpoints(policy, known, "b.test") == [("10.0.0.2", 8080, None)]


def test_a_name_that_was_never_answered_has_no_endpoint():
    """Calls are then 503 UH, and nothing fails."""
    assert endpoints(records(entry()), {}) == []


def test_endpoints_pass_what_is_said_of_them_on_to_every_address():
    """Labels, weight and ports belong to the name; an address among names stays as it is."""
    policy = records(
        entry(
            endpoints=[
                {"address": "A.test", "labels": {"version": "v1"}, "ports": {"http": 81}},
                {"address": "10.0.0.9", "labels": {"version": "v2"}},
            ]
        )
    )
    assert dns_names(policy) == {"a.test"}
    assert endpoints(policy, {"a.test": ("10.0.0.1", "10.0.0.2")}) == [
        ("10.0.0.1", 81, {"version": "v1"}),
        ("10.0.0.2", 81, {"version": "v1"}),
        ("10.0.0.9", 8080, {"version": "v2"}),
    ]


def test_an_address_that_two_names_have_is_one_endpoint():
    """As with Envoy: it would get twice its share."""
    policy = records(entry(endpoints=[{"address": "a.test", "weight": 3}, {"address": "b.test"}]))
    known = {"a.test": ("10.0.0.1",), "b.test": ("10.0.0.1", "10.0.0.2")}
    assert [found[0] for found in endpoints(policy, known)] == ["10.0.0.1", "10.0.0.2"]


def test_round_robin_takes_the_first_address_of_the_answer():
    """The next answer may begin with another one."""
    policy = records(entry(resolution="DNS_ROUND_ROBIN"))
    assert endpoints(policy, BOTH) == [("10.0.0.2", 8080, None)]


def test_the_order_of_an_answer_changes_nothing_but_for_round_robin():
    """Servers turn their answers round each time; nobody shall compile for that."""
    turned = {"api.test": BOTH["api.test"][::-1]}
    policy = records(entry())
    assert with_addresses(policy, BOTH) == with_addresses(policy, turned)
    policy = records(entry(resolution="DNS_ROUND_ROBIN"))
    assert with_addresses(policy, BOTH) != with_addresses(policy, turned)


def test_selected_workloads_may_be_names():
    """With DNS; their labels are the selected ones."""
    instance = """---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: one}
spec: {address: one.test, labels: {app: api}}
"""
    policy = records(entry(workloadSelector={"labels": {"app": "api"}}), instance)
    assert endpoints(policy, {"one.test": ("10.0.0.1",)}) == [("10.0.0.1", 8080, {"app": "api"})]


def test_one_host_may_be_found_in_two_ways_in_two_namespaces():
    """Each claim has its own endpoints."""
    policy = records(
        entry(),
        entry(
            resolution="STATIC",
            namespace="shop",
            endpoints=[{"address": "10.0.0.8"}],
            exportTo=["."],
        ),
    )
    assert endpoints(policy, BOTH)[0][0] == "10.0.0.1"
    assert endpoints(policy, BOTH, namespace="shop") == [("10.0.0.8", 8080, None)]


def test_newer_answers_replace_older_ones():
    """Filling in is done over what was filled in before, also by a daemon that restarts."""
    once = with_addresses(records(entry()), BOTH)
    assert endpoints(once, {"api.test": ("10.0.0.5",)}) == [("10.0.0.5", 8080, None)]
    assert dns_names(once) == {"api.test"}


def test_records_say_what_was_found_for_which_name():
    """So that a daemon that starts while DNS is down knows what the one before it found."""
    policy = records(entry(), entry("b.test", "DNS_ROUND_ROBIN", "b"))
    known = {"api.test": ("10.0.0.1", "10.0.0.2"), "b.test": ("10.0.0.3",)}
    assert known_addresses(with_addresses(policy, known)) == known
    assert known_addresses(policy) == {}


def test_records_without_names_stay_as_they_are():
    """No daemon without names does anything more than before."""
    policy = records(entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1"}]))
    assert dns_names(policy) == frozenset()
    assert with_addresses(policy, BOTH) == policy
    assert b'"dns"' not in policy["ep/api.test"]


def test_a_label_that_looks_like_the_mark_is_no_name():
    """The mark in a record's bytes is looked at twice."""
    policy = records(
        entry(resolution="STATIC", endpoints=[{"address": "10.0.0.1", "labels": {"dns": "x"}}])
    )
    assert b'"dns":' in policy["ep/api.test"]
    assert dns_names(policy) == frozenset()
    assert with_addresses(policy, BOTH) == policy


def test_names_can_stand_for_their_addresses():
    """`meshware explain` has no network, and shows what policy names."""
    found = json.loads(with_names(records(entry()))["ep/api.test"])
    assert [each["address"] for each in found["byNamespace"]["default"]] == ["api.test"]


@pytest.mark.parametrize(("spec", "expected"), [({}, 60.0), ({"dnsRefreshRate": "5s"}, 5.0)])
def test_the_refresh_rate_is_the_mesh_configs(spec, expected):
    """Istio's default is a minute."""
    mesh = f"""---
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {{name: mesh, namespace: istio-system}}
spec: {json.dumps(spec)}
"""
    assert refresh_s(records(entry(), mesh)) == expected
    assert refresh_s({}) == 60.0


def test_a_worker_calls_what_was_found():
    """Through the compiler, as every call goes."""
    mesh = TestMesh(entry(), addresses=BOTH)
    cluster = mesh.cell.current.cluster(("api.test", 80, ""))
    assert [endpoint.key for endpoint in cluster.endpoints] == ["10.0.0.1:8080", "10.0.0.2:8080"]


def test_a_unix_socket_is_an_endpoint_without_a_port():
    """Its key is its address, path and all."""
    policy = entry(resolution="STATIC", endpoints=[{"address": "unix:///run/api.sock"}])
    [endpoint] = TestMesh(policy).cell.current.cluster(("api.test", 80, "")).endpoints
    assert (endpoint.address, endpoint.port) == ("unix:///run/api.sock", 0)
    assert endpoint.key == "unix:///run/api.sock"


def test_the_network_of_an_endpoint_is_kept_and_one_without_address_is_left_out():
    """There are no gateways between networks."""
    policy = records(
        entry(
            resolution="STATIC",
            endpoints=[{"address": "10.0.0.1", "network": "near"}, {"network": "far"}],
        )
    )
    [found] = json.loads(policy["ep/api.test"])["byNamespace"]["default"]
    assert found["network"] == "near"


def test_records_of_many_services_are_filled_in_without_reading_those_without_names():
    """Each refresh would cost what a publish costs."""
    many = {f"ep/s{n}.test": msgspec.json.encode({"byNamespace": {}}) for n in range(5000)}
    policy = {**many, **records(entry())}
    filled = with_addresses(policy, BOTH)
    assert all(filled[key] is many[key] for key in many)
