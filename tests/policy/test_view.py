"""What one client sees: services, and which rules apply to a host."""

from __future__ import annotations

import random

import pytest

from meshware.policy.file import MemoryRecords
from meshware.policy.parse import parse_text
from meshware.policy.records import build_records
from meshware.policy.view import Client, View, view


def see(text: str, namespace: str = "default", **labels: str) -> View:
    """Return what a client of a namespace sees of policy text."""
    resources, problems = parse_text(text, "test.yaml")
    assert not problems, problems
    return view(MemoryRecords(build_records(resources)), Client(namespace=namespace, labels=labels))


def service(host: str, namespace: str = "default", *, name: str = "", more: str = "") -> str:
    """Return a ServiceEntry."""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name or "s-" + str(random.randrange(10**9))}, namespace: {namespace}}}
spec:
  hosts: ["{host}"]
  resolution: STATIC
  ports: [{{number: 80, name: http}}]
  endpoints: [{{address: 10.0.0.1}}]
  {more}
"""


def routes(host: str, namespace: str, name: str, more: str = "", created: str = "") -> str:
    """Return a VirtualService that leads to its own host."""
    meta = f", creationTimestamp: '{created}'" if created else ""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {namespace}{meta}}}
spec:
  hosts: ["{host}"]
  http: [{{route: [{{destination: {{host: "{host}"}}}}]}}]
  {more}
"""


def rule(host: str, namespace: str, name: str, more: str = "") -> str:
    """Return a DestinationRule with one subset of its own name."""
    return f"""
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  host: "{host}"
  subsets: [{{name: {name}}}]
  {more}
"""


FQDN = "reviews.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("export", "namespace", "seen"),
    [
        ("", "other", True),
        ('exportTo: ["*"]', "other", True),
        ('exportTo: ["."]', "other", False),
        ('exportTo: ["."]', "shop", True),
        ("exportTo: [other]", "other", True),
        ("exportTo: [other]", "shop", False),
        ('exportTo: ["~"]', "shop", False),
    ],
)
def test_a_service_is_seen_where_it_is_exported(export, namespace, seen):
    """Source: ServiceEntry exportTo."""
    found = see(service("reviews", "shop", more=export), namespace).service(FQDN)
    assert (found is not None) is seen


def test_the_clients_own_claim_on_a_host_comes_first():
    """Two ServiceEntries for one host: the client's namespace wins, then the oldest."""
    text = service("api.example.com", "a", name="a") + service("api.example.com", "b", name="b")
    assert see(text, "b").service("api.example.com").claim.namespace == "b"
    assert see(text, "c").service("api.example.com").claim.namespace == "a"


@pytest.mark.parametrize(
    ("host", "pattern"),
    [
        ("a.b.example.com", "*.b.example.com"),
        ("x.example.com", "*.example.com"),
        ("my-example.com", "*example.com"),
        ("a.b.exact.com", None),
    ],
)
def test_wildcard_services_cover_by_the_longest_suffix(host, pattern):
    """Most specific first; a pattern may also end within a label."""
    text = "".join(service(p) for p in ("*.example.com", "*.b.example.com", "*example.com"))
    found = see(text).service(host)
    assert (found.host if found else None) == pattern


def test_one_virtual_service_wins_and_nothing_is_merged():
    """Exact over wildcard; private over by name over public; then the oldest."""
    text = (
        service("reviews", "shop")
        + routes("*.shop.svc.cluster.local", "shop", "wild")
        + routes(FQDN, "shop", "young", created="2026-02-01T00:00:00Z")
        + routes(FQDN, "shop", "old", created="2026-01-01T00:00:00Z")
        + routes(FQDN, "web", "mine", 'exportTo: ["."]')
        + routes(FQDN, "shop", "named", "exportTo: [named]")
    )
    assert see(text, "other").virtual_service(FQDN).name == "old"
    assert see(text, "web").virtual_service(FQDN).name == "mine"
    assert see(text, "named").virtual_service(FQDN).name == "named"
    assert see(text).virtual_service("ratings.shop.svc.cluster.local").name == "wild"


def test_nobody_redirects_the_calls_of_others_by_leaving_export_to_out():
    """About a host of another namespace an absent exportTo means the own namespace only."""
    text = service("reviews", "shop") + routes(FQDN, "evil", "grab")
    assert see(text, "web").virtual_service(FQDN) is None
    assert see(text, "evil").virtual_service(FQDN).name == "grab"
    restored = (
        text
        + """
---
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {defaultVirtualServiceExportTo: ["*"]}
"""
    )
    assert see(restored, "web").virtual_service(FQDN).name == "grab"


def test_the_same_holds_for_hosts_outside_of_any_namespace():
    """Who declares a host may route it for all; anybody else for themselves."""
    text = service("api.example.com", "shop") + routes("api.example.com", "evil", "grab")
    assert see(text, "web").virtual_service("api.example.com") is None
    own = service("api.example.com", "shop") + routes("api.example.com", "shop", "own")
    assert see(own, "web").virtual_service("api.example.com").name == "own"


