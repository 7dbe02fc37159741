"""The ASGI middleware: what only ASGI knows, and what must not be left behind."""

from __future__ import annotations

import asyncio

import pytest
from asgi_world import nothing, ok, told
from inbound_drive import asgi_call, http_scope
from inbound_world import NOTHING, mesh_config, policy

import meshware
from meshware.asgi import MeshMiddleware
from meshware.call import Call
from meshware.runtime.mesh import Mesh
from meshware.testing import TestMesh


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
