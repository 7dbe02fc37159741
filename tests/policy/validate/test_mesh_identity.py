"""What policy says of identities, checked: MeshConfig, PeerAuthentication, WorkloadPolicy."""

from __future__ import annotations

import pytest

from tests.support.certificates import Authority
from tests.support.policy_check import problems, resource

ROOT = Authority().cert_pem.decode()
SECURITY, OURS = "security.istio.io/v1", "meshware.dev/v1alpha1"


def config(**spec):
    return resource("MeshConfig", spec, "mesh", "istio-system", OURS)


def peers(spec, **more):
    return resource("PeerAuthentication", spec, api=SECURITY, **more)


def extras(spec):
    return resource("WorkloadPolicy", spec, api=OURS)


GROUP = resource("WorkloadGroup", {"metadata": {"labels": {"app": "a"}}, "template": {}})


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (config(trustDomainAliases=["A"]), "spec.trustDomainAliases[0]", "name of a trust"),
        (config(caCertificates=[{"pem": ROOT}]), "spec.caCertificates[0]", "no trustDomains"),
        (
            config(caCertificates=[{"trustDomains": ["a.example"]}]),
            "spec.caCertificates[0]",
            "there is no pem",
        ),
        (
            config(caCertificates=[{"pem": "x", "trustDomains": ["a.example"]}]),
            "spec.caCertificates[0].pem",
            "not PEM",
        ),
        (
            config(caCertificates=[{"pem": ROOT, "trustDomains": ["cluster.local"]}]),
            "spec.caCertificates[0].trustDomains[0]",
            "our own",
        ),
        (
            config(
                caCertificates=[
                    {"pem": f"{ROOT}-----BEGIN PRIVATE KEY-----", "trustDomains": ["a.example"]}
                ]
            ),
            "spec.caCertificates[0].pem",
            "private key",
        ),
        (config(xfccTrustedProxies=["edge"]), "spec.xfccTrustedProxies[0]", "spiffe://"),
        (
            config(identity={"deniedAuthorities": ["AB"]}),
            "spec.identity.deniedAuthorities[0]",
            "64 digits",
        ),
        (config(identity={"leafLife": "0s"}), "spec.identity.leafLife", "out of range"),
        (
            config(identity={"daemonServiceAccount": "sync"}),
            "spec.identity.daemonServiceAccount",
            "namespace/service-account",
        ),
        (
            config(nodeIdentities=[{"serviceAccount": "x", "user": "u"}]),
            "spec.nodeIdentities[0].serviceAccount",
            "namespace/service-account",
        ),
        (
            config(nodeIdentities=[{"serviceAccount": "a/b", "user": "u/../v"}]),
            "spec.nodeIdentities[0].user",
            "Unix user",
        ),
        (
            config(nodeIdentities=[{"serviceAccount": "a/b", "user": "u"}] * 2),
            "spec.nodeIdentities[1].serviceAccount",
            "twice",
        ),
        (
            peers({"portLevelMtls": {"80": {"mode": "STRICT"}}}),
            "spec.portLevelMtls",
            "beside a selector",
        ),
        (
            peers({"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"http": {}}}),
            "spec.portLevelMtls[http]",
            "no port",
        ),
        (extras({}), "spec", "says nothing"),
        (extras({"probePaths": ["healthz"]}), "spec.probePaths[0]", "one plain path"),
        (extras({"probePaths": ["/a*"]}), "spec.probePaths[0]", "one plain path"),
        (extras({"probePaths": ["/a/../b"]}), "spec.probePaths[0]", "normalised"),
        (
            extras({"portLevelTokenIdentity": {"0": {"mode": "ACCEPT"}}}),
            "spec.portLevelTokenIdentity[0]",
            "no port",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(text, field, words):
    """One error each."""
    found = [problem for problem in problems(text) if problem.severity == "error"]
    assert [(p.field, words in p.message) for p in found] == [(field, True)], found


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (config(identity={"leafLife": "30s"}), "this short"),
        (
            config(
                nodeIdentities=[
                    {"serviceAccount": "a/b", "user": "u"},
                    {"serviceAccount": "a/c", "user": "u"},
                ]
            ),
            "a user of its own",
        ),
        (
            peers({"selector": {"matchLabels": {"app": "a"}}}, namespace="istio-system"),
            "selects nobody",
        ),
        (peers({}, name="a") + peers({}, name="b"), "is older"),
        (GROUP + peers({"mtls": {"mode": "STRICT"}}), "no service account"),
        (peers({"selector": {"matchLabels": {"app": "zz"}}}), "no workload"),
    ],
)
def test_what_is_most_likely_a_mistake_is_a_warning(text, words):
    """It can be carried out as it stands."""
    found = problems(text)
    assert [p.severity for p in found if words in p.message] == ["warning"], found
