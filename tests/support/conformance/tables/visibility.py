"""Who sees what: exportTo, namespaces, Sidecar, hosts that the mesh does not know."""

from __future__ import annotations

from conformance.cases import V1, V2, case, destination_rule, get, service_entry, virtual_service
from conformance.run import World
from conformance.tables.destinations import OUTSIDE

WORLDS = {
    "registry": World(
        """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
"""
    ),
    "retrying": World(
        """
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {defaultHttpRetryPolicy: {attempts: 1, retryOn: 5xx, backoff: 10ms}}
"""
    ),
    "sidecar": World(
        """
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: some, namespace: default}
spec:
  outboundTrafficPolicy: {mode: REGISTRY_ONLY}
  egress: [{hosts: ["*/orders.c0.svc.cluster.local", "*/*.seen.example.com"]}]
"""
    ),
}

CAUGHT = "- {directResponse: {status: 299}}"


def _private(text: str, to: str) -> str:
    return text.replace('exportTo: ["*"]', f'exportTo: ["{to}"]')


SEEN = service_entry(
    "seen",
    """
    hosts: ["a.$ns.seen.example.com", "a.$ns.hidden.example.com"]
    resolution: STATIC
    ports: [{number: 80, name: http, protocol: HTTP}]
    endpoints: [{address: 127.0.0.1, ports: {http: $c}}]
    """,
)

CASES = [
    case("unknown-refused", None, get(host="nobody.$ns.example"), world="registry"),
    case(
        "unknown-refused-grpc",
        None,
        get(host="nobody.$ns.example", content_type="application/grpc"),
        world="registry",
    ),
    case("unknown-port-refused", None, get(port=81), world="registry"),
    case("known-in-registry", f"- {V1}", get(), world="registry"),
    case("sidecar-imports", None, get(host="a.$ns.seen.example.com"), more=SEEN, world="sidecar"),
    case(
        "sidecar-hides",
        None,
        get(host="a.$ns.hidden.example.com"),
        get(),
        more=SEEN,
        world="sidecar",
    ),
    case(
        "virtual-service-private",
        None,
        get(),
        get(),
        unordered=True,
        more=_private(virtual_service(CAUGHT), "."),
    ),
    case(
        "virtual-service-for-others",
        None,
        get(),
        get(),
        unordered=True,
        more=_private(virtual_service(CAUGHT), "other"),
    ),
    case(
        "virtual-service-for-us", None, get(), more=_private(virtual_service(f"- {V1}"), "default")
    ),
    case(
        "virtual-service-for-gateways",
        None,
        get(),
        get(),
        unordered=True,
        more=virtual_service(CAUGHT).replace("  http:", "  gateways: [ingress]\n  http:"),
    ),
    case(
        "virtual-service-for-mesh-too",
        None,
        get(),
        more=virtual_service(f"- {V1}").replace("  http:", "  gateways: [ingress, mesh]\n  http:"),
    ),
    case(
        "service-private",
        None,
        get(host="inner.$ns.example.com"),
        more=OUTSIDE.replace(
            "hosts: [api", "exportTo: ['.']\n  hosts: [inner.$ns.example.com, api"
        ).replace("name: outside", "name: inner"),
        world="registry",
    ),
    case(
        "rule-wildcard-host",
        f"- {V2}",
        get(),
        more=destination_rule(
            "trafficPolicy: {loadBalancer: {simple: RANDOM}}", host='"*.$ns.svc.cluster.local"'
        ).replace('name: "*,', "name: wide,"),
    ),
]
