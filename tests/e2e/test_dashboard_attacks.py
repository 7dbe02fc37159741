"""What the dashboard's server does with clients that mean ill, over real connections."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest
from command_forge import forging
from sync_runs import Daemon, daemon, write
from sync_world import service

TOKEN = "0123456789abcdef-a-token"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address of a daemon's dashboard."""
    place = tmp_path_factory.mktemp("dashboard")
    (place / "mesh").mkdir()
    write(place / "mesh" / "shop.yaml", service("shop"))
    (place / "mesh" / "secret.txt").write_text("nobody's business")
    with forging(place) as forge, daemon(forge, "--listen", "127.0.0.1:0") as made:
        made.wait_for(lambda: made.generation() == 1)
        yield made


def connected(served) -> socket.socket:
    host, _, port = served.status().listen.rpartition(":")
    return socket.create_connection((host, int(port)), PATIENCE_S)


def ask(served, method: str, path: str, body: bytes | None = None, **headers: str):
    """Status, headers and body of one request."""
    connection = http.client.HTTPConnection(served.status().listen, timeout=PATIENCE_S)
    try:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=body, headers=names)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def raw(served, text: bytes) -> bytes:
    """What is answered to bytes."""
    with connected(served) as connection:
        connection.sendall(text)
        return read_all(connection)


def read_all(connection: socket.socket) -> bytes:
    seen = b""
    while more := connection.recv(65536):
        seen += more
    return seen


@pytest.mark.parametrize(
    "path",
    [
        "/static/../api.py",
        "/static/%2e%2e/api.py",
        "/static/..%2fapi.py",
        "/static/..%5capi.py",
        "/static//etc/passwd",
        "/static/%2fetc/passwd",
        "/static/....//api.py",
        "/static/main.js/../../api.py",
        "/static/\x00",
        "/../../etc/passwd",
    ],
)
def test_no_path_leads_out_of_the_pages_directory(served, path):
    text = raw(
        served,
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode("latin-1"),
    )
    assert text.split()[1] in (b"400", b"404"), text[:200]
    assert b"root:" not in text
    assert b"import" not in text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/api/graph", "/api/events", "/metrics", "/static/main.js"])
def test_nothing_but_get_is_answered(served, method, path):
    status, headers, _ = ask(served, method, path)
    assert (status, headers["allow"]) == (405, "GET, HEAD")
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["/", "/api/policy", "/metrics", "/healthz", "/static/main.js"])
def test_no_other_origin_may_read_or_frame(served, path):
    _, headers, _ = ask(served, "GET", path, Origin="http://evil.example")
    assert "access-control-allow-origin" not in headers
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_is_not_answered(served, site):
    """Another port of the loopback is the same site, with the same cookies, and not the page."""
    assert ask(served, "GET", "/api/policy", Sec_Fetch_Site=site)[0] == 403
    assert ask(served, "GET", "/api/policy", Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(served, "GET", "/", Sec_Fetch_Site=site)[0] == 200, "a link to the page"


@pytest.mark.parametrize("path", ["/", "/api/calls", "/api/events", "/static/main.js", "/healthz"])
@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:1", "file://127.0.0.1", "http://["],
)
def test_an_origin_that_is_not_the_servers_own_is_refused(served, path, origin):
    """Browsers send no Sec-Fetch headers to plain HTTP at a name, and Origin they do."""
    assert ask(served, "GET", path, Origin=origin)[0] == 403
    assert ask(served, "GET", "/metrics", Origin=origin)[0] == 200


def test_the_servers_own_origin_is_answered(served):
    own = served.status().listen
    assert ask(served, "GET", "/api/calls", Origin=f"http://{own}")[0] == 200
    assert ask(served, "GET", "/", Host="LOCALHOST", Origin="http://localhost")[0] == 200
    assert ask(served, "GET", "/", Host="localhost", Origin="https://localhost:443")[0] == 200
    assert ask(served, "GET", "/", Host="localhost:81", Origin="http://localhost")[0] == 403


@pytest.mark.parametrize("path", ["/api/graph", "/api/events", "/static/main.js", "/metrics", "/"])
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "0x7f.1", "a@localhost"]
)
def test_a_name_that_was_rebound_to_this_machine_is_refused(served, path, host):
    assert ask(served, "GET", path, Host=host)[0] == 403


