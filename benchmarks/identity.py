"""What mutual TLS costs, a handshake and a request, and which share of it is Python's own `ssl`."""

from __future__ import annotations

import socket
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding

from benchmarks.measure import Timing, Work, cpu, in_turns, table
from meshware.identity.bundle import Bundle, Bundles
from meshware.identity.issue import issue_intermediate, issue_root, issue_svid, new_key
from meshware.identity.spiffe import workload_id
from meshware.identity.svid import X509SVID
from meshware.identity.tls import mesh_client_context, mesh_server_context
from meshware.identity.verify import load_chain, verify_chain

__all__ = ["run"]

_DOMAIN = "cluster.local"
_HEAD = ("", "us", "x", "spread")


def _now() -> datetime:
    return datetime.now(UTC)


class _World:
    """Two workloads of a mesh, and the contexts with which they talk, ours and plain ones."""

    def __init__(self, directory: Path) -> None:
        root = issue_root(_DOMAIN, new_key(), _now(), 1e7)
        authority = issue_intermediate(root, new_key(), _now(), 1e6)
        self.bundles = Bundles([Bundle(_DOMAIN, (root.certificate,))])

        def issue(name: str) -> X509SVID:
            return issue_svid(authority, workload_id(_DOMAIN, "default", name), new_key(), _now())

        self.web, self.api = issue("web"), issue("api")
        self.chain = tuple(one.public_bytes(Encoding.DER) for one in self.web.chain)
        expected = frozenset([str(self.api.id)])
        self.ours = (
            mesh_client_context(self.web, self.bundles, expected, _now),
            mesh_server_context(self.api, self.bundles, _now),
        )
        pem = root.certificate.public_bytes(Encoding.PEM).decode()
        self.bare = tuple(
            _bare(protocol, svid, pem, directory)
            for protocol, svid in (
                (ssl.PROTOCOL_TLS_CLIENT, self.web),
                (ssl.PROTOCOL_TLS_SERVER, self.api),
            )
        )


def _bare(protocol: int, svid: X509SVID, root: str, directory: Path) -> ssl.SSLContext:
    """Return a context that does what OpenSSL does by itself with the same certificates."""
    context = ssl.SSLContext(protocol)
    context.check_hostname, context.verify_mode = False, ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=root)
    path = directory / f"{svid.id.service_account}.pem"
    path.write_text(svid.pem)
    context.load_cert_chain(path)
    return context


@contextmanager
def _answering(server: ssl.SSLContext | None) -> Iterator[tuple[str, int]]:
    """Serve requests over every connection, each with a small answer."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"

    def serve(connection: socket.socket) -> None:
        try:
            if server is not None:
                connection = server.wrap_socket(connection, server_side=True)
            while connection.recv(4096):
                connection.sendall(answer)
        except OSError:
            pass
        finally:
            connection.close()

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()
    finally:
        listener.close()


def _connect(where: tuple[str, int], client: ssl.SSLContext | None) -> Any:
    connection = socket.create_connection(where)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if client is None:
        return connection
    return client.wrap_socket(connection, server_hostname="outbound_.80_._.api")


_REQUEST = b"GET / HTTP/1.1\r\nhost: api\r\n\r\n"


def _ask(connection: Any) -> None:
    connection.sendall(_REQUEST)
    connection.recv(4096)


def _new_connections(where: tuple[str, int], client: ssl.SSLContext | None) -> Work:
    def work(count: int) -> None:
        for _ in range(count):
            with _connect(where, client) as connection:
                _ask(connection)

    return cpu(work)


def _kept_connection(where: tuple[str, int], client: ssl.SSLContext | None) -> Work:
    connection = _connect(where, client)

    def work(count: int) -> None:
        for _ in range(count):
            _ask(connection)

    return cpu(work)


def _print(title: str, timings: dict[str, Timing], bare: str) -> None:
    base = timings[bare].median_us
    rows = [
        (name, f"{each.median_us:.0f}", f"{each.median_us / base:.2f}", f"{each.spread:.0%}")
        for name, each in timings.items()
    ]
    table(title, _HEAD, rows)


def run() -> None:
    """Print the rows of identities."""
    with tempfile.TemporaryDirectory() as place:
        world = _World(Path(place))
        with (
            _answering(None) as plain,
            _answering(world.bare[1]) as bare,
            _answering(world.ours[1]) as ours,
        ):
            ends: dict[str, tuple[tuple[str, int], ssl.SSLContext | None]] = {
                "plain TCP": (plain, None),
                "ssl alone, both ends verified by OpenSSL": (bare, world.bare[0]),
                "mutual TLS of the mesh": (ours, world.ours[0]),
            }
            _print(
                "A connection and one request over it, CPU of both ends",
                in_turns({name: _new_connections(*end) for name, end in ends.items()}),
                "ssl alone, both ends verified by OpenSSL",
            )
            _print(
                "One request over a connection that is kept, CPU of both ends",
                in_turns({name: _kept_connection(*end) for name, end in ends.items()}),
                "plain TCP",
            )
    chain = load_chain(world.chain)
    checks: dict[str, Callable[[], object]] = {
        "a chain read": lambda: load_chain(world.chain),
        "a chain verified": lambda: verify_chain(chain, world.bundles, _now(), "client"),
    }
    table(
        "What the mesh adds to a handshake at each end",
        ("", "us", "spread"),
        [
            (name, f"{each.median_us:.0f}", f"{each.spread:.0%}")
            for name, each in in_turns(
                {name: _repeated(check) for name, check in checks.items()}
            ).items()
        ],
    )


def _repeated(check: Callable[[], object]) -> Work:
    def work(count: int) -> float:
        began = time.process_time()
        for _ in range(count):
            check()
        return time.process_time() - began

    return work
