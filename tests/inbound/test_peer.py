"""Who calls: chains that are shown, modes that want one, what rules make of the caller."""

from __future__ import annotations

from random import Random

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.identity.bundle import fingerprint
from meshware.inbound.passage import Admission, Denial
from meshware.testing import FakeClock, TestMesh
from tests.support.inbound_world import (
    from_,
    is_allowed,
    mesh_config,
    peer_authentication,
    policy,
    request,
    status_of,
    when,
    workload,
)

WEB = "spiffe://cluster.local/ns/default/sa/web"
STRICT = peer_authentication("STRICT")
ON_ONE_PORT = peer_authentication("DISABLE", labels={"app": "app"}, ports={"81": "STRICT"})
OPEN_PORT = peer_authentication("STRICT", name="w", labels={"app": "app"}, ports={"81": "DISABLE"})


def mesh_of(*policies, clock=None):
    return TestMesh([workload(), *policies], clock=clock, rng=Random(0))


def test_a_caller_that_shows_a_certificate_is_known_to_the_app():
    """`current_call().peer` says who, how that was proved, and until when."""
    clock = FakeClock()
    mesh = mesh_of(clock=clock)
    passage = mesh.gate.admit(request(shows=mesh.issue(WEB)))
    assert isinstance(passage, Admission)
    peer = passage.call.peer
    assert peer is not None
    assert (peer.id, peer.proved_by) == (WEB, "mtls")
    assert peer.until == pytest.approx(clock.now().timestamp() + 3600, abs=1)


def test_a_caller_without_one_is_nobody():
    """Whatever its headers say."""
    mesh = mesh_of()
    claims = [("x-forwarded-client-cert", f"By=x;URI={WEB}"), ("ssl-client-cert", "x")]
    passage = mesh.gate.admit(request(headers=claims))
    assert isinstance(passage, Admission)
    assert passage.call.peer is None
    assert "x-forwarded-client-cert" in passage.remove


@pytest.mark.parametrize("mode", ["STRICT", "PERMISSIVE", "DISABLE"])
def test_a_chain_that_is_not_valid_is_never_taken_for_plaintext(mode):
    """Whoever shows one wants to be somebody."""
    mesh = mesh_of(peer_authentication(mode))
    foreign = TestMesh([workload()]).issue(WEB)
    passage = mesh.gate.admit(request(shows=foreign))
    assert isinstance(passage, Denial)
    assert (passage.status, passage.body) == (403, "RBAC: access denied")
    assert passage.reason.startswith("peer_certificate_refused{")


def test_bytes_that_are_no_certificate_refuse_the_call():
    """And raise nothing."""
    mesh = mesh_of()
    head = request()
    for chain in ((b"",), (b"x" * 5000,), (b"\x30\x82",) * 20, ()):
        head.chain = chain
        passage = mesh.gate.admit(head)
        assert isinstance(passage, Denial), chain
        assert passage.reason.startswith("peer_certificate_refused{")


def test_a_certificate_ends_on_its_second():
    """Also on a connection that was made before, and although it was verified already."""
    clock = FakeClock()
    mesh = mesh_of(clock=clock)
    head = request(shows=mesh.issue(WEB, life_s=100))
    assert status_of(mesh, head) == 200
    clock.advance(99)
    assert status_of(mesh, head) == 200
    clock.advance(2)
    assert status_of(mesh, head) == 403


def test_trust_that_is_taken_away_ends_at_once():
    """What was verified is remembered together with whom we believed."""
    mesh = mesh_of()
    svid = mesh.issue(WEB)
    head = request(shows=svid)
    assert status_of(mesh, head) == 200
    denied = [fingerprint(svid.chain[1])]
    mesh.apply([workload(), mesh_config(identity={"deniedAuthorities": denied})])
    assert status_of(mesh, head) == 403
    mesh.apply([workload()])
    assert status_of(mesh, head) == 200


