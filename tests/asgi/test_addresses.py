"""Where an ASGI call came from, and where it came in."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest
from asgi_world import nothing, plain_receive
from inbound_drive import http_scope
from inbound_world import from_, policy

from meshware.asgi import MeshMiddleware
from meshware.asgi.head import inbound_head
from meshware.testing import TestMesh


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
