"""Servers that are told where they are mounted: rules are about the whole path all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from wire_servers import PREFIX_SERVERS, Wire, serving_wire

HEAD = b"GET %s HTTP/1.1\r\nHost: app.example\r\n"

# With the prefix and without it: these servers add it, want it, cut it off, or keep it apart.
ADMIN = [
    b"/admin",
    b"/api/admin",
    b"/api//admin",
    b"/api/%61dmin",
    b"/%61pi/admin",
    b"/api%2fadmin",
    b"/api/x/../admin",
    b"/api/../admin",
    b"/api/../api/admin",
    b"/api/..%2fadmin",
    b"/x/../api/admin",
    b"//api/admin",
    b"/admin/x",
    b"/api/admin/x",
    b"/api/admin/../public/x",
    b"/apiadmin",
    b"/xapi/admin",
    b"/api/api/../admin",
    b"/xyz/admin",
]


@pytest.fixture(scope="module", params=list(PREFIX_SERVERS))
def wire(request, tmp_path_factory) -> Iterator[Wire]:
    """Each server with a prefix `/api`."""
    with serving_wire(request.param, tmp_path_factory.mktemp("prefixes")) as server:
        yield server


@pytest.mark.parametrize("target", ADMIN)
def test_no_spelling_runs_what_is_kept_below_a_prefix(wire, target):
    """DENY of `/api/admin` and below; ALLOW of what is public."""
    wrong = []
    for app in wire.apps:
        reply = wire.ask(f"deny below a prefix|{app}", HEAD % target)
        if any(run["handler"] in ("admin", "below") for run in reply.ran):
            wrong.append((app, reply))
        reply = wire.ask(f"allow below a prefix|{app}", HEAD % target)
        if reply.ran:
            wrong.append((app, reply))
    assert not wrong


@pytest.mark.parametrize("target", [b"/admin", b"/admin/x", b"//admin", b"/public/x", b"/%61dmin"])
def test_a_prefix_that_the_server_puts_in_front_allows_nothing(wire, target):
    """Its caller wrote a path that no rule allows, and Istio's policies are about that one."""
    ran = {app: wire.ask(f"allow all with a prefix|{app}", HEAD % target).ran for app in wire.apps}
    assert not any(ran.values()), ran


def test_an_honest_path_reaches_its_handler(wire):
    """The one with the prefix, where the server takes it."""
    for rules in ("deny below a prefix", "allow below a prefix"):
        found = {
            run["handler"]
            for app in ("django", "starlette" if wire.is_asgi else "flask")
            for target in (b"/api/public/x", b"/public/x")
            for run in wire.ask(f"{rules}|{app}", HEAD % target).ran
        }
        assert "public" in found