@pytest.mark.parametrize(
    ("policies", "port", "status"),
    [
        ([STRICT], 8080, 403),
        ([peer_authentication("PERMISSIVE")], 8080, 200),
        ([peer_authentication("DISABLE")], 8080, 200),
        ([peer_authentication("STRICT", namespace="istio-system")], 8080, 403),
        ([peer_authentication("STRICT", namespace="other")], 8080, 200),
        ([STRICT, peer_authentication("DISABLE", name="w", labels={"app": "app"})], 8080, 200),
        ([STRICT, peer_authentication(None, name="w", labels={"app": "app"})], 8080, 403),
        ([STRICT, peer_authentication("UNSET", name="w", labels={"app": "app"})], 8080, 403),
        (
            [
                STRICT,
                peer_authentication(
                    "STRICT", name="w", labels={"app": "app"}, ports={"81": "DISABLE"}
                ),
            ],
            81,
            200,
        ),
        ([ON_ONE_PORT], 81, 403),
        ([ON_ONE_PORT], 80, 200),
        # Not known: the strictest of all holds.
        (
            [ON_ONE_PORT],
            None,
            403,
        ),
        ([peer_authentication("STRICT", labels={"app": "app"}, ports={"81": "UNSET"})], 81, 403),
        # The oldest of a level holds.
        (
            [
                peer_authentication("STRICT", name="b", created="2024-01-01T00:00:00Z"),
                peer_authentication("DISABLE", name="a", created="2025-01-01T00:00:00Z"),
            ],
            80,
            403,
        ),
        # In the root namespace a selector selects nobody.
        (
            [peer_authentication("STRICT", namespace="istio-system", labels={"app": "app"})],
            80,
            200,
        ),
    ],
)
def test_strict_never_lets_nobody_in(policies, port, status):
    """Narrowest first: port, workload, namespace, mesh. With an identity every mode lets in."""
    mesh = mesh_of(*policies)
    assert status_of(mesh, request(port=port)) == status
    assert status_of(mesh, request(port=port, shows=mesh.issue(WEB))) == 200


# --- rules ----------------------------------------------------------------------------------------

SHOP = "spiffe://cluster.local/ns/shop/sa/cart.v1"
SOURCES = [
    ({"principals": ["cluster.local/ns/default/sa/web"]}, {WEB}),
    ({"principals": ["cluster.local/ns/default/*"]}, {WEB}),
    ({"principals": ["*/sa/web"]}, {WEB}),
    ({"principals": ["*"]}, {WEB, SHOP}),
    ({"principals": ["other.example/ns/default/sa/web"]}, set()),
    ({"notPrincipals": ["cluster.local/ns/default/sa/web"]}, {SHOP, None}),
    ({"notPrincipals": ["*"]}, {None}),
    ({"namespaces": ["default"]}, {WEB}),
    ({"namespaces": ["d*t"]}, {WEB}),
    ({"namespaces": ["sho*", "none"]}, {SHOP}),
    ({"namespaces": ["*"]}, {WEB, SHOP}),
    ({"notNamespaces": ["default"]}, {SHOP, None}),
    ({"serviceAccounts": ["web"]}, {WEB}),
    ({"serviceAccounts": ["shop/cart.v1"]}, {SHOP}),
    ({"serviceAccounts": ["shop/cartxv1"]}, set()),
    ({"notServiceAccounts": ["shop/cart.v1"]}, {WEB, None}),
    ({"trustDomains": ["cluster.local"]}, {WEB, SHOP}),
    ({"notTrustDomains": ["cluster*"]}, {None}),
    ({"principals": ["*"], "notNamespaces": ["shop"]}, {WEB}),
]


