"""One script of requests for every kind of app, over ASGI and over WSGI.

The apps do the same things: raw ASGI and WSGI, Starlette, FastAPI, Flask. What a caller sees and
what the mesh tells of it must be the same for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from inbound_drive import Answer, asgi_call, wsgi_call
from inbound_world import policy, to, when

import meshware
from meshware.testing import TestMesh

POLICIES = [
    policy("DENY", to(paths=["/secret*"]), when("request.headers[x-role]", "guest"), name="no"),
    policy("ALLOW", to(paths=["/*"], notMethods=["DELETE"]), name="yes"),
]


@dataclass(frozen=True)
class Scenario:
    """One request, what the caller gets, and what the mesh tells of it."""

    name: str
    target: str
    status: int
    body: str | None = None  # None: whatever the framework says
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = (("host", "app"),)
    sent: bytes = b""
    close_after: int | None = None  # chunks of the body, after which the caller goes away
    event: dict[str, Any] = field(default_factory=dict)  # what differs from an admission


DENIED = "RBAC: access denied"
NO_RULE = {"reason": "rbac_access_denied_matched_policy[none]"}
SECRET = {
    "policy": "default/no",
    "rule": 0,
    "reason": "rbac_access_denied_matched_policy[ns[default]-policy[no]-rule[0]]",
}
HOST = ("host", "app")

SCENARIOS = [
    Scenario("let in", "/hello", 200, "hello"),
    Scenario("with a query", "/hello?a=/secret", 200, "hello", event={"path": "/hello"}),
    Scenario("HEAD", "/hello", 200, "", method="HEAD"),
    Scenario("a body sent", "/echo", 200, "ping", method="POST", sent=b"ping"),
    Scenario("no such page", "/none", 404),
    Scenario("a body in pieces", "/stream", 200, "one two three "),
    Scenario("left in the middle", "/stream", 200, "one ", close_after=1, event={"flags": "DC"}),
    Scenario("the app fails", "/boom", 500),
    Scenario("the app fails late", "/boom-late", 200, "some ", event={"flags": "UC"}),
    Scenario("denied", "/secret/1", 403, DENIED, event=SECRET),
    Scenario("denied, HEAD", "/secret/1", 403, "", method="HEAD", event=SECRET),
    Scenario("denied, a body unread", "/secret", 403, DENIED, method="POST", sent=b"x" * 99,
             event=SECRET),
    Scenario("denied, escaped", "/%73ecret", 403, DENIED, event={**SECRET, "path": "/%73ecret"}),
    Scenario("denied, two slashes", "//secret/x", 403, DENIED, event=SECRET),
    Scenario("denied behind dots", "/hello/../secret", 403, DENIED, event=SECRET),
    Scenario("denied before dots", "/secret/../hello", 403, DENIED, event=SECRET),
    Scenario("denied behind escaped dots", "/hello%2f%2e%2e%2fsecret", 403, DENIED, event=SECRET),
    Scenario("denied by a header", "/hello", 403, DENIED, headers=(HOST, ("x-role", "guest")),
             event={**SECRET, "rule": 1, "reason": SECRET["reason"].replace("[0]", "[1]")}),
    Scenario("denied by the second of two lines", "/hello", 403, DENIED,
             headers=(HOST, ("x-role", "user"), ("x-role", "guest")),
             event={**SECRET, "rule": 1, "reason": SECRET["reason"].replace("[0]", "[1]")}),
    Scenario("not allowed", "/hello", 403, DENIED, method="DELETE", event=NO_RULE),
    Scenario("two hosts", "/hello", 400, "Bad Request", headers=(HOST, HOST),
             event={"reason": "bad_request{there are two Host headers}"}),
    Scenario("NUL", "/hello%00", 400, "Bad Request",
             event={"reason": "bad_request{there are control characters in the path}"}),
    Scenario("what the app must not see", "/seen", 200,
             '{"x-envoy-a": null, "x-forwarded-client-cert": null, "x-meshware-a": null, '
             '"x-request-id": "r-1", "x-user": "me"}',
             headers=(HOST, ("x-envoy-a", "1"), ("X-Forwarded-Client-Cert", "URI=spiffe://a/b"),
                      ("x-meshware-a", "1"), ("x-user", "me"), ("x-request-id", "r-1"))),
    Scenario("the call within the handler", "/call", 200, "r-2 r-2",
             headers=(HOST, ("x-request-id", "r-2"))),
    Scenario("the call while the body is made", "/call-in-body", 200, "r-3",
             headers=(HOST, ("x-request-id", "r-3"))),
    Scenario("a file", "/file", 200, "x" * 20_000),
]  # fmt: skip
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}

SEEN = ("x-envoy-a", "x-forwarded-client-cert", "x-meshware-a", "x-request-id", "x-user")
FILE_SIZE = 20_000


def current_id() -> str:
    """The request id of the current call, as an app finds it."""
    call = meshware.current_call()
    return "none" if call is None else call.request_id


def play(make: Callable[[TestMesh], Any], drive: str, scenario: Scenario) -> None:
    """Run one scenario against a fresh app and compare everything."""
    mesh = TestMesh(POLICIES, port=8000)
    app = make(mesh)
    call = asgi_call if drive == "asgi" else wsgi_call
    answer: Answer = call(
        app,
        scenario.target,
        method=scenario.method,
        headers=scenario.headers,
        body=scenario.sent,
        close_after=scenario.close_after,
    )
    assert answer.status == scenario.status
    if scenario.body is not None:
        assert answer.text == scenario.body
    if scenario.status in (400, 403):
        assert not answer.was_body_read
        if scenario.method != "HEAD":
            assert answer.headers["content-length"] == str(len(scenario.body or ""))
        assert answer.headers["content-type"] == "text/plain"
    [event] = mesh.events
    told = {
        "method": scenario.method,
        "host": ",".join(value for name, value in scenario.headers if name == "host"),
        "path": scenario.target,
        "status": scenario.status,
        "flags": "-",
        "policy": None,
        "rule": None,
        "reason": "via_upstream",
        "generation": 1,
        **scenario.event,
    }
    if scenario.name == "two hosts":
        told["host"] = event.host  # one line in WSGI, two in ASGI
        told["reason"] = event.reason
    assert {name: getattr(event, name) for name in told} == told
    assert meshware.current_call() is None


def seen(headers: Callable[[str], str | None]) -> str:
    """What `/seen` answers."""
    return json.dumps({name: headers(name) for name in SEEN})


def pieces() -> Iterator[str]:
    """What `/stream` answers."""
    yield from ("one ", "two ", "three ")
