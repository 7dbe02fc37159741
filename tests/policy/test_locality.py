"""Who comes first for a client, by where it is and where the endpoints are."""

from __future__ import annotations

import json

import pytest
from policy_check import resource, service

from meshware.policy.clusters import Cluster, compile_cluster
from meshware.policy.file import decode, encode
from meshware.policy.locality import matches_locality
from meshware.policy.parse import parse_text
from meshware.policy.records import build_records
from meshware.policy.view import Client, View

HOST = "reviews.default.svc.cluster.local"
HERE = "eu/a/1"

ENDPOINTS = {
    "10.0.0.1": "eu/a/1",
    "10.0.0.2": "eu/a/2",
    "10.0.0.3": "eu/b/1",
    "10.0.0.4": "us/a/1",
    "10.0.0.5": "ap/a/1",
}


def compiled(
    balancer: dict,
    *,
    ejects: bool = True,
    locality: str | None = HERE,
    labels: dict[str, str] | None = None,
    endpoints: list[dict] | None = None,
    mesh: dict | None = None,
) -> Cluster:
    """The cluster of a client somewhere, of endpoints in several places."""
    listed = endpoints or [
        {"address": address, "locality": where} for address, where in ENDPOINTS.items()
    ]
    policy = {"loadBalancer": balancer} if balancer else {}
    if ejects:
        policy["outlierDetection"] = {}
    texts = [
        service(endpoints=listed),
        resource("DestinationRule", {"host": "reviews", "trafficPolicy": policy}),
    ]
    if mesh is not None:
        texts.append(resource("MeshConfig", mesh, "mesh", "istio-system", "meshware.dev/v1alpha1"))
    resources, wrong = parse_text("".join(texts), "mesh.yaml")
    assert wrong == []
    data = encode(build_records(resources), generation=1, trust_domain="t", made_at="", source="")
    client = Client(labels=labels or {}, locality=locality)
    found = compile_cluster(View(_Records(decode(data)[1]), client), (HOST, 9080, ""))
    assert found is not None
    return found


class _Records(dict):
    def digest(self, key: str) -> str | None:
        return key if key in self else None


def levels(cluster: Cluster) -> list[set[str]] | None:
    """The last part of each address, level by level."""
    if cluster.levels is None:
        return None
    return [{key.split(":")[0].rpartition(".")[2] for key in e.keys} for e in cluster.levels]


def setting(**fields) -> dict:
    """A load balancer with a locality setting."""
    return {"localityLbSetting": fields}


def test_the_nearest_come_first_once_endpoints_may_be_ejected():
    """Same subzone, zone, region, and then the rest: Istio's default."""
    assert levels(compiled({})) == [{"1"}, {"2"}, {"3"}, {"4", "5"}]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({}, {"ejects": False}),
        ({"enabled": False}, {}),
        ({}, {"mesh": {"localityLbSetting": {"enabled": False}}, "is_plain": True}),
    ],
    ids=["nobody is ejected", "turned off here", "turned off in the mesh"],
)
def test_where_it_does_not_count_there_are_no_levels(fields, options):
    """Without outlier detection nobody would ever fail over."""
    is_plain = options.pop("is_plain", False)
    made = compiled({} if is_plain else setting(**fields), **options)
    assert levels(made) is None
    assert len(made.endpoints) == 5


def test_a_rule_of_its_own_replaces_the_meshs():
    """The whole of it, as in Istio."""
    mesh = {"localityLbSetting": {"enabled": False}}
    rule = setting(failover=[{"from": "eu", "to": "us"}])
    assert levels(compiled(rule, mesh=mesh)) == [{"1"}, {"2"}, {"3"}, {"4"}, {"5"}]


def test_another_region_is_named_for_a_region():
    """Those that are not named come after it; other regions' rules change nothing."""
    rule = setting(failover=[{"from": "us", "to": "eu"}, {"from": "eu", "to": "ap"}])
    assert levels(compiled(rule)) == [{"1"}, {"2"}, {"3"}, {"5"}, {"4"}]
    assert levels(compiled(rule, locality="us/a/1")) == [{"4"}, {"1", "2", "3"}, {"5"}]


def test_a_client_nowhere_meets_everybody_alike():
    """All are as far away."""
    assert levels(compiled({}, locality=None)) is None


