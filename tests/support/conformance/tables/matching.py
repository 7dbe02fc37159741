"""VirtualService `match`: which requests a rule takes, and which rule is first."""

from __future__ import annotations

from conformance.cases import V1, V2, Call, case, get, post


def _matched(name, block, *calls, **more):
    """A case whose first rule has one block and leads to v1; all else goes to v2."""
    return case(f"match-{name}", f"- {{name: hit, match: [{block}], {V1}}}\n- {V2}", *calls, **more)


CASES = [
    _matched("uri-exact", "{uri: {exact: /a}}", get("/a"), get("/a/"), get("/A"), get("/a?x=1")),
    _matched("uri-prefix", "{uri: {prefix: /a}}", get("/a"), get("/ab"), get("/b/a"), get("/a/b")),
    _matched("uri-prefix-slash", "{uri: {prefix: /a/}}", get("/a"), get("/a/"), get("/a//")),
    _matched("uri-prefix-root", "{uri: {prefix: /}}", get("/"), get("/x")),
    _matched(
        "uri-regex", "{uri: {regex: '/v[0-9]+/.*'}}", get("/v1/x"), get("/v/x"), get("/x/v1/x")
    ),
    _matched("uri-regex-whole", "{uri: {regex: '/a'}}", get("/a"), get("/ab"), get("/a?b=c")),
    _matched("uri-regex-all", "{uri: {regex: '.*'}}", get("/any")),
    _matched("uri-case", "{uri: {exact: /AbC}, ignoreUriCase: true}", get("/abc"), get("/ABCD")),
    _matched("uri-prefix-case", "{uri: {prefix: /AbC}, ignoreUriCase: true}", get("/abcd/E")),
    _matched("uri-regex-case", "{uri: {regex: '/AbC'}, ignoreUriCase: true}", get("/abc")),
    _matched("uri-escaped", "{uri: {exact: '/a%20b'}}", get("/a%20b"), get("/a%2520b")),
    _matched("uri-escape-case", "{uri: {exact: '/a%2fb'}}", get("/a%2fb"), get("/a%2Fb")),
    _matched("uri-not-decoded", "{uri: {prefix: /a/b}}", get("/a%2Fb"), get("/%61/b")),
    _matched("uri-dots", "{uri: {prefix: /admin}}", get("/x/%2e%2e/admin"), get("/%2e/admin")),
    _matched("uri-slashes", "{uri: {prefix: /admin}}", get("//admin"), get("/admin//x")),
    _matched("uri-semicolon", "{uri: {exact: /a}}", get("/a;b=c")),
    _matched("method", "{method: {exact: POST}}", get(), post(), Call("/", "PUT")),
    _matched("method-regex", "{method: {regex: 'P.*'}}", get(), post(), Call("/", "PATCH")),
    _matched("method-prefix", "{method: {prefix: P}}", get(), post()),
    _matched("method-odd", "{method: {exact: PURGE}}", Call("/", "PURGE"), Call("/", "purge")),
    _matched("scheme", "{scheme: {exact: http}}", get()),
    _matched("scheme-other", "{scheme: {exact: https}}", get()),
    _matched("authority", "{authority: {exact: orders.$ns}}", get(), get(host="orders.$ns.svc")),
    _matched(
        "authority-prefix",
        "{authority: {prefix: orders.$ns.svc}}",
        get(),
        get(host="orders.$ns.svc"),
    ),
    _matched("authority-regex", "{authority: {regex: 'orders[.].*'}}", get()),
    _matched(
        "header-exact",
        "{headers: {end-user: {exact: jason}}}",
        get(end_user="jason"),
        get(end_user="Jason"),
        get(),
    ),
    _matched("header-name-case", "{headers: {End-User: {exact: jason}}}", get(end_user="jason")),
    _matched(
        "header-prefix",
        "{headers: {end-user: {prefix: ja}}}",
        get(end_user="jason"),
        get(end_user="xja"),
    ),
    _matched(
        "header-regex",
        "{headers: {end-user: {regex: 'j.*n'}}}",
        get(end_user="jason"),
        get(end_user="jasons"),
    ),
    _matched(
        "header-present", "{headers: {end-user: {}}}", get(end_user="x"), get(end_user=""), get()
    ),
    _matched("header-regex-star", "{headers: {end-user: {regex: '*'}}}", get(end_user="x"), get()),
    _matched(
        "header-twice",
        "{headers: {x-a: {exact: b}}}",
        Call(headers=(("x-a", "a"), ("x-a", "b"))),
        Call(headers=(("x-a", "a,b"),)),
    ),
    _matched(
        "header-twice-joined",
        "{headers: {x-a: {exact: 'a,b'}}}",
        Call(headers=(("x-a", "a"), ("x-a", "b"))),
        Call(headers=(("x-a", "a,b"),)),
    ),
    _matched(
        "header-both",
        "{headers: {x-a: {exact: a}, x-b: {exact: b}}}",
        get(x_a="a", x_b="b"),
        get(x_a="a"),
    ),
    _matched(
        "header-cookie",
        "{headers: {cookie: {regex: '^(.*?;)?(user=jason)(;.*)?$$'}}}",
        get(cookie="a=b;user=jason;c=d"),
        get(cookie="user=jasons"),
    ),
    _matched("without-present", "{withoutHeaders: {x-a: {}}}", get(), get(x_a=""), get(x_a="1")),
    _matched(
        "without-exact", "{withoutHeaders: {x-a: {exact: a}}}", get(), get(x_a="a"), get(x_a="b")
    ),
    _matched(
        "without-prefix", "{withoutHeaders: {x-a: {prefix: a}}}", get(), get(x_a="ab"), get(x_a="b")
    ),
    _matched(
        "without-empty", "{withoutHeaders: {x-a: {exact: ''}}}", get(), get(x_a=""), get(x_a="b")
    ),
    _matched("without-regex", "{withoutHeaders: {x-a: {regex: '.*'}}}", get(), get(x_a="b")),
    _matched(
        "without-twice",
        "{withoutHeaders: {x-a: {exact: a}}}",
        Call(headers=(("x-a", "a"), ("x-a", "b"))),
    ),
    _matched(
        "query-exact",
        "{queryParams: {q: {exact: a}}}",
        get("/?q=a"),
        get("/?q=b"),
        get("/?p=a&q=a"),
        get("/"),
    ),
    _matched("query-prefix", "{queryParams: {q: {prefix: a}}}", get("/?q=ab"), get("/?q=ba")),
    _matched("query-regex", "{queryParams: {q: {regex: 'a+'}}}", get("/?q=aaa"), get("/?q=aab")),
    _matched(
        "query-present",
        "{queryParams: {q: {}}}",
        get("/?q"),
        get("/?q="),
        get("/?q=x"),
        get("/?qq=x"),
    ),
    _matched(
        "query-empty",
        "{queryParams: {q: {exact: ''}}}",
        get("/?q"),
        get("/?q="),
        get("/?q=x"),
        get("/"),
    ),
    _matched("query-twice", "{queryParams: {q: {exact: b}}}", get("/?q=a&q=b"), get("/?q=b&q=a")),
    _matched(
        "query-escaped", "{queryParams: {q: {exact: 'a b'}}}", get("/?q=a%20b"), get("/?q=a+b")
    ),
    _matched("query-escaped-raw", "{queryParams: {q: {exact: 'a%20b'}}}", get("/?q=a%20b")),
    _matched("query-case", "{queryParams: {Q: {exact: a}}}", get("/?q=a"), get("/?Q=a")),
    _matched("query-semicolon", "{queryParams: {q: {exact: a}}}", get("/?p=1;q=a")),
    _matched(
        "query-odd",
        "{queryParams: {q: {exact: a}}}",
        get("/?&&q=a"),
        get("/?q=a?b"),
        get("/?=q&q=a"),
    ),
    _matched(
        "all-of-a-block",
        "{uri: {prefix: /a}, method: {exact: GET}, headers: {x-a: {exact: a}}}",
        get("/a", x_a="a"),
        get("/b", x_a="a"),
        post("/a", x_a="a"),
    ),
    _matched(
        "any-block", "{uri: {exact: /a}}, {uri: {exact: /b}}", get("/a"), get("/b"), get("/c")
    ),
    _matched("empty-block", "{}", get("/a")),
    _matched("port", "{port: 80}", get()),
    _matched("port-other", "{port: 81}", get()),
    _matched("source-labels", "{sourceLabels: {app: web}}", get()),
    _matched("source-labels-other", "{sourceLabels: {app: web, tier: back}}", get()),
    _matched("source-namespace", "{sourceNamespace: default}", get()),
    _matched("source-namespace-other", "{sourceNamespace: other}", get()),
    _matched("gateways", "{gateways: [mesh]}", get()),
    _matched("gateways-other", "{gateways: [ingress], uri: {prefix: /}}", get()),
    _matched("gateways-hide-source", "{gateways: [mesh], sourceNamespace: other}", get()),
    case(
        "first-rule-wins",
        f"- {{match: [{{uri: {{prefix: /a}}}}], {V1}}}\n- {{match: [{{uri: {{prefix: /a/b}}}}], {V2}}}",
        get("/a/b"),
    ),
    case("no-rule-matches", f"- {{match: [{{uri: {{exact: /a}}}}], {V1}}}", get("/b"), post("/a/")),
    case(
        "all-for-others",
        f"- {{match: [{{sourceNamespace: other}}], {V1}}}",
        get(),
        get(),
        unordered=True,
    ),
    case("catch-all-first", f"- {V1}\n- {{match: [{{uri: {{exact: /a}}}}], {V2}}}", get("/a")),
    case("no-virtual-service", None, get("/x"), post("/y"), unordered=True),
    case(
        "named-rule-and-match",
        f"- {{name: main, match: [{{name: one, uri: {{exact: /a}}}}, {{uri: {{exact: /b}}}}], {V1}}}",
        get("/a"),
        get("/b"),
    ),
    case("unnamed-rules", f"- {{match: [{{uri: {{exact: /a}}}}], {V1}}}\n- {V2}", get("/a"), get()),
]
