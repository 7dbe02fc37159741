"""Redirects and direct responses."""

from __future__ import annotations

from conformance.cases import Call, case, get
from conformance.tables.destinations import TWO_PORTS


def _redirect(name, fields, *calls, **more):
    return case(f"redirect-{name}", f"- {{redirect: {fields}}}", *calls, **more)


def _direct(name, fields, *calls, more="", **kinds):
    return case(f"direct-{name}", f"- {{directResponse: {fields}{more}}}", *calls, **kinds)


CASES = [
    _redirect("uri", "{uri: /b}", get("/a"), get("/a?x=1")),
    _redirect("uri-query", "{uri: '/b?y=2'}", get("/a?x=1")),
    _redirect("authority", "{authority: other.example}", get("/a?x=1")),
    _redirect("authority-port", "{authority: 'other.example:81'}", get("/a")),
    _redirect("scheme", "{scheme: https}", get("/a")),
    _redirect("scheme-port", "{scheme: https, port: 8443}", get("/a")),
    _redirect("port", "{port: 8080}", get("/a")),
    _redirect("port-elided", "{port: 80}", get("/a"), get("/a", port=9080), service=TWO_PORTS),
    _redirect(
        "port-443", "{scheme: https, port: 443}", get("/a"), get("/a", port=9080), service=TWO_PORTS
    ),
    _redirect(
        "port-of-request",
        "{derivePort: FROM_REQUEST_PORT}",
        get("/a"),
        get("/a", port=9080),
        service=TWO_PORTS,
    ),
    _redirect(
        "port-of-protocol",
        "{derivePort: FROM_PROTOCOL_DEFAULT}",
        get("/a", port=9080),
        service=TWO_PORTS,
    ),
    _redirect("all", "{uri: /b, authority: other.example, scheme: https, port: 8443}", get("/a")),
    _redirect(
        "authority-and-port-of-request",
        "{authority: o.example, derivePort: FROM_REQUEST_PORT}",
        get("/a", port=9080),
        service=TWO_PORTS,
    ),
    *(
        _redirect(
            f"code-{code}", f"{{uri: /b, redirectCode: {code}}}", get("/a"), Call("/a", "POST")
        )
        for code in (301, 302, 303, 307, 308)
    ),
    _redirect("head", "{uri: /b}", Call("/a", "HEAD")),
    case(
        "redirect-headers",
        "- {redirect: {uri: /b}, headers: {response: {set: {x-a: b}}}}",
        get("/a"),
    ),
    _direct("status", "{status: 204}", get()),
    _direct("no-content-body", "{status: 204, body: {string: a}}", get(), differs=("no-content",)),
    _direct("body", "{status: 503, body: {string: 'not now'}}", get(), Call("/", "HEAD")),
    _direct("bytes", "{status: 200, body: {bytes: aGVsbG8=}}", get()),
    _direct("empty", "{status: 404}", get()),
    _direct("utf8", "{status: 200, body: {string: 'grüße'}}", get()),
    _direct(
        "post",
        "{status: 201, body: {string: made}}",
        Call("/", "POST", body=b"x"),
        differs=("created-without-location",),
    ),
    _direct(
        "headers",
        "{status: 200, body: {string: '{}'}}",
        get(),
        more=", headers: {response: {set: {content-type: application/json, x-a: b}}}",
    ),
    _direct(
        "headers-remove",
        "{status: 200, body: {string: a}}",
        get(),
        more=", headers: {response: {remove: [content-type]}}",
        differs=("content-type-removed",),
    ),
    _direct(
        "headers-add",
        "{status: 200, body: {string: a}}",
        get(),
        more=", headers: {response: {add: {x-a: '%REQ(:path)%'}}}",
    ),
    _direct("grpc", "{status: 403, body: {string: no}}", get(content_type="application/grpc")),
]