def test_two_hosts_are_none(served):
    text = raw(
        served,
        b"GET /api/graph HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n"
        b"Connection: close\r\n\r\n",
    )
    assert text.split()[1] in (b"400", b"403")


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01" + bytes(5000),
    ],
    ids=["header", "path", "tls"],
)
def test_what_is_too_long_or_no_request_ends(served, text):
    try:
        answer = raw(served, text)
    except ConnectionError:
        answer = b""  # it did not wait for the rest
    assert not answer or answer.split()[1][:1] == b"4"
    assert ask(served, "GET", "/healthz")[0] == 200


def test_a_body_without_end_is_not_waited_for(served):
    head = b"POST /api/graph HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"
    with connected(served) as connection:
        connection.sendall(head + b"x" * 1000)
        assert connection.recv(65536).split()[1] == b"405"


@pytest.mark.parametrize("path", ["/?" + "a=1&" * 1000, "/?token=%ff%fe", "/?token=" + "x" * 5000])
def test_a_query_of_any_kind_is_no_trouble(served, path):
    assert ask(served, "GET", path)[0] == 200


def test_those_who_connect_and_ask_nothing_lock_nobody_out(served):
    """More of them than the server takes; it lets them go, and answers again."""
    idle = [connected(served) for _ in range(220)]
    try:
        idle[0].sendall(b"GET /api/graph HTTP/1.1\r\nHost: loc")
        until = time.monotonic() + PATIENCE_S
        while (status := _status(served)) != 200 and time.monotonic() < until:
            time.sleep(0.2)
        assert status == 200
    finally:
        for connection in idle:
            connection.close()


def _status(served) -> int:
    try:
        return ask(served, "GET", "/api/graph")[0]
    except (OSError, http.client.HTTPException):
        return 0


def test_streams_that_nobody_reads_lock_nobody_out(served):
    """As many as may watch, none of whom reads: others are told, and see the graph meanwhile."""
    request = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    idle = [connected(served) for _ in range(40)]
    try:
        for connection in idle:
            connection.sendall(request)
        until = time.monotonic() + PATIENCE_S
        while (told := ask_events(served))[0] != 503 and time.monotonic() < until:
            time.sleep(0.1)
        assert (told[0], "too many" in told[1]) == (503, True)
        assert ask(served, "GET", "/api/graph")[0] == 200
    finally:
        for connection in idle:
            connection.close()
    until = time.monotonic() + PATIENCE_S
    while (told := ask_events(served))[0] != 200 and time.monotonic() < until:
        time.sleep(0.1)
    assert told[0] == 200, "places are free again when watchers have gone"


def ask_events(served) -> tuple[int, str]:
    """Status of a stream, and what was refused."""
    connection = http.client.HTTPConnection(served.status().listen, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/api/events")
        response = connection.getresponse()
        return response.status, "" if response.status == 200 else response.read().decode()
    finally:
        connection.close()


def test_a_daemon_with_watchers_ends_in_good_order(tmp_path):
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    with forging(tmp_path) as forge:
        made = Daemon(forge, "--listen", "127.0.0.1:0")
        made.wait_for(
            lambda: made.generation() == 1 and (said := made.status_yet()) and said.listen
        )
        with connected(made) as watching:
            watching.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in watching.recv(65536)
            assert made.end().code == 0
            assert b"HTTP/1.1" not in read_all(watching)


def test_the_token_is_in_no_log_and_no_answer(tmp_path):
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "token").chmod(0o600)
    options = ("--listen", "127.0.0.1:0", "--dashboard-token-file", str(tmp_path / "token"))
    with forging(tmp_path) as forge, daemon(forge, *options) as made:
        made.wait_for(lambda: made.generation() == 1)
        assert ask(made, "GET", f"/?token={TOKEN}x")[0] == 403
        status, headers, body = ask(made, "GET", f"/?token={TOKEN}")
        assert (status, headers["location"], body) == (303, "/", b"")
        assert headers["referrer-policy"] == "no-referrer"
        raw(made, f"GET /?token={TOKEN} HTP/1.1\r\n\r\n".encode())
        cookie = f"meshware_dashboard={TOKEN}"
        for path in ("/", "/api/graph", "/api/policy", "/api/workers", "/metrics"):
            status, _, body = ask(made, "GET", path, Cookie=cookie)
            assert status == 200
            assert TOKEN.encode() not in body
        assert json.loads(ask(made, "GET", "/api/workers", Cookie=cookie)[2])["workers"] == []
        assert TOKEN not in made.out() + made.err()
