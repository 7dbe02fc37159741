"""Policy of one workload whose calls are counted, and what `/metrics` says of them."""

from __future__ import annotations

import urllib.request
from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

POLICY = """\
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app, labels: {app: shop, version: v1}}
spec: {address: 127.0.0.1, serviceAccount: app, labels: {app: shop, version: v1}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: shop}
spec:
  hosts: [shop.default.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  workloadSelector: {labels: {app: shop}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: closed}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: [/closed]}}]}]
"""

ENVIRON = {"MESH_WORKLOAD": "default/app"}


def scrape(daemon, accept: str = "") -> str:
    """What `/metrics` says."""
    asked = urllib.request.Request(
        f"http://{daemon.status().listen}/metrics", headers={"accept": accept}
    )
    with urllib.request.urlopen(asked, timeout=10) as answer:
        return answer.read().decode()


def totals(text: str) -> Counter:
    """Calls by status, of the side that was called."""
    found: Counter = Counter()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == "istio_requests_total":
                assert sample.labels["reporter"] == "destination"
                found[sample.labels["response_code"]] += int(sample.value)
    del found["299"]
    return found
