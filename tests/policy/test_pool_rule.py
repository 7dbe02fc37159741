"""What a DestinationRule says of connections, compiled."""

from __future__ import annotations

import pytest
from policy_check import resource, service

from meshware.policy.pool_rule import Keepalive, PoolRule, TLSRule
from meshware.testing import TestMesh

HOST = "reviews.default.svc.cluster.local"


def rule(policy, subset: str = "", subsets=(), **more) -> PoolRule:
    """Return the rule of a destination's pool, as a client finds it."""
    spec = {"host": "reviews", "trafficPolicy": policy, "subsets": list(subsets)}
    mesh = TestMesh(service(**more) + resource("DestinationRule", spec))
    snapshot = mesh.cell.current
    assert snapshot is not None
    cluster = snapshot.cluster((HOST, 9080, subset))
    assert cluster is not None
    return cluster.pool


def pool(tcp=None, http=None):
    return {"connectionPool": {"tcp": tcp or {}, "http": http or {}}}


NAME = f"{HOST}:9080"


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"loadBalancer": {"simple": "RANDOM"}}, {}),
        (pool(), {"idle_s": 4.0}),
        (pool(tcp={"idleTimeout": "1s"}), {"idle_s": 1.0}),
        (pool(tcp={"idleTimeout": "1h"}), {"idle_s": 3600.0}),
        (pool(tcp={"idleTimeout": "0s"}), {"idle_s": None}),
        (pool(tcp={"idleTimeout": "1s"}, http={"idleTimeout": "2s"}), {"idle_s": 2.0}),
        (pool(tcp={"idleTimeout": "0s"}, http={"idleTimeout": "2s"}), {"idle_s": 2.0}),
        (pool(tcp={"maxConnectionDuration": "90s"}), {"age_s": 90.0}),
        (pool(http={"maxRequestsPerConnection": 1}), {"requests": 1}),
        (pool(http={"maxRequestsPerConnection": 0}), {"requests": None}),
        (pool(tcp={"tcpKeepalive": {}}), {"keepalive": Keepalive(None, None, None)}),
        (
            pool(tcp={"tcpKeepalive": {"probes": 3, "time": "75s", "interval": "500ms"}}),
            {"keepalive": Keepalive(3, 75, 1)},
        ),
        (pool(tcp={"tcpKeepalive": {"probes": 0}}), {"keepalive": Keepalive(None, None, None)}),
        ({"tls": {"mode": "DISABLE"}}, {"tls": None}),
        ({"tls": {"mode": "DISABLE", "caCertificates": "/ca"}}, {"tls": None}),
        ({"tls": {"mode": "SIMPLE"}}, {"tls": TLSRule()}),
        (
            {
                "tls": {
                    "mode": "SIMPLE",
                    "caCertificates": "/ca",
                    "caCrl": "/crl",
                    "sni": "a.example",
                    "subjectAltNames": ["a", "b"],
                    "clientCertificate": "/cert",
                    "privateKey": "/key",
                }
            },
            {"tls": TLSRule(ca_file="/ca", crl_file="/crl", sni="a.example", names=("a", "b"))},
        ),
        (
            {"tls": {"mode": "MUTUAL", "clientCertificate": "/cert", "privateKey": "/key"}},
            {"tls": TLSRule(certificate_file="/cert", key_file="/key")},
        ),
        (
            {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
            {"tls": TLSRule(verifies=False)},
        ),
    ],
    ids=str,
)
def test_a_rule_is_compiled(policy, expected):
    """Defaults are filled in; http's word counts before tcp's."""
    assert rule(policy) == PoolRule(name=NAME, **expected)
    assert hash(rule(policy)) == hash(rule(policy))


def test_a_rule_survives_the_policy_file_and_names_its_service():
    """Two subsets of one rule have one pool, those of two have two."""
    own = {"labels": {"version": "v1"}, "trafficPolicy": pool(http={"idleTimeout": "1s"})}
    subsets = [{"name": "v1", **own}, {"name": "v2", "labels": {"version": "v2"}}]
    policy = {"tls": {"mode": "SIMPLE"}}
    whole, v1, v2 = (rule(policy, name, subsets) for name in ("", "v1", "v2"))
    assert whole == v2 != v1
    assert v1.tls == v2.tls == TLSRule()  # a subset replaces field by field


def test_names_come_from_the_service_unless_the_rule_has_some():
    """ServiceEntry.subjectAltNames."""
    names = {"subjectAltNames": ["warehouse"]}
    own = {"tls": {"mode": "SIMPLE", "subjectAltNames": ["mine"]}}
    assert rule({"tls": {"mode": "SIMPLE"}}, **names).tls == TLSRule(names=("warehouse",))
    assert rule(own, **names).tls == TLSRule(names=("mine",))
    assert rule({"tls": {"mode": "SIMPLE"}}).tls == TLSRule()


@pytest.mark.parametrize(
    ("authority", "name"),
    [
        ("reviews", "reviews"),
        ("reviews:9080", "reviews"),
        ("10.0.0.1:80", "10.0.0.1"),
        ("[2001:db8::1]:80", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("", ""),
    ],
)
def test_the_server_is_asked_for_by_the_host_without_its_port(authority, name):
    """Unless policy names it."""
    assert TLSRule().server_name(authority) == name
    assert TLSRule(sni="a.example").server_name(authority) == "a.example"
