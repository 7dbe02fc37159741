"""The dashboard as a daemon serves it."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import socket

import pytest
from command_forge import forging
from sync_runs import daemon, write
from sync_world import BROKEN, service

TOKEN = "0123456789abcdef-a-token"


@pytest.fixture
def place(tmp_path):
    """A directory with a source of one service."""
    (tmp_path / "mesh").mkdir()
    write(tmp_path / "mesh" / "shop.yaml", service("shop"))
    return tmp_path


@pytest.fixture
def forge(place):
    """A maker of daemons."""
    with forging(place) as made:
        yield made


def get(where: str, path: str, **headers: str) -> tuple[int, str]:
    """Status and body."""
    host, _, port = where.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_policy_and_what_publishes_changed_are_shown(place, forge):
    with daemon(forge, "--listen", "127.0.0.1:0") as made:
        made.wait_for(lambda: made.generation() == 1)
        where = made.status().listen
        policy = json.loads(get(where, "/api/policy")[1])
        assert policy["refused"] is None
        assert all(resource["text"] and resource["line"] for resource in policy["resources"])
        write(place / "mesh" / "cart.yaml", service("cart"))
        made.wait_for(lambda: json.loads(get(where, "/api/policy")[1])["changes"])
        (change,) = json.loads(get(where, "/api/policy")[1])["changes"]
        assert any("cart" in name for name in change["added"])
        assert not change["removed"]
        write(place / "mesh" / "broken.yaml", BROKEN)
        made.wait_for(lambda: json.loads(get(where, "/api/policy")[1])["refused"])
        assert get(where, "/api/graph", Host="evil.example")[0] == 403


def test_events_come_each_second_and_an_idle_reader_holds_up_nobody(place, forge):
    with daemon(forge, "--listen", "127.0.0.1:0") as made:
        made.wait_for(lambda: made.generation() == 1)
        host, _, port = made.status().listen.rpartition(":")
        request = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
        with (
            socket.create_connection((host, int(port)), 10) as idle,
            socket.create_connection((host, int(port)), 10) as reader,
        ):
            idle.sendall(request)
            reader.sendall(request)
            seen = b""
            while seen.count(b"event: tick") < 2:
                more = reader.recv(65536)
                assert more
                seen += more
            assert b"text/event-stream" in seen
            assert b'"generation":1' in seen


def test_who_is_not_on_the_machine_needs_the_token(place, forge):
    with daemon(forge, "--listen", "0.0.0.0:0") as made:
        made.wait_for(lambda: made.generation() == 1)
        where = "127.0.0.1:" + made.status().listen.rpartition(":")[2]
        assert get(where, "/healthz")[0] == 200
        assert get(where, "/api/graph")[0] == 404
    shutil.rmtree(place / "run", ignore_errors=True)
    token = place / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = ("--listen", "0.0.0.0:0", "--dashboard-token-file", str(token))
    with daemon(forge, *options) as made:
        made.wait_for(lambda: (made.generation() or 0) >= 1)
        where = "127.0.0.1:" + made.status().listen.rpartition(":")[2]
        assert get(where, "/metrics")[0] == 200
        assert get(where, "/api/graph")[0] == 403
        assert get(where, f"/?token={TOKEN}")[0] == 303
        assert get(where, "/api/graph", Cookie=f"meshware_dashboard={TOKEN}")[0] == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]"])
def test_the_commands_say_that_there_is_none_without_a_token(place, forge, host):
    run_dir = ("--run-dir", str(place / "run"))
    with daemon(forge, "--listen", f"{host}:0") as made:
        made.wait_for(
            lambda: made.generation() == 1 and (said := made.status_yet()) and said.listen
        )
        assert made.status().has_dashboard is False
        for command in (("dashboard", "--no-open"), ("top", "--once")):
            done = forge.run(*command, *run_dir)
            assert (done.code, done.out) == (2, "")
            assert f"serves no dashboard on {host}:" in done.err
            assert "--dashboard-token-file" in done.err


@pytest.mark.parametrize(("host", "opened"), [("0.0.0.0", "127.0.0.1"), ("[::]", "[::1]")])
def test_the_commands_name_an_address_that_can_be_opened(place, forge, host, opened):
    token = place / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    run_dir = ("--run-dir", str(place / "run"))
    known = ("--dashboard-token-file", str(token))
    with daemon(forge, "--listen", f"{host}:0", *known) as made:
        made.wait_for(
            lambda: made.generation() == 1 and (said := made.status_yet()) and said.listen
        )
        port = made.status().listen.rpartition(":")[2]
        done = forge.run("dashboard", "--no-open", *run_dir)
        assert (done.code, done.out) == (0, f"http://{opened}:{port}/\n")
        assert forge.run("top", "--once", *run_dir, *known).code == 0
        assert made.status().has_dashboard is True


def test_the_command_tells_the_address(place, forge):
    with daemon(forge, "--listen", "127.0.0.1:0") as made:
        made.wait_for(lambda: made.generation() == 1)
        done = forge.run("dashboard", "--run-dir", str(place / "run"), "--no-open")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\n", done.out)
