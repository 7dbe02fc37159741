"""The middlewares under real servers, whatever those make of a request."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from inbound_servers import COMMANDS, PolicyFile, Server, serving
from inbound_world import from_, policy, to, when

PUBLIC = policy("ALLOW", to(paths=["/public/*"]), to(paths=["/"]))
NO_ADMIN = policy("DENY", to(paths=["/admin", "/admin/*", "/admin?*", "/admin#*"]))

# Whatever a server and an app make of these: `/admin` must not be reached.
HOSTILE = [
    b"/admin",
    b"/admin/x",
    b"//admin",
    b"///admin/x",
    b"/%61dmin",
    b"/admin%2fx",
    b"/admin%0a",
    b"/admin%00",
    b"/admin#/public/x",
    b"/admin?/public/x",
    b"/admin/../public/x",
    b"/admin/%2e%2e/public/x",
    b"/admin%2f..%2fpublic%2fx",
    b"/admin%5c..%5cpublic%5cx",
    b"//admin/../public/x",
    b"/public/../admin",
    b"/public/%2e%2e/admin",
    b"/public/..%2fadmin",
    b"/public%2f..%2fadmin",
    b"/public/..\\admin",
    b"http://evil/admin",
    b"http://app/admin",
    b"http://app/public/../admin",
    b"admin",
    b"?x=1",
    b"*",
    b"",
    b"/ad\tmin",
    b"/admin HTTP/1.1",
]

# Heads of `GET /public/x` that must not be taken for a good one.
BAD_HEADS = {
    "two hosts": b"GET /public/x HTTP/1.1\r\nHost: app\r\nHost: evil\r\n",
    "no host": b"GET /public/x HTTP/1.1\r\n",
    "host with a path": b"GET /public/x HTTP/1.1\r\nHost: app/admin?\r\n",
    "host with a user": b"GET /public/x HTTP/1.1\r\nHost: me@app\r\n",
    "length and chunked": b"POST /public/x HTTP/1.1\r\nHost: app\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n",
}

ASGI = {"gunicorn uvicorn", "gunicorn asgi", "uvicorn h11", "uvicorn httptools"}
LAST = b"Host: app\r\nConnection: close\r\n\r\n"


class Served:
    """A server, and the policy file that it follows."""

    def __init__(self, name: str, server: Server, policies: PolicyFile) -> None:
        self.name = name
        self.server = server
        self.policies = policies

    def obey(self, *policies) -> None:
        """Put policies in force, and wait until the server goes by them."""
        asking = policy("ALLOW", to(paths=["/generation"]), name="generation")
        allows = any(one["spec"]["action"] == "ALLOW" for one in policies)
        written = self.policies.write(*policies, *([asking] if allows else []))
        self.server.wait_for(
            lambda: self.server.get("/generation").said["generation"] == written, "follow"
        )


@pytest.fixture(scope="module", params=list(COMMANDS))
def served(request, tmp_path_factory) -> Iterator[Served]:
    """Each kind of server with one worker."""
    place = tmp_path_factory.mktemp("served")
    policies = PolicyFile(place / "run")
    policies.write()
    with serving(request.param, place, policies.path) as server:
        yield Served(request.param, server, policies)


def test_a_handler_runs_for_what_is_allowed_only(served):
    """And each answer is Envoy's."""
    served.obey(PUBLIC)
    allowed = served.server.get("/public/x?y=/admin")
    assert (allowed.status, allowed.said["ran"]) == (200, "/public/x")
    denied = served.server.get("/private")
    assert (denied.status, denied.body) == (403, "RBAC: access denied")


def test_a_request_id_is_made_or_kept(served):
    """The handler finds it in its call."""
    served.obey(PUBLIC)
    headers = [("X-Request-Id", "r-17")]
    assert served.server.get("/public/x", headers).said["request_id"] == "r-17"
    assert len(served.server.get("/public/x").said["request_id"]) == 36


@pytest.mark.parametrize("policies", [PUBLIC, NO_ADMIN], ids=["allow public", "deny admin"])
def test_no_spelling_of_a_path_reaches_its_handler(served, policies):
    """On the raw socket, so that nothing tidies it up before the server sees it."""
    served.obey(policies)
    wrong = []
    for target in HOSTILE:
        answer = served.server.raw(b"GET " + target + b" HTTP/1.1\r\n" + LAST)
        ran = answer.partition('"ran": "')[2].partition('"')[0]
        # Where all but /admin may pass, what the app saw must have nothing of it.
        if '"ran"' in answer and (policies is PUBLIC or "admin" in ran):
            wrong.append((target, answer))
    assert not wrong


