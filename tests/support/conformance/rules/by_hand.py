"""Cases that chance comes upon too rarely, so that every listed difference is seen in each run."""

from __future__ import annotations

from dataclasses import replace

from conformance.rules.cases import WORKLOAD, Ask, RuleCase
from conformance.rules.pieces import document

STRICT = document("PeerAuthentication", "default", "shop", {"mtls": {"mode": "STRICT"}})
PLAIN = (("host", "app.example"),)


def _case(name: str, normalization: str | None, spec: dict[str, object], *asks: Ask) -> RuleCase:
    config = {"pathNormalization": {"normalization": normalization}} if normalization else {}
    mesh = document("MeshConfig", "mesh", "istio-system", config, "meshware.dev/v1alpha1")
    rules = document("AuthorizationPolicy", "it", "shop", spec)
    return RuleCase(name, "\n---\n".join((WORKLOAD, mesh, rules)), asks)


def _to(**operation: list[str]) -> dict[str, object]:
    return {"rules": [{"to": [{"operation": operation}]}]}


CASES = (
    _case(
        "templates",
        "NONE",
        _to(paths=["/api/{*}/x", "/b/{**}"]),
        *(Ask(path) for path in ("/api/{y}/x", "/api/y/x", "/b/{y}", "/b/*/=;y", "/b/%7By%7D")),
    ),
    _case(
        "hosts",
        None,
        _to(hosts=["app.example"]),
        *(
            Ask(headers=(("host", host),))
            for host in ("app.example", "app.example:1", "APP.example.")
        ),
    ),
    _case(
        "values",
        None,
        {"rules": [{"when": [{"key": "request.headers[x-role]", "values": ["admin"]}]}]},
        Ask(headers=(*PLAIN, ("x-role", "dev"), ("x-role", "admin"))),
        Ask(headers=(*PLAIN, ("x-role", "admin"), ("x-role", "admin"))),
        Ask(headers=(*PLAIN, ("x-role", "admin,admin"))),
    ),
    _case(
        "paths",
        None,
        _to(paths=["/public/*"]),
        *(
            Ask(path)
            for path in ("/admin/../public/x", "/public/x", "/admin%2f..%2fpublic/x", "//public//x")
        ),
    ),
    _case("methods", None, {"rules": [{}]}, Ask(), Ask(method="get")),
    replace(
        _case("strict", None, {"rules": [{}]}, Ask()),
        policies=f"{STRICT}\n---\n{WORKLOAD}",
    ),
)
