"""VirtualService `rewrite`: path and Host."""

from __future__ import annotations

from conformance.cases import V1, case, get


def _rewritten(name, match, rewrite, *calls):
    return case(f"rewrite-{name}", f"- {{match: [{match}], {V1}, rewrite: {rewrite}}}", *calls)


CASES = [
    _rewritten(
        "prefix", "{uri: {prefix: /a}}", "{uri: /b}", get("/a"), get("/a/c?q=1"), get("/ab")
    ),
    _rewritten("prefix-slash", "{uri: {prefix: /a/}}", "{uri: /}", get("/a/x"), get("/a/")),
    _rewritten("prefix-trap", "{uri: {prefix: /a}}", "{uri: /}", get("/a/x"), get("/a")),
    _rewritten("exact", "{uri: {exact: /a}}", "{uri: /b}", get("/a?x=1")),
    _rewritten("regex", "{uri: {regex: '/a.*'}}", "{uri: /b}", get("/a/c?x=1")),
    _rewritten("no-uri", "{method: {exact: GET}}", "{uri: /b/}", get("/c"), get("/")),
    _rewritten("case", "{uri: {prefix: /a}, ignoreUriCase: true}", "{uri: /b}", get("/A/c")),
    _rewritten("authority", "{}", "{authority: other.example}", get()),
    _rewritten("authority-port", "{}", "{authority: 'other.example:8080'}", get()),
    _rewritten("both", "{uri: {prefix: /a}}", "{uri: /b, authority: other.example}", get("/a/c")),
    _rewritten("escaped", "{uri: {prefix: /a}}", "{uri: '/b%20'}", get("/a%2Fc")),
    _rewritten("same", "{uri: {prefix: /a}}", "{uri: /a}", get("/a/b")),
    case(
        "rewrite-authority-beats-host",
        f"- {{{V1}, rewrite: {{authority: one.example}}, headers: {{request: {{set: {{host: two.example}}}}}}}}",
        get(),
    ),
    case(
        "rewrite-and-headers-of-path",
        f"- {{{V1}, rewrite: {{uri: /b/}}, headers: {{request: {{set: {{x-p: '%REQ(:path)%'}}}}}}}}",
        get("/a"),
    ),
    case(
        "rewrite-original-path-of-the-app",
        f"- {{{V1}, rewrite: {{uri: /b/}}}}",
        get("/a", x_envoy_original_path="/mine"),
    ),
]