@pytest.mark.parametrize(("source", "meant"), SOURCES, ids=[str(pair[0]) for pair in SOURCES])
@pytest.mark.parametrize("action", ["ALLOW", "DENY"])
def test_rules_know_the_caller(source, meant, action):
    """Nobody matches no value, and so every `not`."""
    mesh = mesh_of(policy(action, from_(**source)))
    for caller in (WEB, SHOP, None):
        head = request(shows=None if caller is None else mesh.issue(caller))
        assert is_allowed(mesh, head) is ((caller in meant) is (action == "ALLOW")), caller


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("source.principal", "cluster.local/ns/default/sa/web", True),
        ("source.principal", "cluster.local/ns/default/sa/api", False),
        ("source.namespace", "default", True),
        ("source.serviceAccount", "default/web", True),
        ("source.serviceAccount", "shop/web", False),
        ("source.trustDomain", "cluster.local", True),
        ("connection.sni", "outbound_.80_*", True),
        ("connection.sni", "other", False),
    ],
)
def test_conditions_know_the_caller(key, value, meant):
    """And the name that it asked for."""
    mesh = mesh_of(policy("ALLOW", when(key, value)))
    head = request(shows=mesh.issue(WEB), sni="outbound_.80_._.app.default.svc.cluster.local")
    assert is_allowed(mesh, head) is meant
    mesh = mesh_of(policy("ALLOW", when(key, unless=[value])))
    assert is_allowed(mesh, request(shows=mesh.issue(WEB), sni=head.sni)) is not meant
    # Of nobody, none of the values is true.
    assert is_allowed(mesh, request())


@pytest.mark.parametrize("written", ["new.example", "old.example", "cluster.local"])
def test_aliases_are_one_trust_domain(written):
    """So a mesh can change its trust domain, and its policies one by one."""
    config = mesh_config(trustDomain="new.example", trustDomainAliases=["old.example"])
    rule = policy("ALLOW", from_(principals=[f"{written}/ns/default/sa/web"]))
    mesh = mesh_of(config, rule)
    assert is_allowed(mesh, request(shows=mesh.issue("spiffe://new.example/ns/default/sa/web")))
    assert not is_allowed(mesh, request(shows=mesh.issue("spiffe://new.example/ns/default/sa/x")))


def test_a_partners_authority_vouches_for_its_own_alone():
    """Bundles are never merged."""
    partner = TestMesh([workload()])
    theirs = partner.issue("spiffe://cluster.local/ns/default/sa/web")
    root = partner.identity.bundles()["cluster.local"].roots[0].public_bytes(Encoding.PEM).decode()
    mesh = mesh_of(mesh_config(caCertificates=[{"pem": root, "trustDomains": ["partner.example"]}]))
    assert status_of(mesh, request(shows=theirs)) == 403


# --- probes ---------------------------------------------------------------------------------------

DAEMON = "spiffe://cluster.local/ns/mesh/sa/sync"
OWN = "spiffe://cluster.local/ns/default/sa/app"
PROBED = {
    "apiVersion": "meshware.dev/v1alpha1",
    "kind": "WorkloadPolicy",
    "metadata": {"name": "probes"},
    "spec": {"probePaths": ["/healthz"]},
}


@pytest.mark.parametrize(
    ("caller", "method", "target", "status"),
    [
        (DAEMON, "GET", "/healthz", 200),
        (DAEMON, "HEAD", "/healthz?full=1", 200),
        (DAEMON, "POST", "/healthz", 403),
        (DAEMON, "GET", "/orders", 403),
        (DAEMON, "GET", "/healthz/../orders", 403),
        (DAEMON, "GET", "/orders/..%2fhealthz", 403),
        (OWN, "GET", "/healthz", 200),
        (OWN, "GET", "/orders", 403),
        (WEB, "GET", "/healthz", 403),
        (WEB, "GET", "/orders", 200),
        (None, "GET", "/healthz", 403),
    ],
)
def test_what_is_probed_is_open_to_probes_alone(caller, method, target, status):
    """And nothing else is open to the daemon, whatever the rules say."""
    rules = policy(
        "ALLOW",
        {
            "from": [{"source": {"principals": ["*/sa/web", "*/sa/sync"]}}],
            "to": [{"operation": {"paths": ["/orders*"]}}],
        },
    )
    config = mesh_config(identity={"daemonServiceAccount": "mesh/sync"})
    mesh = mesh_of(STRICT, PROBED, rules, config)
    shows = None if caller is None else mesh.issue(caller)
    assert status_of(mesh, request(target, method=method, shows=shows)) == status


# --- proxies --------------------------------------------------------------------------------------

