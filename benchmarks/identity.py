"""What identities cost: one chain's verification, a handshake, and a request on a connection.

Handshakes and requests run between two sockets of this process, so a figure is both ends' CPU. The
bare handshake has the same certificates in contexts of Python's `ssl` alone, mutual as well: what
lies between it and the mesh's is the mesh's, the rest is TLS.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.measure import Timing, cpu, in_turns, table
from meshware.clock import SystemClock
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import SpiffeID
from meshware.identity.tls import check_peers, mesh_client_context, mesh_server_context
from meshware.identity.verify import load_chain, verify_chain

__all__ = ["run"]

_REQUEST = b"GET /reviews/1 HTTP/1.1\r\nHost: reviews\r\nAccept: */*\r\n\r\n"
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 512\r\n\r\n" + b"x" * 512


class _World:
    """A server and a client of one trust domain, below an intermediate."""

    def __init__(self) -> None:
        now = datetime.now(UTC)
        root = issue_root("cluster.local", new_key(), now, 86_400)
        issuer = issue_intermediate(root, new_key(), now, 86_400)
        spiffe_id = SpiffeID.parse("spiffe://cluster.local/ns/default/sa/reviews")
        self.svid = issue_svid(issuer, spiffe_id, new_key(), now)
        self.bundles = Bundles([Bundle("cluster.local", (root.certificate,))])
        clock = SystemClock().now
        self.server = mesh_server_context(self.svid, self.bundles, clock)
        self.client = mesh_client_context(
            self.svid, self.bundles, frozenset([str(spiffe_id)]), clock
        )
        self.bare_server = mesh_server_context(self.svid, self.bundles, clock)
        self.bare_client = mesh_client_context(
            self.svid, self.bundles, frozenset([str(spiffe_id)]), clock
        )
        for context in (self.bare_server, self.bare_client):
            check_peers(context, lambda _: None)
            context.sslobject_class, context.sslsocket_class = ssl.SSLObject, ssl.SSLSocket


def _verifications(world: _World) -> dict[str, Callable[[int], object]]:
    ders = [one.public_bytes(Encoding.DER) for one in world.svid.chain]
    now = datetime.now(UTC)

    def anew(count: int) -> None:
        for _ in range(count):
            world.bundles.known.clear()
            verify_chain(load_chain(ders), world.bundles, now, "client")

    def again(count: int) -> None:
        for _ in range(count):
            verify_chain(load_chain(ders), world.bundles, now, "client")

    return {"a chain, seen for the first time": anew, "a chain that is known": again}


def _connections(
    server: ssl.SSLContext | None, client: ssl.SSLContext | None, before: Callable[[], object]
) -> Callable[[int], object]:
    """Return work that connects so many times; both ends are this process's."""

    def work(count: int) -> None:
        with socket.create_server(("127.0.0.1", 0), backlog=16) as listener:
            address = listener.getsockname()

            def serve() -> None:
                for _ in range(count):
                    with contextlib.ExitStack() as stack:
                        far: Any = stack.enter_context(listener.accept()[0])
                        if server is not None:
                            far = stack.enter_context(server.wrap_socket(far, server_side=True))
                        far.sendall(b"x")

            thread = threading.Thread(target=serve)
            thread.start()
            for _ in range(count):
                before()
                with contextlib.ExitStack() as stack:
                    near: Any = stack.enter_context(socket.create_connection(address))
                    if client is not None:
                        near = stack.enter_context(client.wrap_socket(near))
                    near.recv(1)
            thread.join()

    return work


def _requests(
    server: ssl.SSLContext | None, client: ssl.SSLContext | None
) -> Callable[[int], object]:
    """Return work that sends so many requests over one connection that stays open."""

    def work(count: int) -> None:
        near, far = socket.socketpair()
        with contextlib.ExitStack() as stack:

            def serve() -> None:
                end: Any = far
                with far:
                    if server is not None:
                        end = server.wrap_socket(far, server_side=True)
                    with end:
                        while end.recv(4096):
                            end.sendall(_ANSWER)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join)
            end: Any = stack.enter_context(near)
            if client is not None:
                end = stack.enter_context(client.wrap_socket(near))
            for _ in range(count):
                end.sendall(_REQUEST)
                end.recv(4096)
            end.shutdown(socket.SHUT_RDWR)

    return work


def _print(title: str, timings: dict[str, Timing], bare: str) -> None:
    rows = []
    for name, timing in timings.items():
        pairs = zip(timing.rounds_us, timings[bare].rounds_us, strict=True)
        ratios = sorted(mine / theirs for mine, theirs in pairs)
        ratio = f"x{ratios[len(ratios) // 2]:.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        rows.append([name, f"{timing.median_us:.1f}", f"{timing.spread:.0%}", ratio])
    table(title, ("", "us", "spread", f"to {bare!r}"), rows)


def run() -> None:
    """Print the tables of identities."""
    world = _World()

    def measured(variants: dict[str, Callable[[int], object]]) -> dict[str, Timing]:
        return in_turns({name: cpu(work) for name, work in variants.items()})

    def keep() -> None:
        pass

    known = "a chain that is known"
    _print("Identity: a chain of two certificates", measured(_verifications(world)), known)
    forget = world.bundles.known.clear
    connections = {
        "TCP alone": _connections(None, None, keep),
        "bare ssl, mutual": _connections(world.bare_server, world.bare_client, keep),
        "mesh, both ends known": _connections(world.server, world.client, keep),
        "mesh, both ends new": _connections(world.server, world.client, forget),
    }
    title = "Identity: a connection, both ends' CPU"
    _print(title, measured(connections), "bare ssl, mutual")
    requests = {
        "plain": _requests(None, None),
        "bare ssl, mutual": _requests(world.bare_server, world.bare_client),
        "mesh": _requests(world.server, world.client),
    }
    _print("Identity: a request on a kept connection, both ends' CPU", measured(requests), "plain")
