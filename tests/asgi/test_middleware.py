"""The ASGI middleware: what only ASGI knows, and what must not be left behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from inbound_drive import asgi_call, asgi_call_async, http_scope
from inbound_scenarios import current_id
from inbound_world import NOTHING, from_, mesh_config, policy, to

import meshware
from meshware.asgi import MeshMiddleware
from meshware.asgi.head import inbound_head
from meshware.call import Call
from meshware.runtime.mesh import Mesh
from meshware.testing import TestMesh


async def ok(scope, receive, send):
    """Answer 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_id().encode()})


async def nothing(*_):
    raise AssertionError("the app was called")


def told(mesh):
    """Status and flags of each event."""
    return [(event.status, event.flags) for event in mesh.events]


# --- WebSockets -----------------------------------------------------------------------------------


def socket(app, target="/chat", *, extensions=None, received=(), headers=(("host", "app"),)):
    """Offer a WebSocket to an app; return what it sent."""
    sent = []
    waiting = [{"type": "websocket.connect"}, *received, {"type": "websocket.disconnect"}]

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    scope = http_scope(target, kind="websocket", headers=headers, extensions=extensions or {})
    asyncio.run(app(scope, receive, send))
    return sent, 2 + len(received) - len(waiting)


async def chat(scope, receive, send):
    """Accept, answer one message, and go."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": current_id()})
    await send({"type": "websocket.close", "code": 1000})


def test_a_websocket_is_refused_before_it_is_accepted():
    """Closed, which servers answer with 403; nothing was received."""
    mesh = TestMesh(policy("DENY", to(paths=["/chat"]), name="quiet"))
    sent, received = socket(MeshMiddleware(nothing, mesh))
    assert sent == [{"type": "websocket.close", "code": 1008, "reason": "RBAC: access denied"}]
    assert received == 0
    [event] = mesh.events
    assert (event.status, event.policy, event.method) == (403, "default/quiet", "GET")


@pytest.mark.parametrize(
    ("policies", "status", "body"),
    [(policy("DENY", {}), 403, b"RBAC: access denied"), (None, 503, b"no policy")],
    ids=["denied", "no policy"],
)
def test_a_websocket_refusal_is_a_response_where_the_server_offers_that(policies, status, body):
    """Status and body as for any other request."""
    mesh = Mesh() if policies is None else TestMesh(policies)
    app = MeshMiddleware(nothing, mesh)
    [start, end], _ = socket(app, extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", status)
    assert (b"content-length", str(len(body)).encode()) in start["headers"]
    assert (end["type"], end["body"]) == ("websocket.http.response.body", body)


def test_a_malformed_websocket_is_closed():
    """As 400 would be."""
    mesh = TestMesh(NOTHING)
    sent, _ = socket(MeshMiddleware(nothing, mesh), headers=())
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert told(mesh) == [(403, "-")]


def test_a_websocket_that_may_pass_carries_the_call():
    """For as long as it lasts; 101 is its status."""
    mesh = TestMesh(policy("ALLOW", to(paths=["/chat"])))
    sent, _ = socket(
        MeshMiddleware(chat, mesh),
        received=[{"type": "websocket.receive", "text": "hi"}],
        headers=(("host", "app"), ("x-request-id", "r-9")),
    )
    assert sent[1] == {"type": "websocket.send", "text": "r-9"}
    assert told(mesh) == [(101, "-")]


def test_a_websocket_that_the_app_refuses_is_403():
    """The server answers so."""

    async def app(scope, receive, send):
        await send({"type": "websocket.close", "code": 4000})

    mesh = TestMesh(NOTHING)
    socket(MeshMiddleware(app, mesh))
    assert told(mesh) == [(403, "-")]


def test_a_websocket_that_the_caller_leaves_has_ended():
    """Neither side owes the other anything."""

    async def app(scope, receive, send):
        await send({"type": "websocket.accept"})
        assert [(await receive())["type"] for _ in "12"][1] == "websocket.disconnect"

    mesh = TestMesh(NOTHING)
    socket(MeshMiddleware(app, mesh))
    assert told(mesh) == [(101, "-")]


# --- other scopes ---------------------------------------------------------------------------------


class Counting(TestMesh):
    """Counts its starts."""

    starts = 0

    def start(self):
        self.starts += 1


def test_lifespan_passes_and_starts_the_mesh():
    """Policy is there before the first call."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["type"], mesh.starts, meshware.current_call()))
        await send({"type": "lifespan.startup.complete"})

    mesh = Counting(policy("DENY", {}))
    scope = {"type": "lifespan", "state": {}}
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(MeshMiddleware(app, mesh)(scope, None, send))
    assert seen == [("lifespan", 1, None)]
    assert sent == [{"type": "lifespan.startup.complete"}]
    assert "meshware" not in scope
    assert mesh.events == []


