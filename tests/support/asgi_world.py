"""What tests of the ASGI middleware share: apps, and what was told of calls."""

from __future__ import annotations

from inbound_scenarios import current_id


async def ok(scope, receive, send):
    """Answer 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_id().encode()})


async def nothing(*_):
    raise AssertionError("the app was called")


def told(mesh):
    """Status and flags of each event."""
    return [(event.status, event.flags) for event in mesh.events]


async def plain_receive():
    raise AssertionError


async def swallow(message):
    """Send to nobody."""
