"""HTTP/2 under real servers: what `:authority`, `:path` and `:method` say is decided on, once."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ConnectionTerminated, ResponseReceived, StreamEnded, StreamReset
from wire_servers import Reply, Wire, serving_wire

Pairs = Sequence[tuple[str, str]]

PATIENCE_S = 5.0


@pytest.fixture(scope="module", params=["hypercorn", "granian asgi", "granian wsgi"])
def wire(request, tmp_path_factory) -> Iterator[Wire]:
    """Servers that speak it without TLS, to those who know."""
    with serving_wire(request.param, tmp_path_factory.mktemp("http2")) as server:
        yield server


def ask(wire: Wire, world: str, headers: Pairs) -> Reply:
    """Send one request, however malformed, and tell what ran for it."""
    config = H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"
    )
    state = H2Connection(config)
    state.initiate_connection()
    state.send_headers(1, [*headers, ("x-world", world)], end_stream=True)
    status: int | None = None
    with socket.create_connection(("127.0.0.1", wire.port), PATIENCE_S) as connection:
        connection.sendall(state.data_to_send())
        is_over = False
        while not is_over:
            data = connection.recv(65536)
            if not data:
                break
            for event in state.receive_data(data):
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers)[":status"])
                is_over |= isinstance(event, StreamEnded | StreamReset | ConnectionTerminated)
            try:
                connection.sendall(state.data_to_send())
            except OSError:
                break  # the server has refused the connection
    return Reply(status, wire.runs(), b"")


def pairs(
    path: str = "/x", authority: str | None = "app.example", method: str = "GET", *more: tuple
) -> Pairs:
    """The headers of a request."""
    first = [(":method", method), (":scheme", "http"), (":path", path)]
    if authority is not None:
        first.append((":authority", authority))
    return [*first, *more]


def test_an_honest_request_passes(wire):
    """Its handler runs once, and sees the authority as its host."""
    for app in wire.apps:
        reply = ask(wire, f"allow public|{app}", pairs("/public/x"))
        assert (reply.status, [run["handler"] for run in reply.ran]) == (200, ["public"]), app
        assert reply.ran[0]["host"] == "app.example"


@pytest.mark.parametrize(
    "path",
    ["/admin", "//admin", "/%61dmin", "/admin?x", "/admin#f", "/x/../admin", "/x%2f..%2fadmin",
     "/x%5c..%5cadmin", "/admin%00", "/admin%0a", "http://app.example/admin", "admin", ""],
)  # fmt: skip
def test_no_spelling_of_a_path_runs_what_is_kept(wire, path):
    """Refused by the mesh, or by the server."""
    for world in ("deny exact|tidy", "allow public|tidy"):
        reply = ask(wire, world, pairs(path))
        assert (reply.ran, reply.status in (400, 403, 404, None)) == ((), True), reply


@pytest.mark.parametrize("path", ["/admin/../public/x", "/admin/%2e%2e/public/x",
                                  "/admin%2f..%2fpublic/x", "/admin%5c..%5cpublic/x"])  # fmt: skip
def test_dots_behind_what_is_kept_run_nothing(wire, path):
    """Whatever the app makes of them."""
    for app in wire.apps:
        reply = ask(wire, f"allow public|{app}", pairs(path))
        assert (reply.ran, reply.status) == ((), 403), (app, reply)


@pytest.mark.parametrize(
    "headers",
    [
        pairs("/x", "evil.example"),
        pairs("/x", "EVIL.example.:80"),
        pairs("/x", "evil.example", "GET", ("host", "app.example")),
        pairs("/x", "app.example", "GET", ("host", "evil.example")),
        pairs("/x", None, "GET", ("host", "evil.example")),
        pairs("/x", None, "GET", ("host", "app.example"), ("host", "evil.example")),
        pairs("/x", None),
        pairs("/x", "app.example/admin?"),
    ],
    ids=["authority", "written otherwise", "a good Host beside it", "a bad Host beside it",
         "Host alone", "two Hosts", "neither", "no authority's grammar"],
)  # fmt: skip
def test_authority_and_host_are_one(wire, headers):
    """No handler is told a name that policy denies, and none decides on another than it is told."""
    for world in ("deny host|raw", "allow host|raw"):
        reply = ask(wire, world, headers)
        assert all(run["host"] == "app.example" for run in reply.ran), reply
        assert reply.status in (200, 400, 403, None)


def test_every_line_of_a_header_counts(wire):
    """As in HTTP/1."""
    for lines in (["user", "admin"], ["user, admin"], ["admin "]):
        more = [("x-role", line) for line in lines]
        assert ask(wire, "deny role|raw", pairs("/x", "app.example", "GET", *more)).ran == ()
        assert ask(wire, "allow role|raw", pairs("/x", "app.example", "GET", *more)).ran == ()


def test_a_method_in_small_letters_runs_nothing(wire):
    """A framework may take it for the one in capitals."""
    assert ask(wire, "deny method|raw", pairs("/x", "app.example", "delete")).ran == ()
