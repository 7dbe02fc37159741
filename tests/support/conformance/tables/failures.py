"""Upstreams that fail, with and without time-outs: what the caller is told."""

from __future__ import annotations

from conformance.cases import SERVICE, V1, Call, case, get, post
from conformance.upstreams import CLOSE, RESET, answer

REFUSED = SERVICE.replace("$a", "$refused")
ONCE = f"- {{{V1}, retries: {{attempts: 0}}}}"
GRPC = {"content_type": "application/grpc"}
SLOW = {"a": [[1.5, *answer()]]}
HEAD = b"HTTP/1.1 200 OK\r\n"


def _raw(name, *parts, **more):
    return case(f"upstream-{name}", ONCE, get(), script={"a": [parts]}, **more)


CASES = [
    case("refused", ONCE, get(), post(), service=REFUSED, differs=("transport-failure-reason",)),
    case(
        "refused-retried",
        f"- {V1}",
        get(),
        post(),
        service=REFUSED,
        differs=("transport-failure-reason",),
    ),
    case("refused-grpc", ONCE, get(**GRPC), service=REFUSED, differs=("transport-failure-reason",)),
    case(
        "refused-head",
        ONCE,
        Call("/", "HEAD"),
        service=REFUSED,
        differs=("transport-failure-reason",),
    ),
    _raw("closes", CLOSE),
    _raw("resets", RESET),
    _raw("closes-in-head", HEAD, CLOSE),
    _raw("closes-in-body", HEAD + b"content-length: 10\r\n\r\nabc", CLOSE),
    _raw(
        "resets-in-body",
        HEAD + b"content-length: 10\r\n\r\nabc",
        0.1,
        RESET,
        differs=("reset-in-body",),
    ),
    _raw("closes-in-chunk", HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab", CLOSE),
    _raw("garbage", b"what?\r\n\r\n", CLOSE),
    _raw("garbage-head", HEAD + b"no colon\r\n\r\n", CLOSE),
    _raw("length-twice", HEAD + b"content-length: 2\r\ncontent-length: 3\r\n\r\nabc", CLOSE),
    _raw("no-length", HEAD + b"\r\nall of it", CLOSE),
    _raw("chunked", HEAD + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"),
    _raw("continue", b"HTTP/1.1 100 Continue\r\n\r\n", *answer()),
    _raw("early-hints", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n", *answer()),
    _raw("204", b"HTTP/1.1 204 No Content\r\n\r\n"),
    _raw("304", b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"),
    _raw("404", *answer(404, b"no such thing")),
    _raw("500", *answer(500, b"broken")),
    _raw("503", *answer(503, b"busy", "retry-after: 3")),
    _raw("599", *answer(599, b"odd")),
    _raw("close-header", *answer(200, b"ok", "connection: close"), CLOSE),
    _raw("cookies", *answer(200, b"ok", "set-cookie: a=b", "set-cookie: c=d")),
    _raw(
        "own-envoy-headers",
        *answer(200, b"ok", "x-envoy-upstream-service-time: 7", "x-envoy-overloaded: true"),
    ),
    case(
        "grpc-answer",
        ONCE,
        get(**GRPC),
        script={"a": [answer(200, b"", "content-type: application/grpc", "grpc-status: 5")]},
    ),
    case(
        "timeout",
        f"- {{{V1}, timeout: 0.5s, retries: {{attempts: 0}}}}",
        get(),
        post(),
        script=SLOW,
        at_least_s=1.0,
    ),
    case(
        "timeout-default-retries", f"- {{{V1}, timeout: 0.5s}}", get(), script=SLOW, at_least_s=0.5
    ),
    case(
        "timeout-grpc",
        f"- {{{V1}, timeout: 0.5s}}",
        get(**GRPC),
        script=SLOW,
        at_least_s=0.5,
        differs=("grpc-timeout",),
    ),
    case("timeout-head", f"- {{{V1}, timeout: 0.5s}}", Call("/", "HEAD"), script=SLOW),
    case("timeout-not-met", f"- {{{V1}, timeout: 20s}}", get(), script={"a": [[0.2, *answer()]]}),
    case("timeout-zero", f"- {{{V1}, timeout: 0s}}", get(), script={"a": [[0.2, *answer()]]}),
    case(
        "timeout-in-body",
        f"- {{{V1}, timeout: 0.6s}}",
        get(),
        script={"a": [[HEAD + b"content-length: 10\r\n\r\nabc", 2.0, b"defghij"]]},
    ),
    case(
        "no-endpoint",
        "- route: [{destination: {host: orders, subset: empty}}]",
        get(),
        post(),
        get(**GRPC),
    ),
    case(
        "service-without-endpoints",
        None,
        get(),
        service=SERVICE.partition("  endpoints:")[0] + "  endpoints: []\n",
    ),
    case(
        "not-found-grpc",
        f"- {{match: [{{uri: {{exact: /a}}}}], {V1}}}",
        get("/b", **GRPC),
        Call("/b", "HEAD"),
    ),
    case(
        "large-body",
        f"- {V1}",
        post("/", b"z" * 200_000),
        script={"a": [answer(200, b"y" * 300_000)]},
    ),
    case(
        "stale-connection",
        ONCE,
        get(),
        get(),
        script={"a": [answer(), [RESET], answer()]},
        differs=("stale-connection",),
    ),
]
