"""VirtualService `headers`: set, add and remove, on routes and destinations."""

from __future__ import annotations

from conformance.cases import V1, Call, case, get
from conformance.upstreams import answer


def _route(operations: str, destination: str = "") -> str:
    inner = f", headers: {destination}" if destination else ""
    return (
        f"- {{route: [{{destination: {{host: orders, subset: v1}}{inner}}}], "
        f"headers: {operations}}}"
    )


def _weighted(operations: str, destination: str) -> str:
    return (
        "- {route: [{destination: {host: orders, subset: v1}, weight: 1, headers: "
        f"{destination}}}, {{destination: {{host: orders, subset: v2}}, weight: 0}}], "
        f"headers: {operations}}}"
    )


SAID = {"a": [answer(200, b"ok", "x-a: 1", "x-a: 2", "x-b: 3", "server: mine")]}

CASES = [
    case("headers-request-set", _route("{request: {set: {x-a: new}}}"), get(), get(x_a="old")),
    case(
        "headers-request-set-twice",
        _route("{request: {set: {x-a: new}}}"),
        Call(headers=(("x-a", "1"), ("x-a", "2"))),
    ),
    case("headers-request-add", _route("{request: {add: {x-a: new}}}"), get(), get(x_a="old")),
    case(
        "headers-request-remove",
        _route("{request: {remove: [x-a, X-B]}}"),
        get(x_a="1", x_b="2", x_c="3"),
    ),
    case(
        "headers-request-remove-set",
        _route("{request: {remove: [x-a], set: {x-a: n}}}"),
        get(x_a="1"),
    ),
    case(
        "headers-request-set-add", _route("{request: {set: {x-a: s}, add: {x-a: a}}}"), get(x_a="1")
    ),
    case(
        "headers-request-remove-add",
        _route("{request: {remove: [x-a], add: {x-a: n}}}"),
        get(x_a="1"),
    ),
    case("headers-request-empty", _route("{request: {set: {x-a: ''}}}"), get(x_a="1"), get()),
    case("headers-request-add-empty", _route("{request: {add: {x-a: ''}}}"), get(x_a="1"), get()),
    case("headers-request-host", _route("{request: {set: {host: other.example}}}"), get()),
    case(
        "headers-request-authority",
        _route("{request: {set: {':authority': other.example}}}"),
        get(),
    ),
    case("headers-request-host-add", _route("{request: {add: {Host: other.example}}}"), get()),
    case("headers-request-host-remove", _route("{request: {remove: [host]}}"), get()),
    case("headers-request-percent", _route("{request: {set: {x-a: '100%%'}}}"), get()),
    case(
        "headers-request-req", _route("{request: {set: {x-a: '%REQ(x-b)%'}}}"), get(x_b="b"), get()
    ),
    case(
        "headers-request-req-or",
        _route("{request: {set: {x-a: '%REQ(x-b?x-c)%'}}}"),
        get(x_c="c"),
        get(x_b="b", x_c="c"),
    ),
    case(
        "headers-request-req-pseudo",
        _route("{request: {set: {x-a: '%REQ(:path)% %REQ(:method)%'}}}"),
        get("/p?q"),
    ),
    case(
        "headers-request-req-authority",
        _route("{request: {set: {x-a: '%REQ(:authority)%'}}}"),
        get(),
    ),
    case("headers-request-user-agent", _route("{request: {set: {user-agent: mesh}}}"), get()),
    case("headers-request-accept", _route("{request: {remove: [accept]}}"), get()),
    case("headers-request-id", f"- {V1}", get(x_request_id="mine"), get()),
    case("headers-request-id-removed", _route("{request: {remove: [x-request-id]}}"), get()),
    case(
        "headers-traceparent",
        f"- {V1}",
        get(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ),
    case("headers-xff", f"- {V1}", get(x_forwarded_for="10.0.0.1")),
    case("headers-forwarded-proto", f"- {V1}", get(x_forwarded_proto="https")),
    case("headers-attempt-count-of-the-app", f"- {V1}", get(x_envoy_attempt_count="9")),
    case(
        "headers-steering",
        f"- {V1}",
        get(x_envoy_retry_on="5xx", x_envoy_max_retries="3"),
        script={"a": [answer(503)]},
        differs=("steering-headers",),
    ),
    case(
        "headers-timeout-of-the-app",
        f"- {V1}",
        get(x_envoy_upstream_rq_timeout_ms="10"),
        script={"a": [[0.3, *answer()]]},
        differs=("steering-headers",),
    ),
    case("headers-te", f"- {V1}", get(te="trailers")),
    case("headers-empty-value", f"- {V1}", get(x_a="")),
    case("headers-repeated", f"- {V1}", Call(headers=(("x-a", "1"), ("x-a", "2")))),
    case("headers-response-set", _route("{response: {set: {x-a: new}}}"), get(), script=SAID),
    case("headers-response-add", _route("{response: {add: {x-a: new}}}"), get(), script=SAID),
    case("headers-response-remove", _route("{response: {remove: [x-a]}}"), get(), script=SAID),
    case(
        "headers-response-remove-add",
        _route("{response: {remove: [x-a], add: {x-a: n}}}"),
        get(),
        script=SAID,
    ),
    case("headers-response-req", _route("{response: {set: {x-p: '%REQ(:path)%'}}}"), get("/p")),
    case(
        "headers-response-content-type",
        _route("{response: {set: {content-type: text/html}}}"),
        get(),
    ),
    case(
        "headers-both-levels",
        _route("{request: {set: {x-a: route}}}", "{request: {set: {x-a: destination}}}"),
        get(x_a="1"),
    ),
    case(
        "headers-both-levels-add",
        _route("{request: {add: {x-a: route}}}", "{request: {add: {x-a: destination}}}"),
        get(x_a="1"),
    ),
    case(
        "headers-both-levels-remove",
        _route("{request: {set: {x-a: route}}}", "{request: {remove: [x-a]}}"),
        get(x_a="1"),
    ),
    case(
        "headers-both-levels-response",
        _route("{response: {set: {x-a: route}}}", "{response: {set: {x-a: destination}}}"),
        get(),
        script=SAID,
    ),
    case(
        "headers-both-levels-host",
        _route(
            "{request: {set: {host: route.example}}}",
            "{request: {set: {host: destination.example}}}",
        ),
        get(),
    ),
    case(
        "headers-weighted",
        "- {route: [{destination: {host: orders, subset: v1}, weight: 1, headers: {request: {set: {x-a: d}}}}, {destination: {host: orders, subset: v1}, weight: 1, headers: {request: {set: {x-a: d}}}}], headers: {request: {set: {x-a: r}}}}",
        get(x_a="1"),
    ),
    case(
        "headers-weighted-add",
        "- {route: [{destination: {host: orders, subset: v1}, weight: 1, headers: {request: {add: {x-a: d}}}}, {destination: {host: orders, subset: v1}, weight: 1, headers: {request: {add: {x-a: d}}}}], headers: {request: {add: {x-a: r}}}}",
        get(x_a="1"),
    ),
    case(
        "headers-weighted-remove",
        "- {route: [{destination: {host: orders, subset: v1}, weight: 1, headers: {request: {set: {x-a: d}}}}, {destination: {host: orders, subset: v1}, weight: 1, headers: {request: {set: {x-a: d}}}}], headers: {request: {remove: [x-a]}}}",
        get(x_a="1"),
    ),
    case(
        "headers-on-failure",
        _route("{response: {set: {x-a: new}}}"),
        get(),
        script={"a": [answer(500, b"no")]},
    ),
    case(
        "headers-response-req-rewritten",
        f"- {{{V1}, rewrite: {{uri: /r/, authority: other.example}}, headers: {{response: {{set: {{x-p: '%REQ(:path)% %REQ(:authority)% %REQ(x-envoy-original-path)%'}}}}}}}}",
        get("/a?x=1"),
    ),
    case(
        "headers-response-req-changed",
        _route(
            "{request: {set: {x-a: new}, remove: [x-b]}, response: {set: {x-c: '%REQ(x-a)%', x-d: '%REQ(x-b)%'}}}"
        ),
        get(x_a="old", x_b="b"),
        script=SAID,
    ),
    case(
        "headers-request-req-removed",
        _route("{request: {remove: [x-b], set: {x-a: '%REQ(x-b)%'}}}"),
        get(x_b="b", x_a="a"),
    ),
    case(
        "headers-request-req-swapped",
        _route("{request: {set: {x-a: '%REQ(x-b)%', x-b: '%REQ(x-a)%'}}}"),
        get(x_a="a", x_b="b"),
    ),
    case(
        "headers-request-req-repeated",
        _route("{request: {set: {x-c: '%REQ(x-a)%'}}}"),
        Call(headers=(("x-a", "1"), ("x-a", "2"))),
    ),
    case(
        "headers-request-req-weighted",
        "- {route: [{destination: {host: orders, subset: v1}, weight: 1, headers: {request: {set: {x-a: d}}}}, {destination: {host: orders, subset: v2}, weight: 0}], headers: {request: {set: {x-c: '%REQ(x-a)%'}}}}",
        get(x_a="1"),
    ),
    case(
        "headers-request-add-user-agent",
        _route("{request: {add: {user-agent: more}}}"),
        get(),
        differs=("headers-of-one-line",),
    ),
]
