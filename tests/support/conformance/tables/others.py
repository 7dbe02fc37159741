"""Mirrors, CORS, delegates, rewrites by pattern, warm-up, connections.

Some wait until `meshware check` takes their policy, and are picked up by then.
"""

from __future__ import annotations

from conformance.cases import V1, Call, case, get, virtual_service

ORIGIN = {"origin": "https://shop.example"}
ASKS = (*ORIGIN.items(), ("access-control-request-method", "PUT"))
PREFLIGHT = Call("/", "OPTIONS", headers=ASKS)


def _cors(name, fields, *calls, **more):
    return case(f"cors-{name}", f"- {{{V1}, corsPolicy: {{{fields}}}}}", *calls, **more)


def _path(name, pattern, rewrite, *calls, **more):
    fields = f"{{uriRegexRewrite: {{match: '{pattern}', rewrite: '{rewrite}'}}}}"
    return case(f"regex-rewrite-{name}", f"- {{{V1}, rewrite: {fields}}}", *calls, **more)


EXACT = "allowOrigins: [{exact: 'https://shop.example'}]"

CASES = [
    case(
        "mirror",
        f"- {{{V1}, mirror: {{host: orders, subset: v2}}}}",
        get("/m"),
        unordered=True,
        differs=("shadow-address",),
    ),
    case(
        "mirror-none",
        f"- {{{V1}, mirror: {{host: orders, subset: v2}}, mirrorPercentage: {{value: 0}}}}",
        get("/m"),
    ),
    case(
        "mirror-post",
        f"- {{{V1}, mirror: {{host: orders, subset: v2}}}}",
        Call("/m", "POST", body=b"copy"),
        unordered=True,
        differs=("shadow-address",),
    ),
    case(
        "mirrors",
        f"- {{{V1}, mirrors: [{{destination: {{host: orders, subset: v2}}}}, {{destination: {{host: orders, subset: v2}}, percentage: {{value: 100}}}}]}}",
        get("/m"),
        unordered=True,
        differs=("shadow-address",),
    ),
    case("mirror-no-endpoint", f"- {{{V1}, mirror: {{host: orders, subset: empty}}}}", get("/m")),
    case(
        "mirror-rewritten",
        f"- {{{V1}, mirror: {{host: orders, subset: v2}}, rewrite: {{uri: /r/}}, headers: {{request: {{set: {{x-a: b}}}}}}}}",
        get("/m"),
        unordered=True,
        differs=("shadow-address",),
    ),
    _path("group", "/a/([^/]+)(.*)", "/b/\\1\\2", get("/a/x/y?q=1"), get("/c")),
    _path("all", "o", "0", get("/foo/boo?o=o")),
    _path("nothing", "/zzz", "/b", get("/a")),
    _path("no-slash", "/a", "b", get("/a/c"), differs=("a-path-begins-with-a-slash",)),
    _path("to-nothing", ".*", "", get("/a?q=1")),
    _cors(
        "preflight",
        f"{EXACT}, allowMethods: [GET, PUT], allowHeaders: [x-a, x-b], maxAge: 24h, allowCredentials: true",
        PREFLIGHT,
        differs=("cors-by-the-callee",),
    ),
    _cors(
        "simple",
        f"{EXACT}, exposeHeaders: [x-a]",
        get(**ORIGIN),
        get(),
        differs=("cors-by-the-callee",),
    ),
    _cors(
        "other-origin",
        EXACT,
        get(origin="https://evil.example"),
        Call("/", "OPTIONS", headers=(("origin", "https://evil.example"), ASKS[1])),
    ),
    _cors(
        "any-origin",
        "allowOrigins: [{exact: '*'}]",
        get(**ORIGIN),
        PREFLIGHT,
        differs=("cors-by-the-callee",),
    ),
    _cors(
        "regex",
        "allowOrigins: [{regex: 'https://.*[.]example'}]",
        get(**ORIGIN),
        differs=("cors-by-the-callee",),
    ),
    _cors(
        "ignore",
        f"{EXACT}, unmatchedPreflights: IGNORE",
        Call("/", "OPTIONS", headers=(("origin", "https://evil.example"), ASKS[1])),
        differs=("cors-by-the-callee",),
    ),
    case(
        "delegate",
        None,
        get("/a/b"),
        get("/c"),
        more=virtual_service("- {match: [{uri: {prefix: /a}}], delegate: {name: inner}}").replace(
            "name: orders,", "name: root,"
        )
        + "---"
        + virtual_service(f"- {V1}", name="inner").replace("  hosts: [orders]\n", ""),
    ),
    case(
        "warmup",
        f"- {V1}",
        get(),
        get(),
        rule="trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 1s}}}",
        unordered=True,
    ),
    case(
        "limit-connections",
        f"- {V1}",
        get(),
        get(),
        rule="trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}}}",
    ),
    case(
        "limit-pending",
        f"- {V1}",
        get(),
        rule="trafficPolicy: {connectionPool: {http: {http1MaxPendingRequests: 1}}}",
    ),
    case(
        "limit-requests-of-connection",
        f"- {V1}",
        get(),
        get(),
        rule="trafficPolicy: {connectionPool: {http: {maxRequestsPerConnection: 1}}}",
    ),
    case(
        "idle-time-out",
        f"- {V1}",
        get(),
        rule="trafficPolicy: {connectionPool: {http: {idleTimeout: 5s}}}",
    ),
]
