"""Write resources in a line each, and check them as `meshware check` would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from meshware.policy.parse import parse_text
from meshware.policy.problems import Problem
from meshware.policy.validate import check

NETWORKING = "networking.istio.io/v1"


def resource(
    kind: str,
    spec: Mapping[str, Any],
    name: str = "it",
    namespace: str = "default",
    api: str = NETWORKING,
    **metadata: Any,
) -> str:
    """Return the YAML of one resource, its spec in one line."""
    full = {"name": name, "namespace": namespace, **metadata}
    return f"""---
apiVersion: {api}
kind: {kind}
metadata: {json.dumps(full)}
spec: {json.dumps(spec)}
"""


def service(
    host: str = "reviews",
    namespace: str = "default",
    name: str = "",
    ports: tuple[int, ...] = (9080,),
    **more: Any,
) -> str:
    """Return a ServiceEntry with an endpoint of version v1 and one of version v2."""
    spec = {
        "hosts": [host],
        "location": "MESH_INTERNAL",
        "resolution": "STATIC",
        "ports": [{"number": n, "name": f"http-{n}", "protocol": "HTTP"} for n in ports],
        **more,
    }
    if "workloadSelector" not in spec:
        spec.setdefault(
            "endpoints",
            [
                {"address": "10.0.0.1", "labels": {"version": "v1"}},
                {"address": "10.0.0.2", "labels": {"version": "v2"}},
            ],
        )
    called = name or host.replace("*", "any").replace(".", "-").strip("-")
    return resource("ServiceEntry", spec, called, namespace)


def subsets(
    *names: str,
    host: str = "reviews",
    namespace: str = "default",
    name: str = "versions",
    **more: Any,
) -> str:
    """Return a DestinationRule with a subset for each version."""
    spec = {
        "host": host,
        "subsets": [{"name": each, "labels": {"version": each}} for each in names],
        **more,
    }
    return resource("DestinationRule", spec, name, namespace)


def workload(
    name: str, namespace: str = "default", labels: Mapping[str, str] | None = None, **more: Any
) -> str:
    """Return a WorkloadEntry."""
    spec = {"address": "10.0.1.1", "labels": labels or {"app": name}, **more}
    return resource("WorkloadEntry", spec, name, namespace)


def routes(
    *http: Mapping[str, Any],
    host: str = "reviews",
    namespace: str = "default",
    name: str = "it",
    **more: Any,
) -> str:
    """Return a VirtualService."""
    return resource(
        "VirtualService", {"hosts": [host], "http": list(http), **more}, name, namespace
    )


def to(host: str = "reviews", **destination: Any) -> dict[str, Any]:
    """Return a route to one destination."""
    return {"route": [{"destination": {"host": host, **destination}}]}


def problems(*texts: str) -> list[Problem]:
    """Return what `check` finds wrong with resources that parse."""
    resources, unreadable = parse_text("".join(texts), "mesh.yaml")
    assert unreadable == []
    return check(resources)


def brief(found: list[Problem]) -> list[tuple[str, str, str | None]]:
    """Return severity, code and field of problems, for comparing."""
    return [(str(problem.severity), problem.code, problem.field) for problem in found]
