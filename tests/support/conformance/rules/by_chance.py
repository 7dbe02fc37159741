"""Policies and requests by chance, from small alphabets, so that they often meet.

One seed gives one set of cases, on every machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from conformance.rules.cases import WORKLOAD, Ask, RuleCase, Source
from conformance.rules.pieces import document, fields, some
from conformance.rules.users_by_chance import of_users, token_policies, with_tokens

PER_CASE = 30  # requests

PATHS = (
    "/", "/admin", "/admin/", "/admin/*", "/admin*", "*/users", "*.json", "*", "/public/*",
    "/api/v1", "/api/{*}/users", "/api/{**}", "/{*}/users", "/api/{**}/users",
    "/a%2Fb", "/caf%C3%A9", "/a b",
)  # fmt: skip
METHODS = ("GET", "POST", "PUT", "DELETE", "P*", "*T", "*", "OPTIONS", "HEAD")
HOSTS = (
    "app.example", "APP.example", "*.example", "app*", "*", "app.example:8080", "other.example",
    "app.example:*", "app.example.",
)  # fmt: skip
VALUES = ("admin", "dev", "adm*", "*min", "*", "admin,dev", "dev, admin", "")
NAMES = ("x-role", "x-team")
PRINCIPALS = (
    "cluster.local/ns/web/sa/a", "cluster.local/ns/web/sa/b", "cluster.local/ns/job/sa/a",
    "old.example/ns/web/sa/a", "partner.example/ns/web/sa/a", "cluster.local/ns/web/sa/a.b",
    "partner.example/ns/web/sa/a/x", "partner.example/x/ns/web/sa/a", "partner.example/web",
)  # fmt: skip
PRINCIPAL_VALUES = (*PRINCIPALS, "*", "*/ns/web/sa/a", "cluster.local/*", "*/sa/a", "old.example/*")
NAMESPACES = ("web", "job", "w*", "*b", "*", "j*b")
ACCOUNTS = ("web/a.b", "a", "web/a", "web/b", "job/a", "job/b", "app", "web/azb")
DOMAINS = ("cluster.local", "old.example", "partner.example", "*.example", "old*", "*")
BLOCKS = ("127.0.0.1", "127.0.0.0/30", "127.0.0.7", "10.0.0.0/8", "127.0.0.0/8", "::1", "0.0.0.0/0")
SNIS = ("app.example", "*.example", "app*", "*", "other.example")
NORMALIZATIONS = (
    "NONE",
    "BASE",
    "MERGE_SLASHES",
    "DECODE_AND_MERGE_SLASHES",
    "DEFAULT",
    None,
    None,
)

SEGMENTS = (
    "admin",
    "users",
    "public",
    "api",
    "v1",
    "x",
    "list.json",
    "a%2Fb",
    "caf%C3%A9",
    "Admin",
)
IPS = ("127.0.0.1", "127.0.0.3", "127.0.0.7", "127.1.2.3")
FORWARDED = ("127.0.0.7", "127.0.0.1", "10.1.2.3", "127.0.0.3, 10.1.2.3", "::1", "unknown")
SENT_HOSTS = (
    "app.example", "app.example", "APP.Example", "app.example:8080", "app.example.",
    "other.example", "app.example:80", "app.example.:8080", "x.app.example",
)  # fmt: skip
ODD = (
    "//", "///", "/./", "/../", "/x/../", "/%2e/", "/%2E%2e/", "/..;/", "/;a=b/", "\\", "%2F",
    "%2f", "%5c", "%5C", "/%2f/", "/x%2f..%2f", "/x%5c..%5c", "/%252e%252e/", "/%00", "/%0a",
    "/%C3%A9/", "/%c3%a9/", "/%FF/", "/%7Ex/", "/{*}/", "/*/", "/%20/", "#", "letter",
    "letter", "end", "end",
)  # fmt: skip
SENT_VALUES = ("admin", "dev", "administrator", "admin,dev", "dev, admin", "", "xmin", " admin ")


def cases_of(seed: int, number: int) -> list[RuleCase]:
    """That many cases."""
    chance = Random(seed)
    return [_case(chance, f"c{at}") for at in range(number)]


def _case(chance: Random, name: str) -> RuleCase:
    mode = chance.choice((None, None, None, None, "PERMISSIVE", "STRICT", "DISABLE"))
    tokens = token_policies(chance) if chance.random() < 0.45 else []
    policies = _policies(chance, mode, has_users=bool(tokens))
    asks = _asks(chance, mode)
    if tokens:
        several = sum(text.count('"issuer"') for text in tokens) > 1
        asks = [with_tokens(chance, ask, has_several_rules=several) for ask in asks]
    return RuleCase(name, "\n---\n".join((policies, *tokens)), asks)


# --- policies ---------------------------------------------------------------------------------


def _policies(chance: Random, mode: str | None, *, has_users: bool) -> str:
    config: dict[str, Any] = {"trustDomainAliases": ["old.example"]}
    normalization = chance.choice(NORMALIZATIONS)
    if normalization is not None:
        config["pathNormalization"] = {"normalization": normalization}
    hops = chance.choice((None, None, None, 1, 2))
    if hops is not None:
        config["defaultConfig"] = {"gatewayTopology": {"numTrustedProxies": hops}}
    texts = [
        WORKLOAD,
        document("MeshConfig", "mesh", "istio-system", config, api="meshware.dev/v1alpha1"),
    ]
    if mode is not None:
        spec = {"mtls": {"mode": mode}}
        texts.append(document("PeerAuthentication", "default", "shop", spec))
    for at in range(chance.choice((1, 1, 2, 3))):
        namespace = chance.choice(("shop", "shop", "shop", "istio-system"))
        spec = _spec(chance, has_users=has_users)
        trial = {"istio.io/dry-run": "true"} if chance.random() < 0.08 else None
        if spec["action"] == "AUDIT":
            trial = None
        texts.append(document("AuthorizationPolicy", f"p{at}", namespace, spec, annotations=trial))
    return "\n---\n".join(texts)


def _spec(chance: Random, *, has_users: bool) -> dict[str, Any]:
    spec: dict[str, Any] = {"action": chance.choice(("ALLOW",) * 7 + ("DENY",) * 7 + ("AUDIT",))}
    if chance.random() < 0.3:
        spec["selector"] = {"matchLabels": chance.choice(({"app": "app"}, {"tier": "front"}))}
    spec["rules"] = [_rule(chance, has_users=has_users) for _ in range(chance.choice((1, 1, 2)))]
    if spec["action"] == "ALLOW" and chance.random() < 0.04:
        del spec["rules"]
    return spec


def _rule(chance: Random, *, has_users: bool) -> dict[str, Any]:
    rule: dict[str, Any] = {}
    if chance.random() < 0.4:
        rule["from"] = [{"source": _source(chance)} for _ in range(chance.choice((1, 1, 2)))]
    if chance.random() < 0.8:
        rule["to"] = [{"operation": _operation(chance)} for _ in range(chance.choice((1, 1, 2)))]
    if has_users and chance.random() < 0.7:
        rule |= of_users(chance)
    elif chance.random() < 0.35:
        rule["when"] = [_condition(chance) for _ in range(chance.choice((1, 1, 2)))]
    return rule


def _source(chance: Random) -> dict[str, Any]:
    if chance.random() < 0.2:
        return fields(chance, {"serviceAccounts": ACCOUNTS, "ipBlocks": BLOCKS}, 2)
    table = {
        "principals": PRINCIPAL_VALUES,
        "namespaces": NAMESPACES,
        "trustDomains": DOMAINS,
        "ipBlocks": BLOCKS,
        "remoteIpBlocks": BLOCKS,
    }
    return fields(chance, table, 2)


def _operation(chance: Random) -> dict[str, Any]:
    weighted = chance.random()
    if weighted < 0.5:
        return fields(chance, {"paths": PATHS}, 1)
    table = {
        "paths": PATHS,
        "methods": METHODS,
        "hosts": HOSTS,
        "ports": ("$port", "9999", "1"),
    }
    return fields(chance, table, 3)


def _condition(chance: Random) -> dict[str, Any]:
    table: dict[str, Sequence[str]] = {
        "request.headers[x-role]": VALUES[:-1],
        "request.headers[X-Team]": VALUES[:-1],
        "source.ip": BLOCKS,
        "remote.ip": BLOCKS,
        "source.principal": PRINCIPAL_VALUES,
        "source.namespace": NAMESPACES,
        "destination.ip": ("127.0.0.0/8", "10.0.0.1"),
        "destination.port": ("$port", "9999"),
        "connection.sni": SNIS,
    }
    key = chance.choice([*list(table), "request.headers[x-role]", "request.headers[x-role]"])
    found: dict[str, Any] = {"key": key}
    which = chance.random()
    if which < 0.75:
        found["values"] = some(chance, table[key])
    if which > 0.65:
        found["notValues"] = some(chance, table[key])
    return found


# --- requests ---------------------------------------------------------------------------------


def _asks(chance: Random, mode: str | None) -> list[Ask]:
    sources = [_sent_source(chance, has_tls=mode != "DISABLE") for _ in range(3)]
    return [_ask(chance, sources) for _ in range(PER_CASE)]


def _sent_source(chance: Random, *, has_tls: bool) -> Source:
    ip = chance.choice(IPS)
    if not has_tls or chance.random() < 0.35:
        return Source(ip=ip)
    sni = chance.choice((None, "app.example", "other.example"))
    return Source(chance.choice(PRINCIPALS), ip, sni)


def _ask(chance: Random, sources: Sequence[Source]) -> Ask:
    method = chance.choice(
        ("GET", "GET", "GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PURGE")
    )
    if chance.random() < 0.02:
        method = method.lower()
    headers = [("host", chance.choice(SENT_HOSTS))]
    if chance.random() < 0.01:
        headers.append(("Host", chance.choice(SENT_HOSTS)))
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        name = chance.choice(("x-role", "x-role", "X-Role", "x-team"))
        headers.append((name, chance.choice(SENT_VALUES)))
    if chance.random() < 0.02:
        headers.append(("x_role", "admin"))
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        headers.append(("x-forwarded-for", chance.choice(FORWARDED)))
    if method not in ("GET", "HEAD", "OPTIONS"):
        headers.append(("content-length", "0"))
    return Ask(_target(chance), method, tuple(headers), chance.choice(sources))


def _target(chance: Random) -> str:
    path = "/" + "/".join(chance.choice(SEGMENTS) for _ in range(chance.choice((0, 1, 1, 2, 2, 3))))
    for _ in range(chance.choice((0, 0, 0, 1, 1, 2))):
        path = _in_other_words(chance, path)
    if chance.random() < 0.1:
        path += chance.choice(("?x=/admin", "?", "?a=b&c=../admin"))
    return path


def _in_other_words(chance: Random, path: str) -> str:
    """A path spelt oddly at one place."""
    at = chance.choice([at for at, letter in enumerate(path) if letter == "/"] or [0])
    odd = chance.choice(ODD)
    if odd == "letter":
        letters = [
            n for n, letter in enumerate(path) if letter.isalpha() and path[n - 1 : n] == "/"
        ]
        if not letters:
            return path
        at = chance.choice(letters)
        return f"{path[:at]}%{ord(path[at]):02{chance.choice('xX')}}{path[at + 1 :]}"
    if odd == "end":
        return path + chance.choice(("/", "/.", "/..", ";a=b", "%2f", "//", "%", "%zz", "."))
    if odd == "#":
        return path + "#x"
    return (
        (path[:at] if at else "") + ("/" if not at and odd[0] != "/" else "") + odd + path[at + 1 :]
    )
