"""WebSockets under real servers: decided before they are accepted, however they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wire_servers import SOCKET_SERVERS, Reply, Wire, serving_wire

HOST = b"Host: app.example\r\n"
UPGRADE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
)
EARLY = b"\x81\x85\x00\x00\x00\x00admin"
"""A frame that does not wait for the handshake."""

APPS = ("raw", "tidy", "starlette", "starlette mount")

HOSTILE = [
    b"/admin",
    b"/admin?x",
    b"//admin",
    b"/%61dmin",
    b"/x/../admin",
    b"/x%2f..%2fadmin",
    b"/x%5c..%5cadmin",
    b"/admin/x",
    b"/admin%2fx",
    b"/admin/../public/x",
    b"/admin/%2e%2e/public/x",
    b"/admin%2f..%2fpublic/x",
    b"/admin%5c..%5cpublic/x",
    b"/admin#f",
    b"/admin%0a",
    b"/admin%00",
    b"http://app.example/admin",
    b"admin",
]


@pytest.fixture(scope="module", params=list(SOCKET_SERVERS))
def wire(request, tmp_path_factory) -> Iterator[Wire]:
    """Each way in which servers know WebSockets."""
    with serving_wire(request.param, tmp_path_factory.mktemp("sockets")) as server:
        yield server


def shake(
    wire: Wire, world: str, target: bytes, *lines: bytes, host: bytes = HOST, early: bytes = b""
) -> Reply:
    """Ask for a WebSocket."""
    head = b"GET " + target + b" HTTP/1.1\r\n" + host + b"".join(line + b"\r\n" for line in lines)
    return wire.ask(world, head, early, more=UPGRADE)


@pytest.mark.parametrize("app", APPS)
def test_an_allowed_websocket_is_accepted(wire, app):
    """And its handler runs once."""
    for rules in ("allow public", "deny below", "deny role"):
        reply = shake(wire, f"{rules}|{app}", b"/public/chat")
        assert (reply.status, [run["handler"] for run in reply.ran]) == (101, ["public"])


@pytest.mark.parametrize("rules", ["deny below", "allow public"])
@pytest.mark.parametrize("target", HOSTILE)
def test_no_spelling_of_a_path_opens_what_is_kept(wire, target, rules):
    """Refused before it is accepted."""
    wrong = []
    for app in APPS:
        reply = shake(wire, f"{rules}|{app}", target)
        if reply.ran or reply.status not in (400, 403):
            wrong.append((app, reply))
    assert not wrong


@pytest.mark.parametrize("app", APPS)
def test_what_is_sent_before_the_answer_reaches_nobody(wire, app):
    """Some servers refuse that themselves."""
    reply = shake(wire, f"deny below|{app}", b"/admin/chat", early=EARLY)
    assert (reply.ran, reply.status in (400, 403)) == ((), True), reply


@pytest.mark.parametrize(
    ("rules", "host", "lines"),
    [
        ("open", HOST + HOST, []),
        ("open", b"", []),
        ("open", b"Host: app.example/admin?\r\n", []),
        ("deny host", b"Host: EVIL.example.:80\r\n", []),
        ("allow host", b"Host: evil.example\r\n", []),
        ("deny role", HOST, [b"X-Role: user", b"X-Role: admin "]),
        ("allow role", HOST, [b"X-Role: user, admin"]),
        ("deny role", HOST, [b"X_Role: admin"]),
        ("allow address", HOST, [b"X-Forwarded-For: 10.1.2.3"]),
    ],
    ids=["two Hosts", "no Host", "a path in Host", "denied Host", "Host that is not allowed",
         "second line", "list", "twin", "claimed address"],
)  # fmt: skip
def test_a_handshake_is_judged_as_any_request(wire, rules, host, lines):
    """Hosts, every value of a header, twins, addresses."""
    reply = shake(wire, f"{rules}|raw", b"/public/x", *lines, host=host)
    if reply.ran and lines == [b"X_Role: admin"]:
        # The server has dropped it, so that nobody is misled.
        assert reply.ran[0]["roles"] == []
        return
    assert (reply.ran, reply.status in (400, 403)) == ((), True), reply
