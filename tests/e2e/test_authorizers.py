"""CUSTOM policies with real authorizers, behind Flask and FastAPI on real servers, over sockets."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from authorizer_server import Asked, AuthorizerServer, ok
from inbound_servers import WORKLOAD, PolicyFile, Server
from inbound_world import mesh_config, policy, to

from meshware.policy.load import load_text
from meshware.policy.records import build_records

COMMANDS = {
    "gunicorn and Flask": [
        "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "-k", "gthread", "--threads", "40",
        "--keep-alive", "75", "asking_apps:flask_app",
    ],
    "gevent and Flask": [
        "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "-k", "gevent",
        "--keep-alive", "75", "asking_apps:flask_app",
    ],
    "uvicorn and FastAPI": ["uvicorn", "--port", "0", "--ws", "websockets",
                            "asking_apps:fastapi_app"],
}  # fmt: skip
HTTP = {"service": "authz.example.com", "port": 9000, "timeout": "20s", "pathPrefix": "/check"}
SHOWN = {
    "includeRequestHeadersInCheck": ["x-show", "x-also-*", "X-Forwarded-Client-Cert", "x-envoy-*"],
    "includeAdditionalHeadersInCheck": {"x-extra": "of %REQ(:path)%", "x-show-2": "fixed"},
    "headersToUpstreamOnAllow": ["x-user", "x-auth-*", "host", "x-envoy-*", "x-forwarded-*"],
    "headersToDownstreamOnAllow": ["x-ok-*", "content-length"],
}
PROVIDERS: list[dict[str, Any]] = [
    {"name": "http", "envoyExtAuthzHttp": {**HTTP, **SHOWN}},
    {
        "name": "few",
        "envoyExtAuthzHttp": {
            **HTTP, "headersToDownstreamOnDeny": ["x-why"], "statusOnError": "503",
        },
    },
    {"name": "open", "envoyExtAuthzHttp": {**HTTP, "failOpen": True}},
    {"name": "down", "envoyExtAuthzHttp": {**HTTP, "service": "down.example.com"}},
    {
        "name": "body",
        "envoyExtAuthzHttp": {**HTTP, "includeRequestBodyInCheck": {"maxRequestBytes": 100_000}},
    },
    {
        "name": "part",
        "envoyExtAuthzHttp": {
            **HTTP,
            "includeRequestBodyInCheck": {"maxRequestBytes": 1000, "allowPartialMessage": True},
        },
    },
    {"name": "late", "envoyExtAuthzHttp": {**HTTP, "timeout": "1s"}},
    {"name": "late-open", "envoyExtAuthzHttp": {**HTTP, "timeout": "1s", "failOpen": True}},
    {"name": "plain", "inProcess": {"timeout": "1s"}},
    {
        "name": "async",
        "inProcess": {"timeout": "1s", "includeRequestBodyInCheck": {"maxRequestBytes": 1000}},
    },
    {"name": "nobody", "inProcess": {"failOpen": True}},
]  # fmt: skip


def service(host: str, port: int) -> dict[str, Any]:
    """A ServiceEntry with one endpoint on loopback."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": host.partition(".")[0]},
        "spec": {
            "hosts": [host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}}],
        },
    }


def asks(name: str, *paths: str) -> dict[str, Any]:
    """A CUSTOM policy."""
    found = policy("CUSTOM", to(paths=list(paths)), name=f"ask-{name}")
    found["spec"]["provider"] = {"name": name}
    return found