@pytest.mark.parametrize("name", BAD_HEADS)
def test_no_malformed_head_reaches_a_handler(served, name):
    """Some servers refuse these themselves; what they let through is refused here."""
    served.obey(PUBLIC)
    data = BAD_HEADS[name] + b"Connection: close\r\n\r\n"
    if name == "length and chunked":
        data += b"3\r\nabc\r\n0\r\n\r\n"
    answer = served.server.raw(data)
    assert '"ran"' not in answer
    assert answer.startswith("HTTP/1.1 400") or not answer, answer


def test_an_absolute_target_is_decided_by_the_host_that_the_app_sees(served):
    """Some servers take it for the Host, some ignore it; none may mix the two."""
    served.obey(policy("DENY", to(hosts=["evil"])))
    for target, host in ((b"http://evil/x", b"app"), (b"http://app/x", b"evil")):
        answer = served.server.raw(
            b"GET " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nConnection: close\r\n\r\n"
        )
        assert '"ran"' not in answer or '"host": "app"' in answer


def test_the_port_is_the_sockets(served):
    """Not the one that a caller writes into Host."""
    port = str(served.server.port)
    served.obey(policy("ALLOW", to(ports=[port])))
    assert served.server.get("/x", [("Host", "app:1")]).status == 200
    served.obey(
        policy("ALLOW", to(ports=["1"])),
        policy("ALLOW", to(ports=[port], paths=["/generation"]), name="p"),
    )
    assert served.server.get("/x", [("Host", "app:1")]).status == 403


def test_the_caller_is_the_sockets_peer(served):
    """Whatever X-Forwarded-For says, and whatever the server makes of that."""
    served.obey(policy("ALLOW", from_(ipBlocks=["10.0.0.0/8"])))
    claims = [
        ("X-Forwarded-For", "10.1.2.3"),
        ("X-Real-Ip", "10.1.2.3"),
        ("Forwarded", "for=10.1.2.3"),
        ("X-Envoy-External-Address", "10.1.2.3"),
    ]
    assert served.server.get("/x", claims).status == 403
    served.obey(policy("DENY", {**from_(ipBlocks=["127.0.0.0/8"]), **to(notPaths=["/generation"])}))
    assert served.server.get("/x", claims).status == 403
    served.obey(policy("ALLOW", from_(ipBlocks=["127.0.0.1"])))
    assert served.server.get("/x", [("X-Forwarded-For", "garbage")]).status == 200


def test_a_prefix_that_a_caller_claims_gains_nothing(served):
    """gunicorn takes SCRIPT_NAME from a header where the caller is on loopback."""
    served.obey(PUBLIC)
    head = b"GET /public/admin HTTP/1.1\r\nSCRIPT_NAME: /public\r\n" + LAST
    answer = served.server.raw(head)
    # A server that ignores the header runs the handler for the path as it is.
    assert '"ran": "/admin"' not in answer


def test_each_value_of_a_header_counts(served):
    """Servers for WSGI join them."""
    served.obey(policy("DENY", when("request.headers[x-role]", "admin")))
    head = b"GET /x HTTP/1.1\r\nX-Role: user\r\nX-Role: admin \r\n" + LAST
    assert "RBAC: access denied" in served.server.raw(head)
    assert '"ran"' in served.server.raw(head.replace(b"admin", b"guest"))


def test_a_refused_body_does_not_disturb_the_next_request(served):
    """It is not read by the mesh; the connection is the server's to keep or to close."""
    served.obey(PUBLIC)
    body = b"x" * 100_000
    head = b"POST /private HTTP/1.1\r\nContent-Length: 100000\r\n" + LAST
    answer = served.server.raw(head + body)
    assert "RBAC: access denied" in answer
    assert '"ran"' not in answer
    assert served.server.get("/public/x").status == 200


@pytest.mark.parametrize("is_allowed", [True, False])
def test_a_websocket_is_decided_before_it_is_accepted(served, is_allowed):
    """403 in place of 101; servers for WSGI know no WebSockets, and answer as to any request."""
    served.obey(PUBLIC)
    path = b"/public/chat" if is_allowed else b"/private/chat"
    answer = served.server.raw(
        b"GET " + path + b" HTTP/1.1\r\nHost: app\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    taken = "HTTP/1.1 101" if served.name in ASGI else "HTTP/1.1 200"
    assert answer.startswith(taken if is_allowed else "HTTP/1.1 403"), answer


def test_without_policy_every_call_is_503(tmp_path):
    """Until there is some; then the same worker goes by it."""
    policies = PolicyFile(tmp_path / "run")
    with serving("uvicorn h11", tmp_path, policies.path) as server:
        assert server.get("/x").status == 503
        assert "no policy at" in server.words()
        policies.write()
        server.wait_for(lambda: server.get("/x").status == 200, "follow")