@pytest.mark.parametrize("kind", ["webtransport", "http3", "", "HTTP"])
def test_a_scope_of_an_unknown_type_is_refused(kind):
    """What the gate cannot read it cannot let pass."""
    app = MeshMiddleware(nothing, TestMesh(NOTHING))
    with pytest.raises(RuntimeError, match="it knows no rules for it"):
        asyncio.run(app({"type": kind}, None, None))


def test_without_policy_every_call_is_503():
    """And may be tried again."""
    answer = asgi_call(MeshMiddleware(nothing, Mesh()))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_the_mesh_of_the_process_is_asked_for_at_the_first_call(monkeypatch):
    """Not at construction: servers fork."""
    monkeypatch.setattr(Mesh, "_process_wide", None)
    app = MeshMiddleware(ok)
    mesh = TestMesh(NOTHING)
    monkeypatch.setattr(Mesh, "_process_wide", mesh)
    assert asgi_call(app).status == 200
    assert told(mesh) == [(200, "-")]


# --- the scope ------------------------------------------------------------------------------------


def test_the_servers_scope_is_not_changed():
    """The app gets a copy, in which what only the mesh may say is missing."""
    inner = []

    async def app(scope, receive, send):
        inner.append(scope)
        await ok(scope, receive, send)

    scope = http_scope("/", headers=[("host", "app"), ("x-envoy-a", "1"), ("x-b", "caf\xe9")])
    before = {**scope, "headers": list(scope["headers"])}
    asgi_call(MeshMiddleware(app, TestMesh(NOTHING)), scope=scope)
    assert scope == before
    [seen] = inner
    assert isinstance(seen["meshware"], Call)
    names = [name for name, _ in seen["headers"]]
    assert names == [b"host", b"x-b", b"x-request-id"]
    assert seen["headers"][1] == (b"x-b", b"caf\xe9")
    assert seen["state"] is scope["state"]


def test_an_inner_middleware_leaves_the_decision_to_the_outer_one():
    """It would see a shortened path, and tell a second event."""
    outer, inner = TestMesh(NOTHING), TestMesh(policy("DENY", {}))
    assert asgi_call(MeshMiddleware(MeshMiddleware(ok, inner), outer)).status == 200
    assert (len(outer.events), inner.events) == (1, [])


def test_no_caller_can_pose_as_an_outer_middleware():
    """Only a call of ours counts."""
    scope = http_scope("/", meshware={"principal": "me"})
    assert (
        asgi_call(MeshMiddleware(nothing, TestMesh(policy("DENY", {}))), scope=scope).status == 403
    )


@pytest.mark.parametrize(
    ("mode", "target", "path", "raw_path"),
    [
        ("BASE", "/a/../b%2fc", "/b/c", b"/b%2fc"),
        ("DECODE_AND_MERGE_SLASHES", "/a/../b%2fc//d?x=1", "/b/c/d", b"/b/c/d"),
        ("NONE", "/a/../b", "/a/../b", b"/a/../b"),
    ],
)
def test_the_app_sees_the_normalised_path_where_mesh_config_asks(mode, target, path, raw_path):
    """As behind Istio's proxy."""
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["path"], scope["raw_path"]))
        await ok(scope, receive, send)

    mesh = TestMesh(mesh_config(pathNormalization={"normalization": mode}))
    asgi_call(MeshMiddleware(app, mesh), target)
    assert seen == [(path, raw_path)]


# --- addresses ------------------------------------------------------------------------------------


class Cycle:
    """Stands where uvicorn's request cycle is."""

    def __init__(self, **extra):
        self.transport = SimpleNamespace(get_extra_info=extra.get)

    async def receive(self):
        raise AssertionError


class Body:
    """Stands where gunicorn's body receiver is: it knows a protocol, which knows the transport."""

    def __init__(self, **extra):
        self.protocol = Cycle(**extra)

    async def receive(self):
        raise AssertionError


async def plain_receive():
    raise AssertionError


PEER, HERE = ("10.0.0.7", 5000), ("10.0.0.1", 8443)


