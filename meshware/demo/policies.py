"""The policy that the demo begins with, and the edits it makes, as a person would write them."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "BROKEN",
    "CANARY",
    "DENY",
    "IMPATIENT",
    "RETRIES",
    "TESTERS",
    "TRACED",
    "V1_ONLY",
    "V2_ONLY",
    "workloads",
]

_SUBSETS = """\
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
    - {name: v3, labels: {version: v3}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews}
spec:
  hosts: [reviews]
  http:
"""

V1_ONLY = (
    _SUBSETS
    + """\
    - route: [{destination: {host: reviews, subset: v1}}]
"""
)

V2_ONLY = (
    _SUBSETS
    + """\
    - route: [{destination: {host: reviews, subset: v2}}]
"""
)

_WEIGHTS = """\
    - route:
        - {destination: {host: reviews, subset: v1}, weight: 80}
        - {destination: {host: reviews, subset: v2}, weight: 20}
"""

CANARY = _SUBSETS + _WEIGHTS

TESTERS = (
    _SUBSETS
    + """\
    - match: [{headers: {end-user: {exact: jason}}}]
      route: [{destination: {host: reviews, subset: v3}}]
"""
    + _WEIGHTS
)

RETRIES = """\
apiVersion: networking.istio.io/v1alpha3
kind: VirtualService
metadata: {name: my-virtualservice}
spec:
  hosts: [ratings]
  http:
    - route: [{destination: {host: ratings}}]
      timeout: 10s
      retries: {attempts: 2, perTryTimeout: 5s, retryOn: 5xx}
"""

TRACED = """\
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: traced}
spec:
  tracing: [{providers: [{name: meshware}], randomSamplingPercentage: 20}]
"""
"""One call of five is sampled, and kept for the dashboard."""

IMPATIENT_TIMEOUT_S = 1.0
IMPATIENT = RETRIES.replace("10s", "1s").replace("5s,", "400ms,")

DENY = """\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: reviews-closed}
spec:
  selector: {matchLabels: {app: reviews}}
  action: DENY
  rules:
    - to: [{operation: {methods: [GET], paths: ["/reviews/*"]}}]
"""

BROKEN = CANARY.replace("subset: v2}, weight: 20", "subset: v4}, wieght: 20")


def workloads(ports: Mapping[str, int], *, ratings: tuple[str, ...]) -> str:
    """Return the WorkloadEntries of the shop.

    Args:
        ports: the port of each process, by the workload's name.
        ratings: which of the ratings' processes are endpoints of the service; the others stand by.
    """
    parts = []
    for name, port in ports.items():
        app, _, version = name.partition("-")
        labels = {"app": app, "version": version or "v1"}
        if app == "ratings" and name not in ratings:
            labels["app"] = "standby"
        parts.append(
            "apiVersion: networking.istio.io/v1\n"
            "kind: WorkloadEntry\n"
            f"metadata: {{name: {name}}}\n"
            "spec:\n"
            "  address: 127.0.0.1\n"
            f"  serviceAccount: {app}\n"
            f"  ports: {{http: {port}}}\n"
            f"  labels: {{app: {labels['app']}, version: {labels['version']}}}\n"
        )
    return "---\n".join(parts)
