"""A mesh within a mount decides on the whole path, wherever dots lead, whoever set the prefix."""

from __future__ import annotations

import pytest
from inbound_drive import environ_of, http_scope
from inbound_world import mesh_config, policy, to
from mounts import MODES, PLACES, PREFIX, dispatched, mounted, run_asgi, run_wsgi
from wire_apps import ASGI_APPS, RAN, WSGI_APPS

from meshware.asgi import MeshMiddleware as AsgiMesh
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMesh

BELOW = [place for place in PLACES if place.prefix]

# Behind the prefix: each may end at `/admin`, or at `/api/admin` for an app that is mounted there.
LEADING_OUT = [
    "/../admin",
    "/../api/admin",
    "/x/../../admin",
    "/%2e%2e/admin",
    "/..%2fadmin",
    "/..%5cadmin",
    "/../../admin",
    "//../admin",
    "/../admin/x",
]


@pytest.mark.parametrize("target", LEADING_OUT)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", BELOW, ids=lambda place: place.name)
def test_dots_that_lead_out_of_a_mount_run_nothing_that_is_kept(place, mode, target):
    """The app may take all of a rewritten path for what is behind its prefix."""
    _, ran = place.decide("DENY", mode, target)
    assert not set(ran) & {"admin", "below"}
    _, ran = place.decide("ALLOW", mode, target)
    assert ran == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("place", BELOW, ids=lambda place: place.name)
def test_a_rule_about_the_whole_path_is_met_within(place, mode):
    """`/api/admin`, where the app sees `/admin`."""
    for target in ("/admin", "/admin/x", "/%61dmin"):
        assert place.decide("DENY", mode, target) == (403, []), target
    assert place.decide("DENY", mode, "/public/x") == (200, ["public"])


def test_what_is_beside_a_prefix_is_not_behind_it():
    """hypercorn with the root path `/api` is asked for `/apix`: all of it is behind the prefix."""
    mesh = TestMesh(policy("DENY", to(paths=["/api/apix"])))
    RAN.clear()
    run_asgi(AsgiMesh(ASGI_APPS["raw"](), mesh), http_scope("/apix", root_path="/api"))
    assert ([event.status for event in mesh.events], RAN) == ([403], [])


@pytest.mark.parametrize("mode", MODES)
def test_mounts_within_mounts_are_one_prefix(mode):
    """Rules know nothing of how an app is put together."""
    config = [] if mode is None else [mesh_config(pathNormalization={"normalization": mode})]
    rules = policy("DENY", to(paths=[f"{PREFIX}{PREFIX}/admin"]))
    RAN.clear()
    mesh = TestMesh([rules, *config])
    inner = AsgiMesh(ASGI_APPS["starlette"](), mesh)
    target = f"{PREFIX}{PREFIX}/admin"
    run_asgi(mounted(mounted(inner)), http_scope(target))
    run_wsgi(dispatched(dispatched(WsgiMesh(WSGI_APPS["flask"](), mesh))), environ_of(target))
    assert ([event.status for event in mesh.events], RAN) == ([403, 403], [])


@pytest.mark.parametrize("target", ["/admin", "/%61dmin", "/../api/admin", "/admin/x"])
def test_a_websocket_within_a_mount_is_decided_on_the_whole_path(target):
    """And before it is accepted."""
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    mesh = TestMesh(policy("DENY", to(paths=[f"{PREFIX}/admin", f"{PREFIX}/admin/*"])))
    app = mounted(AsgiMesh(ASGI_APPS["starlette"](), mesh))
    RAN.clear()
    with pytest.raises(StopIteration):
        app(http_scope(PREFIX + target, kind="websocket"), receive, send).send(None)
    assert (sent, RAN) == (["websocket.close"], [])


def test_an_outer_mesh_decides_alone():
    """On the whole path; one within it adds nothing, whichever rules it has."""
    outer = TestMesh(policy("DENY", to(paths=[f"{PREFIX}/admin"])))
    inner = TestMesh(policy("DENY", to(paths=["/*"])))
    asgi = AsgiMesh(mounted(AsgiMesh(ASGI_APPS["starlette"](), inner)), outer)
    wsgi = WsgiMesh(dispatched(WsgiMesh(WSGI_APPS["flask"](), inner)), outer)
    RAN.clear()
    for path in ("/admin", "/public/x"):
        run_asgi(asgi, http_scope(PREFIX + path))
        run_wsgi(wsgi, environ_of(PREFIX + path))
    assert [event.status for event in outer.events] == [403, 403, 200, 200]
    assert (inner.events, RAN) == ([], ["public", "public"])