def test_labels_say_who_comes_first():
    """The more of them in a row are the client's own, the nearer."""
    endpoints = [
        {"address": "10.0.0.1", "labels": {"tier": "gold", "rack": "r1"}},
        {"address": "10.0.0.2", "labels": {"tier": "gold", "rack": "r2"}},
        {"address": "10.0.0.3", "labels": {"rack": "r1"}},
    ]
    own = {"tier": "gold", "rack": "r1"}
    rule = setting(failoverPriority=["tier", "rack"])
    assert levels(compiled(rule, labels=own, endpoints=endpoints)) == [{"1"}, {"2"}, {"3"}]
    fixed = setting(failoverPriority=["tier", "rack=r2"])
    assert levels(compiled(fixed, labels=own, endpoints=endpoints)) == [{"2"}, {"1"}, {"3"}]


def test_a_label_may_be_the_locality():
    """Istio names it so."""
    rule = setting(
        failoverPriority=["topology.kubernetes.io/region", "topology.kubernetes.io/zone"]
    )
    assert levels(compiled(rule)) == [{"1", "2"}, {"3"}, {"4", "5"}]


def shares(cluster: Cluster) -> dict[frozenset[str], int]:
    """The weight of each locality, by the last parts of its addresses."""
    assert cluster.levels is not None
    [level] = cluster.levels
    return {
        frozenset(e.address.rpartition(".")[2] for e in group.endpoints): group.weight
        for group in level.groups
    }


def test_shares_are_given_to_localities_and_to_no_others():
    """The first entry that is about the client counts."""
    rule = setting(
        distribute=[
            {"from": "us/*", "to": {"us/*": 100}},
            {"from": "eu/a", "to": {"eu/a/*": 80, "us": 20}},
            {"from": "*", "to": {"ap": 100}},
        ]
    )
    made = compiled(rule, ejects=False)
    assert shares(made) == {frozenset("1"): 40, frozenset("2"): 40, frozenset("4"): 20}
    assert {e.address for e in made.endpoints} == {"10.0.0.1", "10.0.0.2", "10.0.0.4"}


def test_a_share_of_several_localities_is_parted_by_their_endpoints_weights():
    """The most exact pattern takes its own first."""
    endpoints = [
        {"address": "10.0.0.1", "locality": "eu/a/1", "weight": 3},
        {"address": "10.0.0.2", "locality": "eu/a/2", "weight": 1},
        {"address": "10.0.0.3", "locality": "eu/b/1"},
    ]
    rule = setting(distribute=[{"from": "eu", "to": {"eu/b": 20, "eu/a": 80}}])
    assert shares(compiled(rule, endpoints=endpoints)) == {
        frozenset("1"): 60,
        frozenset("2"): 20,
        frozenset("3"): 20,
    }


def test_shares_for_nobody_leave_nobody():
    """Calls are 503 then, as in Istio, and not sent somewhere else."""
    made = compiled(setting(distribute=[{"from": "eu", "to": {"mars": 100}}]))
    assert made.levels == () and made.endpoints == ()


def test_shares_of_other_clients_change_nothing():
    """This one meets all endpoints alike."""
    made = compiled(setting(distribute=[{"from": "us", "to": {"us": 100}}]))
    assert made.levels is None and len(made.endpoints) == 5


@pytest.mark.parametrize(
    ("locality", "rule", "is_one"),
    [
        ("eu/a/1", "eu", True),
        ("eu/a/1", "eu/a", True),
        ("eu/a/1", "eu/a/1", True),
        ("eu/a/1", "eu/*", True),
        ("eu/a/1", "eu/a/*", True),
        ("eu/a/1", "*", True),
        ("eu/a/1", "eu/b", False),
        ("eu/a/1", "e", False),
        ("eu", "eu/a", False),
        (None, "*", True),
        (None, "eu", False),
    ],
)
def test_a_pattern_means_localities(locality, rule, is_one):
    """What it leaves out may be anything."""
    assert matches_locality(locality, rule) == is_one


def test_a_workloads_locality_is_in_its_record():
    """From where its processes read it."""
    entry = resource("WorkloadEntry", {"address": "10.0.1.1", "locality": HERE}, "web")
    resources, wrong = parse_text(entry, "mesh.yaml")
    assert wrong == []
    record = json.loads(build_records(resources)["workload/default/web"])
    assert record["locality"] == HERE