class World:
    """A server, its policy, and the authorizer that it asks."""

    def __init__(self, server: Server, authorizer: AuthorizerServer, runs: Path) -> None:
        self.server = server
        self.authorizer = authorizer
        self._runs = runs

    @property
    def runs(self) -> int:
        """How often a handler ran."""
        return len(self._runs.read_bytes())

    def ask(
        self,
        target: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """Ask the app."""
        used = connection or self.server.connect()
        try:
            used.request(method, target, body=body, headers=headers or {})
            response = used.getresponse()
            return Reply(response, response.read())
        finally:
            if connection is None:
                used.close()

    def last(self) -> Asked:
        """What the authorizer was asked last."""
        return self.authorizer.asked[-1]


class Reply:
    """What the app's caller gets."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def seen(self) -> dict[str, str]:
        """The headers that the handler saw, none of them twice."""
        pairs = [(name, value) for name, value in json.loads(self.body)["headers"]]
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=list(COMMANDS))
def world(request, tmp_path_factory) -> Iterator[World]:
    """One server after the other."""
    place = tmp_path_factory.mktemp("authorizers")
    policies = PolicyFile(place / "run")
    runs = place / "runs"
    runs.write_bytes(b"")
    authorizer = AuthorizerServer(lambda asked: ok())
    written: list[dict[str, Any]] = [
        WORKLOAD,
        mesh_config(extensionProviders=PROVIDERS),
        service("authz.example.com", authorizer.port),
        service("down.example.com", unused_port()),
        *(
            asks(provider["name"], f"/{provider['name']}/*", f"/ws/{provider['name']}/*")
            for provider in PROVIDERS
            if provider["name"] not in ("plain", "async")
        ),
        asks("plain", "/plain/*"),
        asks("async", "/async/*"),
        policy("DENY", {"when": [{"key": "request.headers[x-user]", "values": ["bob"]}]}),
    ]
    loaded = load_text("\n---\n".join(map(json.dumps, written)))
    loaded.raise_for_errors()
    policies.write_records(build_records(loaded.resources))
    server = Server(
        COMMANDS[request.param],
        place,
        {"MESH_CONFIG": str(policies.path), "RUNS": str(runs)},
    )
    try:
        server.wait_until_up()
        yield World(server, authorizer, runs)
    finally:
        server.end()
        authorizer.close()


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    """Forget what was asked before."""
    world.authorizer.asked.clear()
    world.authorizer.answer = lambda asked: ok()


def test_a_request_that_no_rule_matches_is_not_asked_about(world):
    assert world.ask("/").status == 200
    assert world.authorizer.asked == []


def test_what_is_asked_is_what_envoy_asks(world):
    headers = {
        "Host": "shop.example.com:8080",
        "Authorization": "Bearer x",
        "X-Show": "one",
        "X-Also-This": "two",
        "X-Not": "three",
        "X-Envoy-Me": "four",
        "X-Forwarded-Client-Cert": "By=spiffe://evil;URI=spiffe://evil",
        "X-Request-Id": "11111111-2222-4333-8444-555555555555",
        "Cookie": "a=b",
    }
    reply = world.ask("/http/a%20b?q=1", "PUT", headers, b"hello")
    assert reply.status == 200
    asked = world.last()
    assert (asked.method, asked.target) == ("PUT", "/check/http/a%20b?q=1")
    assert asked.header("host") == "shop.example.com:8080"
    assert asked.header("content-length") == "0"
    assert asked.body == b""
    assert asked.header("authorization") == "Bearer x"
    assert asked.header("x-show") == "one"
    assert asked.header("x-also-this") == "two"
    assert asked.header("x-extra") == "of /http/a%20b?q=1"
    assert asked.header("x-show-2") == "fixed"
    assert asked.header("x-request-id") == "11111111-2222-4333-8444-555555555555"
    for name in ("x-not", "x-envoy-me", "x-forwarded-client-cert", "cookie"):
        assert asked.header(name) is None
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (5, hashlib.sha256(b"hello").hexdigest())


def test_what_the_authorizer_sets_the_app_sees_in_place_of_the_callers(world):
    world.authorizer.answer = lambda asked: ok(
        200,
        b"ignored",
        ("X-User", "ann"),
        ("x-auth-a", "1"),
        ("x-auth-a", "2"),
        ("x-not-allowed", "1"),
        ("x-ok-a", "down"),
        ("X-Envoy-Auth-Headers-To-Remove", "x-gone, host,x-envoy-x"),
        ("Host", "evil"),
        ("X-Envoy-Internal", "true"),
        ("X-Forwarded-Client-Cert", "URI=spiffe://evil"),
        ("X-Forwarded-For", "1.2.3.4"),
    )
    reply = world.ask("/http/x", headers={"X-User": "me", "X-Gone": "1", "x-stays": "1"})
    assert reply.status == 200
    seen = reply.seen
    assert (seen["x-user"], seen["x-auth-a"], seen["x-stays"]) == ("ann", "2", "1")
    assert not seen.keys() & {
        "x-gone", "x-not-allowed", "x-envoy-internal", "x-forwarded-client-cert", "x-ok-a",
        "x-forwarded-for", "x-envoy-auth-headers-to-remove",
    }  # fmt: skip
    assert seen["host"].startswith("127.0.0.1")
    assert reply.headers.get_all("x-ok-a") == ["down"]
    assert int(reply.headers["content-length"]) == len(reply.body)


def test_later_rules_go_by_what_the_authorizer_set(world):
    """The app would see `bob`, so the DENY rule about him has to."""
    before = world.runs
    world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "bob"))
    reply = world.ask("/http/x", headers={"x-user": "ann"})
    assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "ann"))
    assert world.runs == before
    assert world.ask("/http/x", headers={"x-user": "bob"}).seen["x-user"] == "ann"


@pytest.mark.parametrize("status", [201, 302, 401, 403, 404, 429, 499])
def test_a_refusal_is_the_callers_answer(world, status):
    before = world.runs
    world.authorizer.answer = lambda asked: ok(
        status,
        "nicht erlaubt: ä".encode(),
        ("WWW-Authenticate", "Bearer"),
        ("Location", "https://login.example.com/"),
        ("X-Why", "because"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Content-Type", "text/html; charset=utf-8"),
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "them"),
        ("Keep-Alive", "timeout=5"),
    )
    reply = world.ask("/http/x")
    assert (reply.status, reply.body.decode()) == (status, "nicht erlaubt: ä")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert reply.headers["location"] == "https://login.example.com/"
    assert reply.headers["x-why"] == "because"
    assert reply.headers.get_all("set-cookie") == ["a=1", "b=2"]
    assert reply.headers.get_all("content-type") == ["text/html; charset=utf-8"]
    assert "them" not in reply.headers.get_all("server", [])
    assert len(reply.headers.get_all("date", [])) <= 1
    assert reply.headers["keep-alive"] != "timeout=5"
    few = world.ask("/few/x")
    assert (few.status, few.headers["x-why"]) == (status, "because")
    assert few.headers["location"] is not None
    assert few.headers["set-cookie"] is None
    assert few.headers["content-type"] == "text/plain"
    assert world.runs == before


def test_a_refusal_of_a_head_request_has_no_body(world):
    world.authorizer.answer = lambda asked: ok(403, b"", ("x-why", "no"))
    reply = world.ask("/http/x", "HEAD")
    assert (reply.status, reply.body, reply.headers["x-why"]) == (403, b"", "no")


def test_the_connection_goes_on_behind_a_refusal(world):
    world.authorizer.answer = lambda asked: ok(403 if "no" in asked.path else 200, b"no")
    connection = world.server.connect()
    try:
        for target, status in [("/http/no", 403), ("/http/yes", 200), ("/http/no", 403)] * 2:
            assert world.ask(target, connection=connection).status == status
    finally:
        connection.close()


GARBAGE = {
    "nothing": None,
    "words": b"hello\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
    "status 600": b"HTTP/1.1 600 OK\r\nContent-Length: 0\r\n\r\n",
    "half a head": b"HTTP/1.1 200 OK\r\nConnection: close\r\nX-User: ann",
    "lines by LF": b"HTTP/1.1 200 OK\nConnection: close\nContent-Length: 0\n\n",
    "a header folded": b"HTTP/1.1 200 OK\r\nX-User: a\r\n nn\r\nContent-Length: 0\r\n\r\n",
    "a bare CR": b"HTTP/1.1 200 OK\r\nX-User: a\rx-y: b\r\nContent-Length: 0\r\n\r\n",
    "a NUL": b"HTTP/1.1 200 OK\r\nX-User: a\0b\r\nContent-Length: 0\r\n\r\n",
    "a name with a space": b"HTTP/1.1 200 OK\r\nX User: a\r\nContent-Length: 0\r\n\r\n",
    "no header": b"HTTP/1.1 200 OK\r\nX-User\r\nContent-Length: 0\r\n\r\n",
    "a body cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nabc",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "another encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a chunk without size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n",
    "a chunk too long": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2\r\nabc\r\n0\r\n\r\n",
    "chunks cut off": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
    b"Connection: close\r\n\r\n2\r\nab\r\n",
    "a protocol switch": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: close\r\n\r\n",
    "interim without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
    "a head too large": b"HTTP/1.1 200 OK\r\n" + b"X-A: " + b"a" * 100_000 + b"\r\n\r\n",
    "a body too large": b"HTTP/1.1 403 No\r\nContent-Length: 2000000\r\n\r\n" + b"a" * 2_000_000,
    "500": ok(500, b"broken"),
    "503": ok(503, b"busy", ("x-user", "ann")),
}


@pytest.mark.parametrize("name", GARBAGE)
def test_what_is_no_answer_refuses_unless_policy_says_otherwise(world, name):
    """One that is not clearly an answer is none; nothing of it reaches app or caller."""
    before = world.runs
    world.authorizer.answer = lambda asked: GARBAGE[name]
    reply = world.ask("/http/x")
    assert (reply.status, reply.body, reply.headers["x-user"]) == (403, b"", None)
    assert world.runs == before
    assert world.ask("/few/x").status == 503
    assert world.runs == before
    reply = world.ask("/open/x", headers={"x-user": "me"})
    assert (reply.status, reply.seen["x-user"]) == (200, "me")


def test_an_authorizer_that_is_down_refuses(world):
    before = world.runs
    assert (world.ask("/down/x").status, world.runs) == (403, before)


def test_a_slow_authorizer_refuses_in_time(world):
    before = world.runs

    def silent(asked: Asked) -> bytes:
        time.sleep(4)
        return ok()

    world.authorizer.answer = silent
    started = time.monotonic()
    assert world.ask("/late/x").status == 403
    assert time.monotonic() - started < 3.5
    assert world.runs == before
    assert world.ask("/late-open/x").status == 200


def test_answers_in_chunks_or_to_the_end_and_behind_interim_ones_count(world):
    for data in (
        b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end",
        b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n",
    ):
        world.authorizer.answer = lambda asked, data=data: data
        assert world.ask("/http/x").status == 200
    world.authorizer.answer = lambda asked: (
        b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"2\r\nno\r\n4;x=y\r\n way\r\n0\r\n\r\n"
    )
    assert world.ask("/http/x").body == b"no way"


# --- bodies -----------------------------------------------------------------------------------


def test_the_body_is_shown_and_reaches_the_app_unchanged(world):
    body = bytes(range(256)) * 300
    reply = world.ask("/body/x", "POST", {"content-type": "application/octet-stream"}, body)
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (len(body), hashlib.sha256(body).hexdigest())
    asked = world.last()
    assert (asked.body, asked.header("content-length")) == (body, str(len(body)))
    assert asked.header("x-envoy-auth-partial-body") == "false"


def test_a_body_that_is_too_large_is_413_and_nobody_is_asked(world):
    before = world.runs
    reply = world.ask("/body/x", "POST", {}, b"a" * 100_001)
    assert (reply.status, reply.body) == (413, b"Payload Too Large")
    assert (world.authorizer.asked, world.runs) == ([], before)
    assert world.ask("/body/x", "POST", {}, b"a" * 100_000).status == 200


@pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 500_000])
def test_part_of_a_body_is_shown_and_all_of_it_reaches_the_app(world, size):
    body = b"".join(b"%07d\n" % number for number in range(size // 8 + 1))[:size]
    reply = world.ask("/part/x", "POST", {}, body)
    said = json.loads(reply.body)
    assert (said["length"], said["digest"]) == (size, hashlib.sha256(body).hexdigest())
    asked = world.last()
    assert asked.body == body[:1000]
    assert asked.header("x-envoy-auth-partial-body") == ("true" if size > 1000 else "false")


def test_a_chunked_body_is_shown_and_replayed(world):
    def chunks() -> Iterator[bytes]:
        for number in range(20):
            yield b"%03d" % number * 10

    body = b"".join(chunks())
    connection = world.server.connect()
    try:
        connection.request("POST", "/body/x", body=chunks(), encode_chunked=True)
        response = connection.getresponse()
        said = json.loads(response.read())
    finally:
        connection.close()
    assert world.last().body == body
    assert (said["length"], said["digest"]) == (len(body), hashlib.sha256(body).hexdigest())


# --- other protocols --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "answer", "code", "message"),
    [
        ("/http/pkg.Svc/M", ok(403, "nö %".encode()), "7", "n%C3%B6 %25"),
        ("/http/pkg.Svc/M", ok(401, b"who"), "16", "who"),
        ("/http/pkg.Svc/M", ok(429, b""), "14", None),
        ("/http/pkg.Svc/M", ok(302, b""), "2", None),
        ("/http/pkg.Svc/M", None, "7", None),
        ("/few/pkg.Svc/M", None, "14", None),
    ],
)
def test_a_grpc_request_is_refused_in_grpc(world, target, answer, code, message):
    world.authorizer.answer = lambda asked: answer
    reply = world.ask(target, "POST", {"content-type": "application/grpc+proto"}, b"\0\0\0\0\0")
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers.get_all("content-type") == ["application/grpc"]
    assert reply.headers["grpc-status"] == code
    assert reply.headers["grpc-message"] == message


def handshake(server: Server, target: str) -> bytes:
    """Ask for a WebSocket, and return what comes back at once."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        head = (
            f"GET {target} HTTP/1.1\r\nHost: app\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        connection.sendall(head.encode())
        received = b""
        while b"\r\n\r\n" not in received:
            more = connection.recv(65536)
            if not more:
                break
            received += more
        return received


def test_a_websocket_is_asked_about_before_it_is_accepted(world):
    before = world.runs
    world.authorizer.answer = lambda asked: ok(401, b"no", ("x-why", "no"))
    for name in ("http", "body"):
        assert handshake(world.server, f"/ws/{name}/x").startswith(b"HTTP/1.1 401")
    assert world.runs == before
    assert world.last().body == b""
    if world.server.popen.args[0].endswith("uvicorn"):
        world.authorizer.answer = lambda asked: ok(200, b"", ("x-user", "ann"), ("x-ok-a", "1"))
        accepted = handshake(world.server, "/ws/http/x")
        assert accepted.startswith(b"HTTP/1.1 101")
        assert b"x-ok-a: 1" in accepted.lower()
        assert world.runs == before + 1


# --- many, and gone ---------------------------------------------------------------------------


def test_32_at_once_are_asked_about_each_for_itself(world):
    def by_path(asked: Asked) -> bytes:
        number = int(asked.path.rpartition("/")[2])
        time.sleep(0.05)
        return ok(403 if number % 3 == 0 else 200, b"", ("x-user", f"user-{number}"))

    world.authorizer.answer = by_path

    def ask(number: int) -> tuple[int, str | None]:
        reply = world.ask(f"/http/{number}")
        return reply.status, reply.seen["x-user"] if reply.status == 200 else None

    world.authorizer.most_under_way = 0
    with ThreadPoolExecutor(32) as callers:
        found = list(callers.map(ask, range(192)))
    assert found == [
        (403, None) if number % 3 == 0 else (200, f"user-{number}") for number in range(192)
    ]
    assert world.authorizer.most_under_way >= 8


def test_connections_to_the_authorizer_are_used_again(world):
    before = world.authorizer.connections
    for _ in range(20):
        assert world.ask("/http/x").status == 200
    assert world.authorizer.connections - before <= 2


def test_a_connection_that_went_stale_is_no_failure(world):
    """Whatever the method: a question may be asked again."""
    world.authorizer.answer = lambda asked: ok()
    for _ in range(3):
        assert world.ask("/http/x", "POST", {}, b"x").status == 200
        # Answers, and closes behind the answer without a word of it.
        world.authorizer.answer = lambda asked: ok()
        for connection in list(world.authorizer._open):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        assert world.ask("/http/x", "POST", {}, b"x").status == 200


def test_a_caller_that_goes_away_while_it_is_asked_about_reaches_no_handler(world):
    before = world.runs
    is_asked, may_answer = threading.Event(), threading.Event()

    def held(asked: Asked) -> bytes:
        is_asked.set()
        may_answer.wait(10)
        return ok()

    world.authorizer.answer = held
    with socket.create_connection(("127.0.0.1", world.server.port)) as caller:
        caller.sendall(b"GET /open/x HTTP/1.1\r\nHost: app\r\n\r\n")
        assert is_asked.wait(10)
    if world.server.popen.args[0].endswith("uvicorn"):
        time.sleep(0.3)
        may_answer.set()
        time.sleep(0.2)
        assert world.runs == before
    may_answer.set()
    world.authorizer.answer = lambda asked: ok()
    assert world.ask("/http/x").status == 200


# --- functions of the app ---------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/plain", "/async"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/true", 200),
        ("/allow", 200),
        ("/false", 403),
        ("/none", 403),
        ("/deny", 401),
        ("/raise", 403),
        ("/odd", 403),
        ("/slow", 403),
    ],
)
def test_a_function_decides(world, prefix, path, status):
    before = world.runs
    reply = world.ask(prefix + path, headers={"x-user": "me"})
    assert reply.status == status
    assert world.runs == before + (status == 200)
    if path == "/allow":
        seen = reply.seen
        assert seen["x-user"] == "ann"
        assert seen["host"].startswith("127.0.0.1")
        assert "x-envoy-me" not in seen
    if path == "/deny":
        assert (reply.body, reply.headers["www-authenticate"]) == (b"who are you", "Badge")
    assert b"secret" not in reply.body


def test_a_function_that_is_not_registered_refuses_and_is_told_of_once(world):
    before = world.runs
    for _ in range(3):
        reply = world.ask("/nobody/x")
        assert (reply.status, reply.body) == (403, b"RBAC: access denied")
    assert world.runs == before
    assert world.server.words().count("policy asks authorizer 'nobody'") == 1
    assert world.server.words().count("RuntimeError: secret") == 2
