"""Expressions in the real Envoy beside ours: filters of access logs over one request.

Envoy logs the request to a file for each filter that is true of it; our closures are asked of the
event of the same request. What goes otherwise is listed, and nothing else may.
"""

from __future__ import annotations

import http.client
import time

import pytest
from conformance.static_envoy import PATIENCE_S, StaticEnvoy
from inbound_drive import environ_of

from meshware.policy.cel import CelError, compile_expression
from meshware.telemetry.attributes import attributes_of
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware

pytestmark = pytest.mark.conformance

HEADERS = (("host", "shop.default"), ("x-user", "ann"), ("user-agent", "curl"))
NONE = "request.headers['x-none'] == 'a'"

EXPRESSIONS = (
    "request.method == 'GET'", "request.path == '/shop?x=1'", "request.url_path == '/shop'",
    "request.query == 'x=1'", "request.host == 'shop.default'", "request.scheme == 'http'",
    "request.headers['x-user'] == 'ann'", "request.headers['X-User'] == 'ann'",
    f"{NONE} || true", f"true || {NONE}", f"{NONE} && false || true", NONE, f"!({NONE})",
    f"{NONE} || false", f"{NONE} && true", f"{NONE} ? true : true", f"false ? {NONE} : true",
    "'x-user' in request.headers", "'x-none' in request.headers",
    "!('x-none' in request.headers)", "has(request.headers.xuser)", "has(request.host)",
    "has(request.referer)", "request.headers[':path'] == '/shop?x=1'",
    "request.headers[':method'] == 'GET'", "request.headers[':authority'] == 'shop.default'",
    "request.useragent == 'curl'", "request.protocol == 'HTTP/1.1'", "request.size == 0",
    "response.code == 503", "response.code >= 400 && response.code < 600",
    "response.code == 503.0", "response.code == 503u", "response.code > 502.5",
    "response.flags == 0", "response.headers['x-kind'] == 'a,b'", "response.size == 4",
    "request.duration < duration('10s')", "request.duration > duration('10s')",
    "request.time > timestamp('2020-01-01T00:00:00Z')",
    "request.path.startsWith('/shop') && request.path.endsWith('1')",
    "request.path.contains('?')", "request.path.matches('^/shop')",
    "request.path.matches('x=[0-9]')", "request.path.matches('^x')", "connection.mtls",
    "connection.mtls == false", "has(upstream.address)", "request.method in ['GET', 'POST']",
    "1 == '1'", "1 == 1.0 && 1u == 1", "size(request.path) == 10", "'abc'.size() == 3",
    "int('7') == 7", "double('1.5') == 1.5", "[1, 2] == [1, 2]", "2 in [1, 2]",
    "{'a': 1}['a'] == 1", "{'a': 1}.a == 1", "has({'a': 1}.b)", "-7 / 2 == -3 && -7 % 2 == -1",
    "1 / 0 == 1", "1 / 0 == 1 || true", "9223372036854775807 + 1 > 0", "null == null",
    r"r'\d' == '\\d'", "b'abc' == b'abc'", "'\\u00e4' == 'ä'", "'a' < 'b'", "false < true",
    "1 < 2 == true", "'''a''' == \"a\"", "0x1F == 31", "1.0 / 0.0 > 1.0",
)  # fmt: skip

REFUSED_BY_ENVOY = ("has(request.headers['x-user'])", "string(7) == '7'")
"""That are taken here; Istio's filter of metrics takes `string()` too."""

OTHERWISE = {"'a' + 'b' == 'ab'": "Envoy adds no texts, lest they grow"}
ONLY_THERE = {"request.total_size > 0": "of the wire", "dyn(1) == 1": "there are no types"}


