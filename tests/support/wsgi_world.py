"""What tests of the WSGI middleware share: apps, and what was told of calls."""

from __future__ import annotations

from inbound_scenarios import current_id


def ok(environ, start_response):
    """Answer 200 with the request id."""
    start_response("200 OK", [("content-type", "text/plain")])
    return [current_id().encode()]


def nothing(*_):
    raise AssertionError("the app was called")


def told(mesh):
    """Status and flags of each event."""
    return [(event.status, event.flags) for event in mesh.events]
