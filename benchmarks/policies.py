"""Policy of any size, for measuring with."""

from __future__ import annotations

from typing import Any

__all__ = ["app_rules", "services"]


def app_rules(count: int) -> list[dict[str, Any]]:
    """Return one workload with `count` rules: nine of ten ALLOW, one DENY; the last one matches."""
    denied = max(1, count // 10)
    return [
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "closed"},
            "spec": {
                "action": "DENY",
                "rules": [
                    {"to": [{"operation": {"paths": [f"/closed-{i}/*"]}}]} for i in range(denied)
                ],
            },
        },
        {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": "open"},
            "spec": {
                "action": "ALLOW",
                "rules": [
                    {"to": [{"operation": {"methods": ["GET"], "paths": [f"/open-{i}/*"]}}]}
                    for i in range(count - denied)
                ],
            },
        },
    ]


def last_open_path(count: int) -> str:
    """Return a path that only the last rule of `app_rules(count)` allows."""
    return f"/open-{count - max(1, count // 10) - 1}/item"


def services(count: int, endpoints: int, *, changed: int | None = None) -> list[dict[str, Any]]:
    """Return `count` services of `endpoints` each; in `changed`, one endpoint has moved."""
    found: list[dict[str, Any]] = []
    for number in range(count):
        found.append(
            {
                "apiVersion": "networking.istio.io/v1",
                "kind": "ServiceEntry",
                "metadata": {"name": f"service-{number}"},
                "spec": {
                    "hosts": [f"service-{number}"],
                    "location": "MESH_INTERNAL",
                    "resolution": "STATIC",
                    "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
                    "endpoints": [
                        {
                            "address": _address(number, i, moved=number == changed and i == 0),
                            "ports": {"http": 8080},
                            "labels": {"app": f"service-{number}", "version": f"v{i % 2 + 1}"},
                        }
                        for i in range(endpoints)
                    ],
                },
            }
        )
    return found


def _address(service: int, endpoint: int, *, moved: bool) -> str:
    return f"10.{service >> 8 & 255}.{service & 255}.{endpoint + (100 if moved else 1)}"
