"""What policy changes in requests and responses, seen at both ends."""

from __future__ import annotations

from client_world import every_driver, route, staged
from upstreams import http

CHANGES = """
headers: {
  request: {set: {x-set: one}, add: {x-kept: more, cookie2: c}, remove: [user-agent, x-gone]},
  response: {set: {server: mesh}, add: {x-many: two}, remove: [x-secret]}}
"""


@every_driver
def test_headers_are_changed_on_the_way_there_and_back(driver):
    """What is removed does not arrive, not even with the library's own default in its place."""
    answer = [http(200, b"ok", "X-Secret: s", "X-Many: one", "Server: real")]
    with staged(driver, route(CHANGES.strip()), scripts=[[answer]]) as it:
        response, body = it.client.call(
            "GET", "http://orders/", headers={"x-kept": "first", "x-gone": "x", "x-set": "mine"}
        )
        assert (response.status, body) == (200, b"ok")
        [request] = it.upstream.requests
        lines = [(name.lower(), value) for name, value in request.headers]
        assert [value for name, value in lines if name == "x-kept"] == ["first", "more"]
        assert [value for name, value in lines if name == "x-set"] == ["one"]
        assert not {"user-agent", "x-gone"} & {name for name, _ in lines}
        raw = {name.lower(): value for name, value in response.headers.items()}
        assert raw["server"] == "mesh"
        assert raw["x-many"].replace(" ", "") == "one,two"
        assert "x-secret" not in raw


@every_driver
def test_path_and_host_are_rewritten_and_nothing_else(driver):
    """The caller's library still says which URL it asked for."""
    rule = (
        "match: [{uri: {prefix: /api/}}], rewrite: {uri: /v2/, authority: inner.test}, timeout: 5s"
    )
    with staged(driver, route(rule), scripts=[[[http()]]]) as it:
        response, _ = it.client.call("GET", "http://orders/api/a%2Fb?c=d")
        assert response.status == 200
        [request] = it.upstream.requests
        assert request.target == "/v2/a%2Fb?c=d"
        assert request["host"] == "inner.test"
        assert request["x-envoy-original-path"] == "/api/a%2Fb?c=d"


@every_driver
def test_a_delayed_and_aborted_call_reaches_nobody(driver):
    """Faults are the mesh's own answers, as ordinary responses."""
    rule = "fault: {abort: {httpStatus: 418, percentage: {value: 100}}}"
    with staged(driver, route(rule), scripts=[[[http()]]]) as it:
        response, body = it.client.call("GET", "http://orders/")
        assert (response.status, body) == (418, b"fault filter abort")
        assert (response.info.flags, response.info.attempts) == ("FI", 0)
        assert it.requests == 0


@every_driver
def test_a_path_is_rewritten_by_a_regular_expression(driver):
    """Its query stays, and what does not match stays as it is."""
    rule = (
        "rewrite: {uriRegexRewrite: {match: '^/service/([^/]+)(/.*)$', "
        "rewrite: '\\2/instance/\\1'}}"
    )
    with staged(driver, route(rule), scripts=[[[http()]]]) as it:
        it.client.call("GET", "http://orders/service/foo/v1%2Fapi?a=/service/b/c")
        it.client.call("GET", "http://orders/other?x=y")
        first, second = it.upstream.requests
        assert first.target == "/v1%2Fapi/instance/foo?a=/service/b/c"
        assert second.target == "/other?x=y"
