"""Policy of any size, for measuring with."""

from __future__ import annotations

from typing import Any

__all__ = ["app_rules", "last_open_path", "mixed_rules", "services"]


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


def mixed_rules(count: int) -> list[dict[str, Any]]:
    """Return one workload with `count` rules of ten shapes, a tenth DENY; the last one matches."""
    shapes = (
        lambda i: {"to": [{"operation": {"paths": [f"/exact/{i}"], "methods": ["GET"]}}]},
        lambda i: {"to": [{"operation": {"paths": [f"/prefix-{i}/*"]}}]},
        lambda i: {"to": [{"operation": {"paths": [f"/of/{{*}}/items-{i}/{{*}}"]}}]},
        lambda i: {"to": [{"operation": {"hosts": [f"host-{i}.example.com"]}}]},
        lambda i: {"from": [{"source": {"principals": [f"cluster.local/ns/n/sa/s{i}"]}}],
                   "to": [{"operation": {"paths": ["/shared"]}}]},
        lambda i: {"from": [{"source": {"namespaces": [f"n{i}"]}}]},
        lambda i: {"from": [{"source": {"requestPrincipals": [f"https://issuer/u{i}"]}}]},
        lambda i: {"from": [{"source": {"ipBlocks": [f"10.{i >> 8 & 255}.{i & 255}.0/24"]}}]},
        lambda i: {"when": [{"key": "request.auth.claims[groups]", "values": [f"g{i}"]}]},
        lambda i: {"when": [{"key": "request.headers[x-tenant]", "values": [f"t{i}"]}]},
    )  # fmt: skip
    denied = max(1, count // 10)

    def policy(action: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": {"name": action.lower()},
            "spec": {"action": action, "rules": rules},
        }

    def rules(first: int, last: int) -> list[dict[str, Any]]:
        return [shapes[i % len(shapes)](i) for i in range(first, last)]

    open_rule = {"to": [{"operation": {"methods": ["GET"], "paths": [f"/open-{count}/*"]}}]}
    return [
        policy("DENY", rules(0, denied)),
        policy("ALLOW", [*rules(denied, count - 1), open_rule]),
    ]


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
