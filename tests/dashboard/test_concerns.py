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
        ("VirtualService", "web", "{hosts: [cart.shop]}", True),
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


@pytest.mark.parametrize(("version", "expected"), [("v1", False), ("v2", True)])
def test_a_policy_of_another_version_has_none(version, expected):
    found = resource(
        "AuthorizationPolicy", f"{{selector: {{matchLabels: {{app: cart, version: {version}}}}}}}"
    )
    assert may_concern(found, CART_V2, HOSTS) is expected
    assert may_concern(found, CART, HOSTS)


def test_a_callers_sidecar_has_none_where_the_caller_is_not_known():
    assert not may_concern(resource("Sidecar", "{}", "web"), CART, HOSTS)
