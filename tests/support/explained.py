"""A policy to ask `meshware explain` about, and where a text stands in it."""

from __future__ import annotations

SERVICE = """\
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: orders}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 81, name: admin, protocol: HTTP}]
  endpoints:
    - {address: 10.0.0.1, labels: {version: v1}}
    - {address: 10.0.0.2, labels: {version: v1}}
    - {address: 10.0.0.3, labels: {version: v2}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {name: app}
spec: {address: 10.0.0.9, labels: {app: app}}
---
"""

RULES = """\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: orders}
spec:
  hosts: [orders]
  http:
    - name: canary
      match:
        - {headers: {x-user: {exact: alice}}}
        - {sourceLabels: {app: tester}, uri: {prefix: /}}
      route: [{destination: {host: orders, subset: v2}}]
    - name: readers
      match: [{method: {exact: GET}, uri: {prefix: /orders}}]
      route:
        - {destination: {host: orders, subset: v1}, weight: 75}
        - {destination: {host: orders, subset: v2}, weight: 25}
    - match: [{port: 81}]
      route: [{destination: {host: orders}}]
    - match: [{uri: {prefix: /orders/1}}]
      route: [{destination: {host: orders}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: orders}
spec:
  host: orders
  trafficPolicy:
    loadBalancer: {simple: ROUND_ROBIN}
    outlierDetection: {maxEjectionPercent: 50}
  subsets:
    - {name: v1, labels: {version: v1}}
    - name: v2
      labels: {version: v2}
      trafficPolicy:
        portLevelSettings: [{port: {number: 80}, connectionPool: {http: {maxRetries: 2}}}]
---
"""


def line_of(policy: str, text: str) -> int:
    """The line in which a text first stands."""
    return policy[: policy.index(text)].count("\n") + 1