EDGE = "spiffe://cluster.local/ns/edge/sa/nginx"
TRUSTED = mesh_config(xfccTrustedProxies=[EDGE])


def xfcc(*elements):
    return [("x-forwarded-client-cert", ",".join(elements))]


@pytest.mark.parametrize(
    ("caller", "headers", "seen"),
    [
        (EDGE, xfcc(f"By={EDGE};URI={WEB}"), (WEB, "xfcc")),
        (EDGE, xfcc(f"By={EDGE};URI={SHOP}", f"By={EDGE};URI={WEB}"), (WEB, "xfcc")),
        (EDGE, [], (EDGE, "mtls")),
        (WEB, xfcc(f"By={WEB};URI={SHOP}"), (WEB, "mtls")),
        (None, xfcc(f"By={EDGE};URI={WEB}"), None),
        (EDGE, xfcc(f"By=spiffe://cluster.local/ns/x/sa/y;URI={WEB}"), 403),
        (EDGE, xfcc('Subject="CN=a;URI=' + WEB), 403),
        (EDGE, xfcc(f'By={EDGE};Subject="x\\";URI={WEB}"'), 403),
        (EDGE, xfcc(f"By={EDGE};URI={WEB};URI={SHOP}"), 403),
        (EDGE, xfcc("URI=http://x"), 403),
        (EDGE, xfcc(""), 403),
    ],
)
def test_a_proxy_that_policy_names_speaks_for_others(caller, headers, seen):
    """Its last element only, whole and well-formed; from anybody else the header is air."""
    mesh = mesh_of(TRUSTED)
    shows = None if caller is None else mesh.issue(caller)
    passage = mesh.gate.admit(request(headers=headers, shows=shows))
    if seen == 403:
        assert isinstance(passage, Denial)
        assert passage.reason.startswith("forwarded_client_cert_refused{")
        return
    assert isinstance(passage, Admission)
    peer = passage.call.peer
    assert (None if peer is None else (peer.id, peer.proved_by)) == seen
    assert not headers or "x-forwarded-client-cert" in passage.remove


@pytest.mark.parametrize(
    ("mode", "caller", "count"),
    [
        ("SANITIZE", WEB, 0),
        ("SANITIZE_SET", WEB, 1),
        ("SANITIZE_SET", EDGE, 1),
        ("SANITIZE_SET", None, 0),
        ("APPEND_FORWARD", WEB, 1),
        ("APPEND_FORWARD", EDGE, 2),
        ("APPEND_FORWARD", None, 0),
    ],
)
def test_the_app_is_told_of_certificates_when_asked_for(mode, caller, count):
    """In Envoy's form; what was there before goes on only from a proxy that policy names."""
    config = mesh_config(
        xfccTrustedProxies=[EDGE],
        defaultConfig={"proxyHeaders": {"forwardedClientCert": mode}},
    )
    mesh = mesh_of(config)
    shows = None if caller is None else mesh.issue(caller)
    headers = xfcc(f"By={EDGE};URI={SHOP}")
    passage = mesh.gate.admit(request(headers=headers, shows=shows))
    assert isinstance(passage, Admission)
    told = dict(passage.add).get("x-forwarded-client-cert", "")
    elements = [each for each in told.split(",") if each]
    assert len(elements) == count
    if elements:
        assert f"By={OWN};Hash=" in elements[-1]
        assert elements[-1].endswith(f'Subject="";URI={caller}')


@pytest.mark.parametrize(("life_s", "is_last"), [(3600, False), (29, True)])
def test_a_connection_is_good_for_no_longer_than_what_it_shows(life_s, is_last):
    """The first call over it is told, and those from memory; a refused chain always is."""
    mesh = mesh_of(clock=FakeClock())
    head = request(shows=mesh.issue(WEB, life_s=life_s))
    for _ in range(2):
        assert mesh.gate.admit(head).is_last is is_last
    assert mesh.gate.admit(request(shows=TestMesh([workload()]).issue(WEB))).is_last
    assert not mesh.gate.admit(request()).is_last
