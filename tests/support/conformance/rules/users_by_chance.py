"""End users by chance: whose tokens are good, what rules ask of them, tokens in requests."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

from conformance.rules.cases import Ask
from conformance.rules.pieces import document, fields, some
from conformance.rules.tokens import ISSUERS, KINDS, jwks, token

A, B = ISSUERS["a"], ISSUERS["b"]

USERS = (
    f"{A}/ann",
    f"{A}/bob",
    f"{A}/*",
    f"{B}/ann",
    f"{B}/*",
    "*/ann",
    "*",
    "*bob",
    "https://a*",
    "*.example/ann",
)
AUDIENCES = ("shop", "other", "s*", "*")
PRESENTERS = ("web", "cli", "*b")
CLAIMS = {
    "request.auth.claims[scope]": ("read", "write", "read write", "*", "re*"),
    "request.auth.claims[groups]": ("staff", "dev", "guests", "*s", "*"),
    "request.auth.claims[org][id]": ("o1", "o2", "o*"),
    "request.auth.claims[sub]": ("ann", "b*"),
    "request.auth.claims[aud]": ("shop",),
    "request.auth.claims[nothing]": ("*",),
    "request.auth.audiences": AUDIENCES,
    "request.auth.presenter": PRESENTERS,
    "request.auth.principal": USERS,
}
HEADERS = (
    {"name": "x-token"},
    {"name": "x-token", "prefix": "Tok "},
    {"name": "authorization", "prefix": "Bearer "},
)


def token_policies(chance: Random) -> list[str]:
    """One RequestAuthentication or two."""
    found = []
    for at in range(chance.choice((1, 1, 1, 2))):
        namespace = chance.choice(("shop", "shop", "istio-system"))
        issuers = chance.choice((["a"], ["a"], ["b"], ["a", "b"], ["a", "b"], ["a", "a"]))
        spec: dict[str, Any] = {"jwtRules": [_jwt_rule(chance, issuer) for issuer in issuers]}
        if chance.random() < 0.2:
            spec["selector"] = {"matchLabels": {"app": chance.choice(("app", "other"))}}
        found.append(document("RequestAuthentication", f"r{at}", namespace, spec))
    return found


def _jwt_rule(chance: Random, issuer: str) -> dict[str, Any]:
    rule: dict[str, Any] = {"issuer": ISSUERS[issuer], "jwks": jwks(issuer)}
    if chance.random() < 0.4:
        rule["audiences"] = some(chance, ("shop", "other", "https://shop/"))
    where = chance.random()
    if where < 0.2:
        rule["fromHeaders"] = [chance.choice(HEADERS)]
    elif where < 0.3:
        rule["fromParams"] = ["token"]
    elif where < 0.4:
        rule["fromCookies"] = ["session"]
    elif where < 0.45:
        rule |= {"fromHeaders": [HEADERS[0]], "fromParams": ["token"], "fromCookies": ["session"]}
    if chance.random() < 0.3:
        rule["forwardOriginalToken"] = True
    if chance.random() < 0.2:
        rule["outputPayloadToHeader"] = "x-payload"
    if chance.random() < 0.2:
        claims = ("sub", "org.id", "azp", "exp", "groups", "org.admin")
        rule["outputClaimToHeaders"] = [
            {"header": f"x-{claim.replace('.', '-')}", "claim": claim} for claim in claims
        ]
    if chance.random() < 0.1:
        rule["spaceDelimitedClaims"] = ["groups"]
    return rule


def of_users(chance: Random) -> dict[str, Any]:
    """What a rule asks of end users."""
    found: dict[str, Any] = {}
    if chance.random() < 0.5:
        found["from"] = [{"source": fields(chance, {"requestPrincipals": USERS}, 1)}]
    if not found or chance.random() < 0.4:
        key = chance.choice(list(CLAIMS))
        word = chance.choice(("values", "values", "values", "notValues"))
        found["when"] = [{"key": key, word: some(chance, CLAIMS[key])}]
    return found


def with_tokens(chance: Random, ask: Ask, *, has_several_rules: bool) -> Ask:
    """A request with a token, with two, or with none.

    Two only where there is one rule: which of several rules Envoy then asks, and about which of the
    tokens, is told by its code alone.
    """
    for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 1 if has_several_rules else 2))):
        kind = chance.choice(KINDS)
        ask = _with(chance, ask, token(kind), kind)
    # A HEAD is not told why it is refused.
    return replace(ask, method="GET") if ask.method == "HEAD" else ask


def _with(chance: Random, ask: Ask, value: str, kind: str) -> Ask:
    where = chance.choice(
        ("bearer", "bearer", "bearer", "bearer", "x-token", "x-token", "access_token", "token")
        + ("session", "others")
    )
    headers, target = ask.headers, ask.target
    if "#" in target and where.endswith("token") and where != "x-token":
        return ask  # behind a fragment there is no query
    if where == "x-token" and ask.values("x-token"):
        return ask  # which of two lines Envoy takes is told by its code alone
    match where:
        case "bearer":
            headers = (*headers, ("Authorization", f"Bearer {value}"))
        case "x-token":
            headers = (*headers, ("X-Token", chance.choice(("", "", "Tok ")) + value))
        case "session":
            headers = (*headers, ("cookie", f"a=b; session={value}; c=d"))
        case "others":
            word = chance.choice(("bearer ", "Basic ", "Bearer", ""))
            headers = (*headers, ("authorization", word + value))
        case parameter:
            mark = "&" if "?" in target else "?"
            target = f"{target}{mark}{parameter}={value}"
    return replace(ask, headers=headers, target=target, tokens=(*ask.tokens, f"{where}: {kind}"))
