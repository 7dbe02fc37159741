"""DestinationRule `loadBalancer` and `connectionPool`: shares, and callers that stay."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, Call, case, destination_rule, get
from conformance.upstreams import answer

WEIGHTED = SERVICE.replace("{version: v1}}", "{version: v1}, weight: 3}")
TEN = [get()] * 12
POLICY = "trafficPolicy: "
HASH = POLICY + "{loadBalancer: {consistentHash: "


def _hashed(name, key, *calls, **more):
    return case(f"hash-{name}", None, *calls, rule=f"{HASH}{key}}}}}", **more)


CASES = [
    case(
        "balance-round-robin",
        None,
        *TEN,
        rule=POLICY + "{loadBalancer: {simple: ROUND_ROBIN}}",
        unordered=True,
    ),
    case(
        "balance-round-robin-weighted",
        None,
        *TEN,
        rule=POLICY + "{loadBalancer: {simple: ROUND_ROBIN}}",
        service=WEIGHTED,
        unordered=True,
    ),
    case(
        "balance-least-request-weighted",
        None,
        *TEN,
        rule=POLICY + "{loadBalancer: {simple: LEAST_REQUEST}}",
        service=WEIGHTED,
        unordered=True,
    ),
    case("balance-default-weighted", None, *TEN, rule="", service=WEIGHTED, unordered=True),
    case(
        "balance-subset-overrides",
        "- route: [{destination: {host: orders, subset: both}}]",
        *TEN,
        rule="",
        more=destination_rule(
            POLICY + "{loadBalancer: {simple: RANDOM}}",
            subsets="\n  - {name: both, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}",
        ),
        unordered=True,
    ),
    case(
        "balance-port-overrides",
        None,
        *TEN,
        rule=POLICY
        + "{loadBalancer: {simple: RANDOM}, portLevelSettings: [{port: {number: 80}, loadBalancer: {simple: ROUND_ROBIN}}]}",
        unordered=True,
    ),
    case(
        "limit-pending-unlimited",
        f"- {V1}",
        *[get()] * 3,
        rule=POLICY + "{connectionPool: {http: {http2MaxRequests: 1}}}",
    ),
    case(
        "limit-requests-zero",
        f"- {V1}",
        get(),
        rule=POLICY + "{connectionPool: {http: {http2MaxRequests: 0}}}",
    ),
    case(
        "limit-retries",
        f"- {{{V1}, retries: {{attempts: 3, retryOn: 5xx, backoff: 10ms}}}}",
        get(),
        rule=POLICY + "{connectionPool: {http: {maxRetries: 1}}}",
        script={"a": [answer(500), answer(500), answer()]},
    ),
    case(
        "limit-budget",
        f"- {{{V1}, retries: {{attempts: 3, retryOn: 5xx, backoff: 10ms}}}}",
        get(),
        rule=POLICY + "{retryBudget: {percent: 1, minRetryConcurrency: 1}}",
        script={"a": [answer(500), answer(500), answer()]},
    ),
    case(
        "limit-budget-none",
        f"- {{{V1}, retries: {{attempts: 3, retryOn: 5xx, backoff: 10ms}}}}",
        get(),
        rule=POLICY + "{retryBudget: {percent: 0, minRetryConcurrency: 0}}",
        script={"a": [answer(500), answer()]},
    ),
    case(
        "connect-timeout-met",
        f"- {V1}",
        get(),
        rule=POLICY + "{connectionPool: {tcp: {connectTimeout: 5s}}}",
    ),
    case("tls-disabled", f"- {V1}", get(), rule=POLICY + "{tls: {mode: DISABLE}}"),
    _hashed("cookie-made", "{httpCookie: {name: user, ttl: 60s}}", get(cookie="user=x")),
    _hashed("cookie-without-ttl", "{httpCookie: {name: user}}", get(cookie="user=x")),
]


def _stay(name, key, *calls):
    """Calls that all stay at one endpoint, whichever: counted by how many there are."""
    return case(
        f"stay-{name}",
        f"- {V1}",
        *calls,
        rule=f"subsets: []\n{HASH}{key}}}}}".replace("subsets: []\n", ""),
    )


CASES += [
    _stay("header", "{httpHeaderName: x-user}", get(x_user="a"), get(x_user="b"), get()),
    _stay("query", "{httpQueryParameterName: user}", get("/?user=a"), get("/")),
    _stay("source", "{useSourceIp: true}", get(), get()),
    _stay("maglev", "{httpHeaderName: x-user, maglev: {}}", get(x_user="a")),
    _stay("ring", "{httpHeaderName: x-user, ringHash: {minimumRingSize: 64}}", get(x_user="a")),
    _stay(
        "cookie",
        "{httpCookie: {name: user}}",
        get(cookie="user=a"),
        Call(headers=(("cookie", "a=b"), ("cookie", "user=c"))),
    ),
]
