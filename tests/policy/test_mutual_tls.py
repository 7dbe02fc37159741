"""Whom endpoints are expected to be, and by which means they are called."""

from __future__ import annotations

import msgspec
import pytest
from policy_check import resource, service

from meshware.policy.clusters import placed
from meshware.policy.document.destination_rule import ClientTLSSettings
from meshware.policy.document.service_entry import WorkloadEntrySpec
from meshware.policy.endpoint_identity import TLS_MODE_LABEL, Accounts, Speech
from meshware.policy.mutual_tls import compile_mutual
from meshware.policy.parse import parse_text
from meshware.policy.peer_modes import peer_modes
from meshware.policy.workload_extras import workload_extras
from meshware.testing import TestMesh

HOST = "reviews.default.svc.cluster.local"
KEY = (HOST, 9080, "v1")
SNI = f"outbound_.9080_.v1_.{HOST}"
IT, OTHER = (f"spiffe://cluster.local/ns/default/sa/{name}" for name in ("it", "other"))
PORTS = {"80": 8080, "81": 8081}


def peers(spec, **more):
    return resource("PeerAuthentication", spec, api="security.istio.io/v1", **more)


def extras(spec, **more):
    return resource("WorkloadPolicy", spec, api="meshware.dev/v1alpha1", **more)


APP = {"selector": {"matchLabels": {"app": "a"}}}
PORT_PLAIN = {**APP, "portLevelMtls": {"8081": {"mode": "DISABLE"}}}
TOKENS = {**APP, "tokenIdentity": {"mode": "ACCEPT"}}
PORT_TOKENS = {
    "tokenIdentity": {"mode": "ACCEPT"},
    "portLevelTokenIdentity": {"8080": {"mode": "DISABLE"}},
}


@pytest.mark.parametrize(
    ("account", "labels", "policy", "expected"),
    [
        (None, {}, "", Speech()),
        ("it", {}, "", Speech(IT)),
        ("it", {TLS_MODE_LABEL: "istio"}, "", Speech(IT)),
        ("it", {TLS_MODE_LABEL: "disabled"}, "", Speech(IT, (8080, 8081))),
        ("it", {TLS_MODE_LABEL: ""}, "", Speech(IT, (8080, 8081))),
        (None, {TLS_MODE_LABEL: "istio"}, "", Speech()),
        ("no account", {}, "", Speech()),
        ("it", {}, peers({"mtls": {"mode": "DISABLE"}}), Speech(IT, (8080, 8081))),
        ("it", {}, peers({"mtls": {"mode": "STRICT"}}), Speech(IT)),
        ("it", {}, peers({"mtls": {"mode": "DISABLE"}}, namespace="shop"), Speech(IT)),
        ("it", {"app": "a"}, peers(PORT_PLAIN), Speech(IT, (8081,))),
        ("it", {"app": "b"}, peers(PORT_PLAIN), Speech(IT)),
        ("it", {"app": "a"}, extras(TOKENS), Speech(IT, (), (8080, 8081))),
        ("it", {"app": "b"}, extras(TOKENS), Speech(IT)),
        ("it", {}, extras(PORT_TOKENS, namespace="istio-system"), Speech(IT, (), (8081,))),
    ],
)
def test_how_an_endpoint_is_called(account, labels, policy, expected):
    """By its label, its account, and what is in force at its own ports."""
    resources, wrong = parse_text(policy, "mesh.yaml") if policy else ((), [])
    assert wrong == []
    accounts = Accounts(
        "cluster.local",
        peer_modes(resources, "istio-system"),
        workload_extras(resources, "istio-system"),
    )
    entry = WorkloadEntrySpec(address="10.0.0.1", service_account=account)
    assert accounts.speech("default", entry, labels, PORTS) == expected


