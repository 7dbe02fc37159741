"""ISTIO_MUTUAL that expects nobody, and endpoints that say it of themselves alone."""

from __future__ import annotations

import pytest
from policy_check import problems, resource, service, workload

MUTUAL = {"tls": {"mode": "ISTIO_MUTUAL"}}
LB = {"loadBalancer": {"simple": "RANDOM"}}
NAMED = {"tls": {"mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://cluster.local/ns/a/sa/b"]}}
TLS = "spec.trafficPolicy.tls"
LABEL = "security.istio.io/tlsMode"


def end(version="v1", account="it", **labels):
    """An endpoint."""
    found = {"address": "10.0.0.1", "labels": {"version": version, **labels}}
    return found | ({"serviceAccount": account} if account else {})


def found(policy, *more, endpoints=None, host="reviews", subsets=(), **spec):
    """The fields and messages of warnings."""
    if endpoints is not None:
        spec["endpoints"] = endpoints
    rule = {"host": host, "trafficPolicy": policy, "subsets": list(subsets)}
    told = problems(service(**spec), resource("DestinationRule", rule), *more)
    return [(each.field, each.message) for each in told if str(each.severity) != "info"]


PLAIN = resource(
    "PeerAuthentication",
    {"mtls": {"mode": "DISABLE"}},
    api="security.istio.io/v1",
    namespace="istio-system",
)
V1 = {"name": "v1", "labels": {"version": "v1"}}
SELECTED = {"workloadSelector": {"labels": {"app": "reviews"}}}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        (([MUTUAL], {}), TLS, "2 of 2 endpoints"),
        (([MUTUAL], {"endpoints": [end(), end(account=None)]}), TLS, "1 of 2 endpoints"),
        (([MUTUAL], {"endpoints": [end()], "location": "MESH_EXTERNAL"}), TLS, "outside of the"),
        (([MUTUAL], {"endpoints": None, "resolution": "NONE"}), TLS, "where they were dialled"),
        (([MUTUAL], {"endpoints": [], "resolution": "DNS"}), TLS, "1 of 1 endpoints"),
        (([MUTUAL], {"endpoints": [end(**{LABEL: "disabled"})]}), TLS, "want plaintext"),
        (([MUTUAL, PLAIN], {"endpoints": [end()]}), TLS, "leave tls out"),
        (([MUTUAL], {"host": "*.local"}), TLS, "2 of 2 endpoints of reviews.default"),
        (
            ([LB], {"subsets": [{**V1, "trafficPolicy": MUTUAL}], "endpoints": [end(account="")]}),
            "spec.subsets[0].trafficPolicy.tls",
            "1 of 1 endpoints",
        ),
        (
            ([{**LB, "portLevelSettings": [{"port": {"number": 9080}, **MUTUAL}]}], {}),
            "spec.trafficPolicy.portLevelSettings[0].tls",
            "2 of 2",
        ),
        (
            ([MUTUAL, workload("a", labels={"app": "reviews"})], SELECTED),
            TLS,
            "1 of 1 endpoints",
        ),
    ],
    ids=[
        "no account", "one without", "outside", "as dialled", "looked up", "label", "peer mode",
        "pattern", "subset", "port", "selected",
    ],
)  # fmt: skip
def test_nobody_is_expected(given, field, words):
    """One finding, with what to write."""
    texts, spec = given
    if spec.get("resolution") == "NONE":
        told = problems(
            resource(
                "ServiceEntry",
                {
                    "hosts": ["reviews"],
                    "location": "MESH_INTERNAL",
                    "resolution": "NONE",
                    "ports": [{"number": 9080, "name": "http", "protocol": "HTTP"}],
                },
            ),
            resource("DestinationRule", {"host": "reviews", "trafficPolicy": texts[0]}),
        )
        result = [(each.field, each.message) for each in told]
    else:
        result = found(*texts, **spec)
    [(where, message)] = [each for each in result if "tls" in each[0]]
    assert where == field
    assert words in message


@pytest.mark.parametrize(
    ("policy", "spec"),
    [
        (MUTUAL, {"endpoints": [end()]}),
        (NAMED, {}),
        (MUTUAL, {"subjectAltNames": ["spiffe://cluster.local/ns/a/sa/b"]}),
        ({"tls": {"mode": "DISABLE"}}, {}),
        (LB, {}),
    ],
    ids=["accounts", "by the rule", "by the service", "another mode", "left out"],
)
def test_somebody_is_expected(policy, spec):
    """Or nobody has to be."""
    assert found(policy, **spec) == []


def test_a_label_without_an_account_is_told():
    """Such an endpoint is called in plaintext, which its author hardly meant."""
    [(field, message)] = found(LB, endpoints=[end(account=None, **{LABEL: "istio"})])
    assert field == "spec.endpoints[0].labels"
    assert "add its serviceAccount" in message
    [told] = problems(workload("a", labels={LABEL: "istio"}))
    assert told.field == "spec.labels"


def test_what_istio_mutual_goes_by_is_taken_and_files_are_not():
    """Names and sni count; certificates are those of the mesh."""
    tls = {**NAMED["tls"], "sni": "a.example"}
    assert found({"tls": tls}) == []
    [(field, message)] = found({"tls": {**tls, "caCertificates": "/ca"}})
    assert field == TLS
    assert "caCertificates changes nothing" in message
