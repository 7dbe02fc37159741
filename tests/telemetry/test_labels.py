"""Labels are Istio's, of who is proved and of what policy says. Source: Istio Standard Metrics."""

from __future__ import annotations

import pytest

from meshware.telemetry.labels import InboundKey, OutboundKey, inbound_labels, outbound_labels
from meshware.testing import TestMesh

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, namespace: shop}
spec: {address: 10.0.0.1, serviceAccount: app, labels: {app: orders, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: web, namespace: front}
spec: {address: 10.0.0.2, serviceAccount: web, labels: {app: web, version: v7}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: pay-1, namespace: shop}
spec: {address: 10.0.0.3, serviceAccount: pay, labels: {app: pay, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: pay-2, namespace: shop}
spec: {address: 10.0.0.4, serviceAccount: pay, labels: {app: pay, version: v2}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders, namespace: shop}
spec:
  hosts: [orders.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: orders}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: pay, namespace: shop}
spec:
  hosts: [pay.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: pay}}
"""

OF_AN_END = (
    "app", "canonical_revision", "canonical_service", "cluster", "principal", "version",
    "workload", "workload_namespace",
)  # fmt: skip
ALL = {f"{side}_{name}" for side in ("source", "destination") for name in OF_AN_END} | {
    "reporter",
    "destination_service",
    "destination_service_name",
    "destination_service_namespace",
    "request_protocol",
    "response_code",
    "grpc_response_status",
    "response_flags",
    "connection_security_policy",
}
WEB = "spiffe://cluster.local/ns/front/sa/web"
PAY = "spiffe://cluster.local/ns/shop/sa/pay"
NOBODY = {
    "source_workload": "unknown",
    "source_workload_namespace": "unknown",
    "source_principal": "unknown",
    "source_canonical_revision": "latest",
}


@pytest.fixture(scope="module")
def snapshot():
    """Policy as `shop/app` has it."""
    return TestMesh(POLICY, workload="shop/app").cell.current


def inbound(peer: str | None = None, by: str = "mtls", **other):
    """A kind of call that came in."""
    known = {"host": "orders.shop", "is_grpc": False, "status": 200, "grpc_status": ""}
    is_mutual = peer is not None and by == "mtls"
    return InboundKey(peer, is_mutual, **{**known, "flags": "-", **other})


def outbound(cluster: str, host: str = "pay.shop", endpoint: str | None = None, **other):
    """A kind of call that went out."""
    known = {"is_grpc": False, "status": 200, "grpc_status": "", "flags": "-"}
    return OutboundKey(cluster, host, endpoint, **{**known, **other})


@pytest.mark.parametrize(
    ("key", "then"),
    [
        (inbound(), {**NOBODY, "connection_security_policy": "none"}),
        (
            inbound(WEB),
            {
                "source_principal": WEB,
                "source_workload_namespace": "front",
                "source_workload": "web",
                "source_app": "web",
                "source_version": "v7",
                "source_canonical_service": "web",
                "source_canonical_revision": "v7",
                "connection_security_policy": "mutual_tls",
            },
        ),
        (
            inbound(host="ORDERS.shop:8080"),
            {"destination_service": "orders.shop.svc.cluster.local"},
        ),
        (inbound(host="orders.shop.:x"), {"destination_service": "unknown"}),
        (inbound(WEB, "token"), {"source_workload": "web", "connection_security_policy": "none"}),
        (
            inbound(PAY),  # two workloads have this account
            {
                "source_principal": PAY,
                "source_workload_namespace": "shop",
                "source_workload": "unknown",
                "source_version": "unknown",
            },
        ),
        (
            inbound("spiffe://other.example/anything"),
            {**NOBODY, "source_principal": "spiffe://other.example/anything"},
        ),
        (
            inbound(),
            {
                "reporter": "destination",
                "destination_workload": "app",
                "destination_workload_namespace": "shop",
                "destination_principal": "spiffe://cluster.local/ns/shop/sa/app",
                "destination_app": "orders",
                "destination_service": "orders.shop.svc.cluster.local",
                "destination_service_name": "orders",
                "destination_service_namespace": "shop",
            },
        ),
        (
            inbound(host="made-up.example"),
            {
                "destination_service": "unknown",
                "destination_service_name": "unknown",
                "destination_service_namespace": "unknown",
            },
        ),
        (inbound(status=0, flags="DC"), {"response_code": "0", "response_flags": "DC"}),
        (
            inbound(is_grpc=True, grpc_status="14"),
            {"request_protocol": "grpc", "grpc_response_status": "14"},
        ),
        (inbound(), {"request_protocol": "http", "grpc_response_status": ""}),
    ],
    ids=[
        "nobody proved",
        "mtls",
        "host with port",
        "host with what is no port",
        "token",
        "shared account",
        "foreign",
        "own side",
        "made-up host",
        "gone",
        "grpc",
        "http",
    ],
)
def test_labels_of_calls_that_come_in(snapshot, key, then):
    """All 25 of them, whatever is known."""
    labels = inbound_labels(key, snapshot)
    assert labels.keys() == ALL
    assert labels.items() >= then.items()


PAY_CLUSTER = "outbound|80||pay.shop.svc.cluster.local"


@pytest.mark.parametrize(
    ("key", "then"),
    [
        (
            outbound(PAY_CLUSTER, endpoint="10.0.0.4:80"),
            {
                "reporter": "source",
                "source_workload": "app",
                "source_workload_namespace": "shop",
                "destination_workload": "pay-2",
                "destination_workload_namespace": "shop",
                "destination_app": "pay",
                "destination_version": "v2",
                "destination_service": "pay.shop.svc.cluster.local",
                "destination_service_name": "pay",
                "destination_service_namespace": "shop",
                "connection_security_policy": "unknown",
            },
        ),
        (
            outbound(PAY_CLUSTER, status=503, flags="UH"),  # there was nobody to ask
            {
                "destination_workload": "unknown",
                "destination_service": "pay.shop.svc.cluster.local",
                "response_flags": "UH",
            },
        ),
        (
            outbound("PassthroughCluster", "www.example.com"),
            {
                "destination_service": "www.example.com",
                "destination_service_name": "PassthroughCluster",
                "destination_service_namespace": "unknown",
            },
        ),
        (
            outbound("BlackHoleCluster", "www.example.com", status=502),
            {
                "destination_service": "www.example.com",
                "destination_service_name": "BlackHoleCluster",
            },
        ),
        (outbound("", "nowhere", status=404, flags="NR"), {"destination_service": "unknown"}),
    ],
    ids=["endpoint", "no endpoint", "passthrough", "black hole", "no route"],
)
def test_labels_of_calls_that_go_out(snapshot, key, then):
    """A client does not say how its connection was secured. Source: Istio's stats filter."""
    labels = outbound_labels(key, snapshot)
    assert labels.keys() == ALL
    assert labels.items() >= then.items()