@pytest.mark.parametrize(
    ("receive", "scope", "expected"),
    [
        (plain_receive, {}, ("192.0.2.1", "192.0.2.9", 8000)),
        (Cycle(peername=PEER, sockname=HERE).receive, {}, ("10.0.0.7", "10.0.0.1", 8443)),
        (Body(peername=PEER, sockname=HERE).receive, {}, ("10.0.0.7", "10.0.0.1", 8443)),
        (Cycle(peername=PEER, sockname=HERE).receive, {"client": ("6.6.6.6", 1)},
         ("10.0.0.7", "10.0.0.1", 8443)),
        (Cycle(peername=(*PEER, 0, 0), sockname=("::1", 8443, 0, 0)).receive, {},
         ("10.0.0.7", "::1", 8443)),
        (Cycle(peername="", sockname="/run/app.sock").receive, {}, (None, None, 7000)),
        (Cycle().receive, {}, (None, None, 7000)),
        (plain_receive, {"client": None, "server": None}, (None, None, 7000)),
        (plain_receive, {"server": ("/run/app.sock", None)}, ("192.0.2.1", None, 7000)),
        (plain_receive, {"client": ["192.0.2.5", 1]}, ("192.0.2.5", "192.0.2.9", 8000)),
    ],
    ids=["scope", "uvicorn", "gunicorn", "rewritten client", "IPv6", "Unix socket",
         "closed transport", "nothing said", "server is a Unix socket", "a list"],
)  # fmt: skip
def test_addresses_are_the_transports_where_it_can_be_reached(receive, scope, expected):
    """What a server put into the scope may come from X-Forwarded-For."""
    head = inbound_head(http_scope("/", **scope), receive, 7000)
    assert (head.source_ip, head.destination_ip, head.port) == expected


def test_no_header_moves_an_address():
    """Nor what a server made of one, while the transport is in reach."""
    mesh = TestMesh(policy("ALLOW", from_(ipBlocks=["10.0.0.7/32"])))
    scope = http_scope(
        "/", headers=[("host", "app"), ("x-forwarded-for", "10.0.0.7")], client=("10.0.0.7", 0)
    )
    cycle = Cycle(peername=("192.0.2.1", 5000), sockname=HERE)
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(MeshMiddleware(nothing, mesh)(scope, cycle.receive, send))
    assert sent[0]["status"] == 403


@pytest.mark.parametrize(
    ("scope", "paths", "partial"),
    [
        ({}, ("/a/b",), ()),
        ({"root_path": "/a"}, ("/a/b",), ("/b",)),
        ({"root_path": "/a/"}, ("/a/b",), ("/b",)),
        ({"root_path": "/a/b"}, ("/a/b",), ("",)),
        ({"root_path": "/api"}, ("/api/a/b", "/a/b"), ()),
        ({"root_path": "/a/bc"}, ("/a/bc/a/b", "/a/b"), ()),
        ({"root_path": "/a/b", "path": "/a/bc"}, ("/a/b/a/bc", "/a/bc"), ()),
        ({"raw_path": None}, ("/a/b",), ()),
        ({"raw_path": b""}, ("/a/b",), ()),
    ],
    ids=["plain", "within a mount", "with a last slash", "the mount itself", "kept apart",
         "shorter than the prefix", "beside the prefix", "no raw path", "empty raw path"],
)  # fmt: skip
def test_the_root_path_adds_what_the_app_may_look_at(scope, paths, partial):
    """Frameworks keep the path whole, some servers keep the prefix apart."""
    made = http_scope("/a/b", **scope)
    head = inbound_head(made, plain_receive, None)
    assert (head.paths, head.partial_paths) == (paths, partial)
    assert head.target == ("/a/b" if made["raw_path"] else None)


# --- the current call -----------------------------------------------------------------------------


def test_each_call_has_its_own_current_call():
    """Two that run at once do not see each other's, and nothing stays."""

    async def app(scope, receive, send):
        mine = scope["meshware"].request_id
        for _ in range(5):
            await asyncio.sleep(0)
            assert current_id() == mine
        await ok(scope, receive, send)

    async def both():
        meshed = MeshMiddleware(app, TestMesh(NOTHING))
        scopes = [
            http_scope("/", headers=[("host", "app"), ("x-request-id", f"r{number}")])
            for number in range(20)
        ]
        answers = await asyncio.gather(*(asgi_call_async(meshed, scope) for scope in scopes))
        assert [answer.text for answer in answers] == [f"r{number}" for number in range(20)]
        assert meshware.current_call() is None
        # One after the other in one task, as a server with keep-alive might do it.
        for scope in scopes[:3]:
            await meshed(scope, None, _swallow)
            assert meshware.current_call() is None

    asyncio.run(both())


async def _swallow(message):
    """Send to nobody."""


@pytest.mark.parametrize("failure", [ZeroDivisionError, asyncio.CancelledError])
def test_nothing_is_left_behind_when_the_app_fails(failure):
    """Neither in the task that called it."""

    async def app(scope, receive, send):
        raise failure

    mesh = TestMesh(NOTHING)

    async def call():
        with pytest.raises(failure):
            await MeshMiddleware(app, mesh)(http_scope(), plain_receive, _swallow)
        assert meshware.current_call() is None

    asyncio.run(call())
    assert told(mesh) == [(500, "-") if failure is ZeroDivisionError else (0, "DC")]


