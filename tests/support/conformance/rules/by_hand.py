"""Cases that chance comes upon too rarely, so that every listed difference is seen in each run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from conformance.rules.cases import WORKLOAD, Ask, RuleCase, Source
from conformance.rules.pieces import document
from conformance.rules.tokens import ISSUERS, jwks, token

STRICT = document("PeerAuthentication", "default", "shop", {"mtls": {"mode": "STRICT"}})
PLAIN = (("host", "app.example"),)


def _case(name: str, normalization: str | None, spec: dict[str, object], *asks: Ask) -> RuleCase:
    config = {"pathNormalization": {"normalization": normalization}} if normalization else {}
    mesh = document("MeshConfig", "mesh", "istio-system", config, api="meshware.dev/v1alpha1")
    rules = document("AuthorizationPolicy", "it", "shop", spec)
    return RuleCase(name, "\n---\n".join((WORKLOAD, mesh, rules)), asks)


def _to(**operation: list[str]) -> dict[str, object]:
    return {"rules": [{"to": [{"operation": operation}]}]}


def _users(name: str, rule: dict[str, object], *asks: Ask) -> RuleCase:
    """Whoever bears a good token of issuer `b` or of a rule may come in, and nobody else."""
    rules = [rule, {"issuer": ISSUERS["b"], "jwks": jwks("b"), "fromParams": ["b"]}]
    case = _case(name, None, {"rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]})
    tokens = document("RequestAuthentication", "it", "shop", {"jwtRules": rules})
    return replace(case, policies=f"{case.policies}\n---\n{tokens}", asks=_told(asks))


def _told(asks: Sequence[Ask]) -> tuple[Ask, ...]:
    return tuple(ask if ask.tokens else replace(ask, tokens=("by hand",)) for ask in asks)


def _bearing(kind: str) -> Ask:
    return Ask(headers=(*PLAIN, ("authorization", f"Bearer {token(kind)}")))


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
    _case(
        "names",
        None,
        {"action": "DENY", "rules": [{"when": [{"key": "connection.sni", "values": ["x"]}]}]},
        Ask(),
        Ask(source=Source("cluster.local/ns/web/sa/a", sni="x")),
        Ask(source=Source("cluster.local/ns/web/sa/a", sni="y")),
    ),
    _users(
        "tokens",
        {"issuer": ISSUERS["a"], "jwks": jwks("a"), "audiences": ["https://shop/"]},
        *(_bearing(kind) for kind in ("a", "no expiry", "changed", "wrong audience", "hmac")),
        Ask(headers=(*PLAIN, ("authorization", f"bearer {token('a')}"))),
        Ask("/?access_token=garbage", headers=_bearing("a").headers),
        Ask("/?b=garbage", headers=_bearing("a").headers),
        *(Ask(f"/?access_token={token(kind)}") for kind in ("a", "b", "expired")),
    ),
    _users(
        "other-places",
        {
            "issuer": ISSUERS["a"],
            "jwks": jwks("a"),
            "fromHeaders": [{"name": "x-token"}],
            "fromParams": ["a"],
            "outputPayloadToHeader": "x-payload",
            "outputClaimToHeaders": [{"header": "x-groups", "claim": "groups"}],
        },
        Ask(
            f"/?a={token('other subject')}",
            headers=(*PLAIN, ("x-token", token("a"))),
            tokens=("x-token: a", "a: other subject"),
        ),
        Ask(headers=(*PLAIN, ("x-token", token("a")), ("x-payload", "mine"))),
        Ask(headers=(*PLAIN, ("x-payload", "mine"))),
        Ask(
            headers=(*PLAIN, ("x-token", token("a")), ("x-token", token("other subject"))),
            tokens=("x-token: a", "x-token: other subject"),
        ),
        _bearing("expired"),
    ),
    _case("methods", None, {"rules": [{}]}, Ask(), Ask(method="get")),
    replace(
        _case("strict", None, {"rules": [{}]}, Ask()),
        policies=f"{STRICT}\n---\n{WORKLOAD}",
    ),
)
