"""Which resources stand beside a service."""

from __future__ import annotations

import pytest

from meshware.dashboard.concerns import may_concern
from meshware.dashboard.graph import Node
from meshware.policy.parse import parse_text
from meshware.syncd.changes import shown

CART = Node("shop/cart", "cart", "shop", "service")
CART_V2 = Node("shop/cart@v2", "cart", "shop", "version", "v2")
WEB = Node("web/front", "front", "web", "service")
HOSTS = {"cart.shop.svc.cluster.local"}


def resource(kind: str, spec: str, namespace: str = "shop") -> dict:
    """A resource as the daemon tells it."""
    group = {
        "AuthorizationPolicy": "security.istio.io/v1",
        "PeerAuthentication": "security.istio.io/v1",
        "MeshConfig": "meshware.dev/v1alpha1",
    }.get(kind, "networking.istio.io/v1")
    text = (
        f"apiVersion: {group}\nkind: {kind}\n"
        f"metadata: {{name: x, namespace: {namespace}}}\nspec: {spec}\n"
    )
    resources, problems = parse_text(text, "p.yaml")
    assert not problems
    (found,) = shown(resources)
    return found


@pytest.mark.parametrize(
    ("kind", "namespace", "spec", "expected"),
    [
        ("VirtualService", "shop", "{hosts: [cart]}", True),
        ("VirtualService", "web", "{hosts: [cart]}", False),
        ("VirtualService", "web", "{hosts: [cart.shop]}", False),  # a host of its own: `names`
        ("VirtualService", "shop", "{hosts: [CART]}", True),
        ("VirtualService", "web", "{hosts: ['*t.shop.svc.cluster.local']}", True),
        ("VirtualService", "web", "{hosts: ['*p.svc.cluster.local']}", True),
        ("VirtualService", "web", "{hosts: ['*.web.svc.cluster.local']}", False),
        ("VirtualService", "web", "{hosts: [cart.shop.svc.cluster.local]}", True),
        ("VirtualService", "web", "{hosts: ['*.shop.svc.cluster.local']}", True),
        ("VirtualService", "web", "{hosts: ['*']}", True),
        ("VirtualService", "shop", "{hosts: [cartoon]}", False),
        ("DestinationRule", "shop", "{host: cart}", True),
        ("DestinationRule", "shop", "{host: carts}", False),
        ("AuthorizationPolicy", "shop", "{}", True),
        ("AuthorizationPolicy", "web", "{}", False),
        ("AuthorizationPolicy", "istio-system", "{}", True),
        ("AuthorizationPolicy", "shop", "{selector: {matchLabels: {app: cart}}}", True),
        ("AuthorizationPolicy", "shop", "{selector: {matchLabels: {app: other}}}", False),
        ("AuthorizationPolicy", "istio-system", "{selector: {matchLabels: {app: cart}}}", True),
        ("PeerAuthentication", "shop", "{mtls: {mode: STRICT}}", True),
        ("Sidecar", "web", "{egress: [{hosts: ['*/*']}]}", True),
        ("Sidecar", "shop", "{egress: [{hosts: ['*/*']}]}", False),
        ("MeshConfig", "istio-system", "{}", True),
    ],
)
def test_what_may_have_a_say_in_calls_from_web_to_cart(kind, namespace, spec, expected):
    assert may_concern(resource(kind, spec, namespace), CART, HOSTS, WEB) is expected


@pytest.mark.parametrize(
    ("target", "host", "expected"),
    [
        (CART, "cart", True),
        (CART, "cart.shop.svc.cluster.local", True),
        (CART, "cart.shop.svc.example", False),
        (Node("outside/cart", "cart", "", "outside"), "cart", False),  # which means the service
        (Node("outside/a.example", "a.example", "", "outside"), "A.example", True),
        (Node("outside/a.example", "a.example", "", "outside"), "'*.example'", True),
        (Node("unknown", "unknown", "", "unknown"), "'*'", True),
        (Node("unknown", "unknown", "", "unknown"), "unknown", False),
    ],
)
def test_what_nobody_calls_by_a_host_has_its_own(target, host, expected):
    found = resource("VirtualService", f"{{hosts: [{host}]}}")
    assert may_concern(found, target, set(), WEB) is expected


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ("app: cart", True),
        ("app.kubernetes.io/name: cart", True),
        ("app: old, app.kubernetes.io/name: cart", True),
        ("app: cart, service.istio.io/canonical-name: basket", False),
        ("tier: back", True),
    ],
)
def test_a_selector_means_the_service_that_telemetry_would_call_it(labels, expected):
    """Istio's canonical service: the same order of labels by which the graph has its names."""
    found = resource("AuthorizationPolicy", f"{{selector: {{matchLabels: {{{labels}}}}}}}")
    assert may_concern(found, CART, HOSTS) is expected


@pytest.mark.parametrize(("version", "expected"), [("v1", False), ("v2", True)])
def test_a_policy_of_another_version_has_none(version, expected):
    found = resource(
        "AuthorizationPolicy", f"{{selector: {{matchLabels: {{app: cart, version: {version}}}}}}}"
    )
    assert may_concern(found, CART_V2, HOSTS) is expected
    assert may_concern(found, CART, HOSTS)


def test_a_callers_sidecar_has_none_where_the_caller_is_not_known():
    assert not may_concern(resource("Sidecar", "{}", "web"), CART, HOSTS)