def test_an_exception_of_the_app_passes_unchanged():
    """The very same object, whether before or after the response began."""
    for is_late in (False, True):
        error = ZeroDivisionError("mine")

        async def app(scope, receive, send, is_late=is_late, error=error):
            if is_late:
                await send({"type": "http.response.start", "status": 200, "headers": []})
            raise error

        answer = asgi_call(MeshMiddleware(app, TestMesh(NOTHING)))
        assert answer.error is error
        assert answer.messages == (["http.response.start"] if is_late else [])


def test_a_cancelled_call_is_told_once():
    """The caller went away while the app was waiting."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.Event().wait()

    mesh = TestMesh(NOTHING)

    async def cancel():
        task = asyncio.create_task(MeshMiddleware(app, mesh)(http_scope(), None, _swallow))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert told(mesh) == [(200, "DC")]


def test_a_call_that_garbage_collection_ends_is_told_too():
    """A server that drops the coroutine: no error, one event."""

    async def app(scope, receive, send):
        await asyncio.Event().wait()

    mesh = TestMesh(NOTHING)
    call = MeshMiddleware(app, mesh)(http_scope(), None, _swallow)

    async def begin():
        call.send(None)

    asyncio.run(begin())  # a context of its own, in which the call was bound
    call.close()
    assert told(mesh) == [(0, "DC")]
    assert meshware.current_call() is None


# --- the end of a response ------------------------------------------------------------------------


def messages_app(*messages, then=None):
    """An app that sends these, and does something behind them."""

    async def app(scope, receive, send):
        for message in messages:
            await send(message)
        if then is not None:
            then()

    return app


START = {"type": "http.response.start", "status": 200, "headers": []}
BODY = {"type": "http.response.body", "body": b"x"}
MORE = {**BODY, "more_body": True}
TRAILERS = {"type": "http.response.trailers", "headers": []}


@pytest.mark.parametrize(
    ("messages", "flags"),
    [
        ([START, BODY], "-"),
        ([START, MORE, MORE, BODY], "-"),
        ([START, {"type": "http.response.pathsend", "path": "/x"}], "-"),
        ([START, {"type": "http.response.zerocopysend", "file": 3}], "-"),
        ([{**START, "trailers": True}, BODY, {**TRAILERS, "more_trailers": True}, TRAILERS], "-"),
        ([{"type": "http.response.debug", "info": {}}, START, BODY], "-"),
        ([START, MORE], "DC"),
        ([{**START, "trailers": True}, BODY], "DC"),
        ([START], "DC"),
    ],
    ids=["whole", "in pieces", "path", "file", "trailers", "debug", "in the middle",
         "trailers missing", "headers alone"],
)  # fmt: skip
def test_a_response_ends_with_its_last_message(messages, flags):
    """What the app does behind it is not the caller's."""
    mesh = TestMesh(NOTHING)
    seen = []
    app = messages_app(*messages, then=lambda: seen.extend(mesh.events))

    async def call():
        await MeshMiddleware(app, mesh)(http_scope(), None, _swallow)

    asyncio.run(call())
    assert told(mesh) == [(200, flags)]
    assert bool(seen) is (flags == "-"), "told before background work begins"


def test_a_caller_that_leaves_is_no_failure_of_the_app():
    """The server's `send` raises, and the app lets that pass."""
    mesh = TestMesh(NOTHING)
    answer = asgi_call(MeshMiddleware(messages_app(START, MORE, MORE, BODY), mesh), close_after=1)
    assert isinstance(answer.error, OSError)
    assert told(mesh) == [(200, "DC")]


def test_a_caller_that_leaves_before_a_refusal_is_told():
    """The refusal was decided all the same."""
    mesh = TestMesh(policy("DENY", {}))

    async def send(message):
        raise OSError("gone")

    async def call():
        with pytest.raises(OSError, match="gone"):
            await MeshMiddleware(nothing, mesh)(http_scope(), None, send)

    asyncio.run(call())
    assert told(mesh) == [(403, "DC")]


# --- what servers do behind the mesh's back -------------------------------------------------------


@pytest.mark.parametrize("has_id", [True, False])
def test_headers_that_a_server_adds_later_never_reach_the_app(has_id):
    """uvicorn puts the trailers of a chunked body behind the headers, in the very same list."""
    seen = []

    async def app(scope, receive, send):
        await receive()
        seen.extend(name for name, _ in scope["headers"])
        await ok(scope, receive, send)

    known = [("x-request-id", "6f1c0000-0000-4000-8000-000000000000")] if has_id else []
    scope = http_scope("/", headers=[("host", "app"), *known])

    async def receive():
        scope["headers"].append((b"x-role", b"admin"))
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_message):
        pass

    asyncio.run(MeshMiddleware(app, mesh=TestMesh(NOTHING))(scope, receive, send))
    assert b"host" in seen
    assert b"x-role" not in seen