def envoy_config(place, expressions):
    """A listener that answers 503, and logs to a file for each filter."""
    google = "type.googleapis.com/envoy.extensions"
    logs = [
        {
            "name": "file",
            "filter": {
                "extension_filter": {
                    "name": "envoy.access_loggers.extension_filters.cel",
                    "typed_config": {
                        "@type": f"{google}.access_loggers.filters.cel.v3.ExpressionFilter",
                        "expression": expression,
                    },
                }
            },
            "typed_config": {
                "@type": f"{google}.access_loggers.file.v3.FileAccessLog",
                "path": str(place / f"{number}.log"),
            },
        }
        for number, expression in enumerate(expressions)
    ]
    kinds = [
        {"header": {"key": "x-kind", "value": value}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}
        for value in "ab"
    ]
    route = {
        "match": {"prefix": "/"},
        "direct_response": {"status": 503, "body": {"inline_string": "body"}},
        "response_headers_to_add": kinds,
    }
    manager = {
        "@type": f"{google}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "x",
        "access_log": logs,
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{google}.filters.http.router.v3.Router"},
            }
        ],
    }
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    chain = {"filters": [{"name": "http", "typed_config": manager}]}
    return {"listeners": [{"name": "in", "address": address, "filter_chains": [chain]}]}


def logged_by_envoy(program, place, expressions):
    """Which expressions are true of the request, as Envoy says."""
    everything = (*expressions, "true")  # the last file: when it has its line, all have theirs
    envoy = StaticEnvoy(program, place, envoy_config(place, everything))
    try:
        connection = http.client.HTTPConnection("127.0.0.1", envoy.ports["in"], timeout=PATIENCE_S)
        connection.putrequest("GET", "/shop?x=1", skip_host=True, skip_accept_encoding=True)
        for name, value in HEADERS:
            connection.putheader(name, value)
        connection.endheaders()
        assert connection.getresponse().read() == b"body"
        connection.close()
        last = place / f"{len(expressions)}.log"
        until = time.monotonic() + PATIENCE_S
        while not (last.exists() and last.read_text()):
            assert time.monotonic() < until
            time.sleep(0.02)
    finally:
        envoy.close()  # what waits is written by then
    return {
        expression
        for number, expression in enumerate(expressions)
        if (place / f"{number}.log").read_text()
    }


def our_event():
    """The event of the same request."""

    def app(environ, start_response):
        start_response("503 Said", [("x-kind", "a"), ("x-kind", "b")])
        return [b"body"]

    mesh = TestMesh([])
    environ = environ_of("/shop?x=1")
    environ.update({f"HTTP_{n.upper().replace('-', '_')}": value for n, value in HEADERS})
    body = MeshMiddleware(app, mesh=mesh)(environ, lambda *_: lambda _data: None)
    b"".join(body)
    body.close()
    [event] = mesh.events
    return event


def is_true_here(expression, event):
    """Whether our access log would have a line."""
    try:
        return compile_expression(expression)(attributes_of(event, TestMesh([]).clock.now)) is True
    except (KeyError, TypeError, ValueError):
        return False


def test_expressions_are_true_of_what_they_are_in_envoy(engine, tmp_path):
    """All but those that are listed, and those do differ."""
    program = engine("envoy")
    event = our_event()
    asked = (*EXPRESSIONS, *OTHERWISE, *ONLY_THERE)
    theirs = logged_by_envoy(program, tmp_path, asked)
    differ = {e for e in EXPRESSIONS if is_true_here(e, event) is not (e in theirs)}
    assert differ == set()
    for expression in OTHERWISE:
        assert is_true_here(expression, event) is not (expression in theirs)
    for expression in ONLY_THERE:
        assert expression in theirs
        with pytest.raises(CelError):
            compile_expression(expression)


@pytest.mark.parametrize("expression", REFUSED_BY_ENVOY)
def test_what_envoy_refuses_is_taken_here(engine, tmp_path, expression):
    """They are true of the request here."""
    program = engine("envoy")
    with pytest.raises(AssertionError, match="Envoy ended"):
        StaticEnvoy(program, tmp_path, envoy_config(tmp_path, [expression]))
    assert is_true_here(expression, our_event())