def test_a_virtual_service_for_gateways_only_is_not_for_clients():
    """`gateways` without `mesh` leaves clients with the default route."""
    text = service("reviews", "shop") + routes(FQDN, "shop", "gw", "gateways: [edge]")
    assert see(text).virtual_service(FQDN) is None


def test_destination_rules_are_looked_up_client_then_service_then_root():
    """The first namespace with any match decides, and nothing is merged across them."""
    root = rule(FQDN, "istio-system", "root")
    own = root + rule(FQDN, "shop", "service")
    client = own + rule("*.local", "web", "client")
    assert see(root, "web").destination_rule(FQDN, "shop").name == "root"
    assert see(own, "web").destination_rule(FQDN, "shop").name == "service"
    # The trap: a wildcard in the client's namespace hides the exact rule of the service's.
    assert see(client, "web").destination_rule(FQDN, "shop").name == "client"
    third = rule(FQDN, "third", "third", 'exportTo: ["*"]')
    assert see(third, "web").destination_rule(FQDN, "shop") is None


def test_subsets_of_equal_hosts_in_one_namespace_are_joined():
    """Subsets are unioned by name; the traffic policy is the first there is."""
    text = rule(FQDN, "shop", "v1") + rule(
        FQDN, "shop", "v2", "trafficPolicy: {loadBalancer: {simple: RANDOM}}"
    )
    found = see(text).destination_rule(FQDN, "shop").spec
    assert [subset.name for subset in found.subsets] == ["v1", "v2"]
    assert found.traffic_policy.load_balancer.simple == "RANDOM"


def test_a_rule_with_a_selector_is_for_those_clients_of_its_namespace():
    """workloadSelector rules come before the one without, for whom they select."""
    text = rule(FQDN, "web", "all") + rule(
        FQDN, "web", "some", "workloadSelector: {matchLabels: {app: page}}"
    )
    assert see(text, "web", app="page").destination_rule(FQDN, "shop").name == "some"
    assert see(text, "web", app="else").destination_rule(FQDN, "shop").name == "all"


SIDECAR = """
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: scope, namespace: web}
spec:
  egress: [{hosts: ["shop/*", "./*"]}]
  %s
"""


def test_a_sidecar_limits_which_services_its_clients_know():
    """A host that is not imported is unknown; its absence changes nothing for others."""
    text = (
        service("reviews", "shop") + service("secrets", "vault") + service("page", "web") + SIDECAR
    )
    scoped = see(text % "", "web")
    assert scoped.service(FQDN) is not None
    assert scoped.service("page.web.svc.cluster.local") is not None
    assert scoped.service("secrets.vault.svc.cluster.local") is None
    assert see(text % "", "shop").service("secrets.vault.svc.cluster.local") is not None


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("", "ALLOW_ANY"),
        ("outboundTrafficPolicy: {mode: REGISTRY_ONLY}", "REGISTRY_ONLY"),
        ("outboundTrafficPolicy: {mode: ALLOW_ANY}", "ALLOW_ANY"),
        ("outboundTrafficPolicy: {}", "REGISTRY_ONLY"),
    ],
)
def test_a_sidecars_outbound_mode_goes_before_the_meshs(policy, mode):
    """Istio: the zero value inside an empty outboundTrafficPolicy is REGISTRY_ONLY."""
    assert see(SIDECAR % policy, "web").outbound_mode == mode


def test_the_order_of_resources_changes_no_byte():
    """Compiling is deterministic, whatever order files come in."""
    text = service("reviews", "shop", name="r") + service("*foo.com", name="w")
    text += routes(FQDN, "shop", "a") + rule(FQDN, "shop", "b") + SIDECAR % ""
    resources, _ = parse_text(text)
    first = build_records(resources)
    for seed in range(5):
        random.Random(seed).shuffle(resources)
        assert build_records(resources) == first


def test_endpoints_come_from_workload_entries_of_the_same_namespace():
    """A workloadSelector selects WorkloadEntries by label; their ports override the service's."""
    entry = """
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: %s, namespace: %s, labels: {app: reviews}}
spec: {address: %s, labels: {version: v1}, ports: {http: 8080}, weight: 3, serviceAccount: r}
"""
    text = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  resolution: STATIC
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, targetPort: 9000}, {number: 81, name: admin, targetPort: 9001}]
  workloadSelector: {labels: {app: reviews, version: v1}}
"""
    text += entry % ("one", "shop", "10.0.0.1") + entry % ("two", "other", "10.0.0.2")
    seen = see(text, "web")
    (endpoint,) = seen.endpoints(seen.service(FQDN))
    assert (endpoint.address, endpoint.weight) == ("10.0.0.1", 3)
    assert endpoint.ports == {"80": 8080, "81": 9001}