@pytest.mark.parametrize(
    ("tls", "names", "auto", "own", "expected"),
    [
        (None, (), True, IT, ((IT,), SNI)),
        (None, (), True, None, None),
        (None, (), False, IT, None),
        (None, (OTHER,), True, IT, ((OTHER,), SNI)),
        (None, (OTHER,), True, None, None),
        ({"mode": "ISTIO_MUTUAL"}, (), False, IT, ((IT,), SNI)),
        ({"mode": "ISTIO_MUTUAL"}, (), True, None, ((), SNI)),
        ({"mode": "ISTIO_MUTUAL"}, (OTHER,), True, None, ((OTHER,), SNI)),
        ({"mode": "ISTIO_MUTUAL", "subjectAltNames": ["a"]}, (OTHER,), True, IT, (("a",), SNI)),
        ({"mode": "ISTIO_MUTUAL", "sni": "a.example"}, (), True, IT, ((IT,), "a.example")),
        ({"mode": "DISABLE"}, (OTHER,), True, IT, None),
        ({"mode": "SIMPLE"}, (), True, IT, None),
        ({"mode": "MUTUAL"}, (), True, IT, None),
        ({}, (), True, IT, None),
    ],
)
def test_whom_a_rule_expects(tls, names, auto, own, expected):
    """The rule's names, else the service's, else the endpoint's own account; or plaintext."""
    written = None if tls is None else msgspec.convert(tls, ClientTLSSettings)
    mutual = compile_mutual(written, names, KEY, auto=auto)
    rule = None if mutual is None else mutual.rule_for(own)
    if expected is None:
        assert rule is None
    else:
        assert rule is not None and rule.is_mesh
        assert (rule.names, rule.sni) == expected


def cluster(endpoints, policy=None, *more, **spec):
    """Compile a cluster of a service, with endpoints by port and account."""
    listed = [
        {"address": "10.0.0.1", "ports": {"http-9080": port}}
        | ({"serviceAccount": account} if account else {})
        for port, account in endpoints
    ]
    rule = {"host": "reviews", "trafficPolicy": policy or {"loadBalancer": {"simple": "RANDOM"}}}
    texts = service(endpoints=listed, **spec), resource("DestinationRule", rule), *more
    snapshot = TestMesh("".join(texts)).cell.current
    return snapshot.cluster((HOST, 9080, ""))


def names_of(found):
    """Whom each endpoint is expected to be; None: plaintext."""
    pools = found.pools or {}
    rules = [pools.get(each.key, found.pool).tls for each in found.endpoints]
    return [None if rule is None else rule.names for rule in rules]


OFF = resource(
    "MeshConfig", {"enableAutoMtls": False}, "mesh", "istio-system", "meshware.dev/v1alpha1"
)


@pytest.mark.parametrize(
    ("found", "names", "pools"),
    [
        (cluster([(1, "it"), (2, "it")]), [(IT,), (IT,)], 0),
        (cluster([(1, "it"), (2, "other")]), [(IT,), (OTHER,)], 2),
        (cluster([(1, "it"), (2, None)]), [(IT,), None], 1),
        (cluster([(1, None)]), [None], 0),
        (cluster([(1, "it")], None, OFF), [None], 0),
        (cluster([(1, "it")], None, location="MESH_EXTERNAL"), [None], 0),
        (cluster([(1, "it")], None, peers({"mtls": {"mode": "DISABLE"}})), [None], 0),
        (cluster([(1, "it"), (2, None)], {"tls": {"mode": "ISTIO_MUTUAL"}}), [(IT,), ()], 2),
        (cluster([(1, "it")], {"tls": {"mode": "DISABLE"}}), [None], 0),
    ],
    ids=["one", "two accounts", "mixed", "none", "off", "outside", "plain", "forced", "by rule"],
)  # fmt: skip
def test_pools_by_endpoint(found, names, pools):
    """One rule for all where it is the same, which costs a call nothing."""
    assert names_of(found) == names
    assert len(found.pools or ()) == pools


def test_an_endpoint_that_was_dialled_is_called_as_it_speaks():
    """PASSTHROUGH chooses nobody, and still does not speak plaintext to who has an identity."""
    found = cluster([(1, "it"), (9080, "other")], {"loadBalancer": {"simple": "PASSTHROUGH"}})
    key = (HOST, 9080, "")
    assert names_of(placed(found, key, f"{HOST}:9080", "10.0.0.1")) == [(OTHER,)]
    assert names_of(placed(found, key, f"{HOST}:9080", "10.0.0.9")) == [None]
