"""How an exported cluster calls each endpoint: as a process of the mesh would, by one decision."""

from __future__ import annotations

import json

import pytest
from policy_check import resource, service

from meshware.envoy import Settings, export_files
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.policy.view import Client

HOST = "reviews.default.svc.cluster.local"
OTHER = "spiffe://cluster.local/ns/default/sa/other"
PLAIN = {"security.istio.io/tlsMode": "disabled"}
CLIENT = Client(namespace="default", name="web")
FORCED = {"tls": {"mode": "ISTIO_MUTUAL"}}
NAMED = {"tls": {"mode": "ISTIO_MUTUAL", "subjectAltNames": [OTHER], "sni": "reviews.example"}}
NOBODY = "spiffe://nobody.invalid/nobody"


def endpoint(port, account=None, labels=None):
    written = {"address": "10.0.0.1", "ports": {"http-9080": port}}
    if account:
        written["serviceAccount"] = account
    return written | ({"labels": labels} if labels else {})


MIXED = (endpoint(1, "it"), endpoint(2), endpoint(3, "it", PLAIN), endpoint(4, "other"))


def as_compiled(records):
    """By port of an endpoint, whom our own clients expect there and ask for; None: plaintext."""
    snapshot = build_snapshot(records, CLIENT, generation=1, on_refusal=pytest.fail)
    cluster = snapshot.cluster((HOST, 9080, ""))
    found = {}
    for each in cluster.endpoints:
        rule = (cluster.pools or {}).get(each.key, cluster.pool).tls
        found[each.port] = None if rule is None else (set(rule.names) or {NOBODY}, rule.sni)
    return found


def as_exported(records):
    """The same of an Envoy, by its own rule: the first match of an endpoint, else the default."""
    settings = Settings(directory="/envoy", identity="/identity", endpoints="inline")
    files = export_files(records, CLIENT, settings).files
    clusters = json.loads(files["cds.json"])["resources"]
    [cluster] = [each for each in clusters if each["name"].endswith(HOST)]
    found = {}
    for group in cluster["load_assignment"]["endpoints"]:
        for each in group["lb_endpoints"]:
            metadata = each.get("metadata", {}).get("filter_metadata", {})
            labels = metadata.get("envoy.transport_socket_match", {})
            default = cluster.get("transport_socket")
            matching = (
                one["transport_socket"]
                for one in cluster.get("transport_socket_matches", ())
                if one["match"].items() <= labels.items()
            )
            used = next(matching, default)
            port = each["endpoint"]["address"]["socket_address"]["port_value"]
            found[port] = None if used is None else asked_of(used["typed_config"])
    return found


def asked_of(context):
    validation = context["common_tls_context"]["combined_validation_context"]
    names = validation["default_validation_context"]["match_typed_subject_alt_names"]
    return {each["matcher"]["exact"] for each in names}, context["sni"]


@pytest.mark.parametrize("policy", [None, FORCED, NAMED], ids=["auto", "forced", "named"])
@pytest.mark.parametrize("names", [(), (OTHER,)], ids=["", "subjectAltNames"])
@pytest.mark.parametrize(
    "endpoints",
    [MIXED[:1], MIXED[1:2], MIXED[2:3], MIXED],
    ids=["one", "no account", "plain", "mixed"],
)
def test_an_exported_cluster_calls_as_ours_does(endpoints, names, policy):
    """Each endpoint by mutual TLS or in plaintext, expecting the same, asking for the same name."""
    listed = {"endpoints": [*endpoints], "subjectAltNames": [*names]}
    rule = {"host": "reviews", "trafficPolicy": policy or {"loadBalancer": {"simple": "RANDOM"}}}
    text = service(**listed) + resource("DestinationRule", rule)
    resources = load_text(text, "mesh.yaml").resources
    records = MemoryRecords(build_records(resources))
    assert as_exported(records) == as_compiled(records)
