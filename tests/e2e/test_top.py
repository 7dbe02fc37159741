"""`meshware top`, against a real daemon, in a real terminal and without one."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest
from sync_world import running
from vital_world import PATIENCE_S, POLICY, Terminal, environ, world

# Policy repeats those that are answered with 503, once.
CALLS = ["/status/200"] * 30 + ["/status/500"] * 5 + ["/status/503"] * 5
TOKEN = "0123456789abcdef-a-token"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    """A daemon that knows of forty calls, ten of which failed."""
    with world(tmp_path_factory.mktemp("top")) as made:
        for number, path in enumerate(CALLS):
            assert made.caller.call(path) == int(path[-3:])
            if number == 0:  # as long as the source is not heard of, attempts count as calls
                made.daemon.wait_for(lambda: told(made) == (1, 1), most_s=PATIENCE_S)
        made.daemon.wait_for(lambda: told(made) == (40, 45), most_s=PATIENCE_S)
        assert made.server.get("/status/200", [("host", "shop.default")]).status == 200
        made.daemon.wait_for(lambda: "unknown" in sources(made), most_s=PATIENCE_S)
        yield made


def sources(mesh, *words: str) -> list[str]:
    """Who calls, as `meshware top` tells programs."""
    done = mesh.top("--once", "--format", "json", "--window", "300", *words)
    return [edge["source"] for edge in json.loads(done.stdout)["edges"]]


def told(mesh) -> tuple[int, int] | None:
    """How many calls from web to shop are told, and how many attempts."""
    edge = mesh.edge()
    if edge is None or edge["attempts_rate"] is None:
        return None
    return tuple(round(edge[key] * edge["window_s"]) for key in ("rate", "attempts_rate"))


@pytest.fixture
def terminal():
    """A maker of commands with a terminal, which are ended."""
    made: list[Terminal] = []

    def make(*words: str, **how) -> Terminal:
        made.append(Terminal(words, **how))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def live(mesh, terminal):
    """`meshware top` that shows the mesh."""
    words = ("top", "--run-dir", str(mesh.daemon.run_dir), "--window", "300", "--interval", "0.2")
    shown = terminal(*words)
    shown.wait_for("default/shop")
    return shown


def test_programs_are_told_what_was_called(mesh):
    edge = mesh.edge()
    assert (edge["destination"], edge["destination_namespace"]) == ("default/shop", "default")
    assert edge["rate"] * edge["window_s"] == pytest.approx(40)
    assert edge["error_share"] == pytest.approx(0.25)
    assert edge["attempts_rate"] * edge["window_s"] == pytest.approx(45)
    assert edge["attempts_per_call"] == pytest.approx(45 / 40)
    assert 0 < edge["p50_ms"] <= edge["p95_ms"] <= edge["p99_ms"]
    assert edge["mtls"] is True
    assert edge["source_principal"] == "spiffe://cluster.local/ns/default/sa/web"
    assert edge["destination_principal"] == "spiffe://cluster.local/ns/default/sa/app"


def test_without_a_terminal_the_table_is_printed_once(mesh):
    done = mesh.top("--window", "300")
    assert (done.returncode, done.stderr) == (0, "")
    [row] = [line for line in done.stdout.splitlines() if line.startswith("default/web")]
    assert row.split()[1] == "default/shop"
    assert row.split()[3] == "25%"
    assert row.split()[-3:] == ["1.12", "yes", "failing"]
    assert "\x1b" not in done.stdout


def test_rows_are_sorted_and_filtered(mesh):
    found = sources(mesh, "--sort", "source")
    assert set(found) == {"default/web", "unknown"}
    assert found == sorted(found)
    turned = sources(mesh, "--sort", "source", "--reverse")  # which may have another row by now
    assert set(turned) == {"default/web", "unknown"}
    assert turned == sorted(turned, reverse=True)
    assert sources(mesh, "--sort", "rate")[0] == "default/web"
    assert sources(mesh, "--namespace", "nowhere") == []


def test_programs_may_follow_line_by_line(mesh):
    words = ("top", "--url", mesh.url, "--format", "json", "--interval", "0.2")
    with subprocess.Popen(
        [sys.executable, "-m", "meshware", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ(),
    ) as made:  # fmt: skip
        assert made.stdout is not None
        first, second = (json.loads(made.stdout.readline()) for _ in range(2))
        assert first["at"] < second["at"]
        made.send_signal(signal.SIGINT)
        assert made.wait(PATIENCE_S) == 0
        assert made.stderr.read() == ""


def test_it_draws_and_obeys_keys_and_q_restores_the_terminal(live):
    live.wait_for("RATE/s*")
    assert "25%" in live.frame()
    assert "meshware top" in live.frame().splitlines()[0]
    live.press(b">")
    live.wait_for("ERRORS*")
    live.press(b"\x1b[D\x1b[D")
    live.wait_for("DESTINATION*")
    live.press(b"n")
    live.wait_for("of namespace default")
    live.press(b"p")
    live.wait_for("PAUSED")
    live.press(b"q")
    assert live.ended() == 0
    assert live.is_restored()


def test_it_follows_the_size_of_the_terminal(live):
    live.resize(46, 10)
    live.wait_for("RATE/s*  ERRORS\n")
    assert len(live.frame().split("\n")) == 10
    assert all(len(line) <= 46 for line in live.frame().split("\n"))
    live.resize(140, 30)
    live.wait_for("HEALTH")
    assert len(live.frame().split("\n")) == 30
    live.press(b"q")
    assert live.ended() == 0


def test_ctrl_c_ends_it_in_good_order(live):
    live.press(b"\x03")  # the terminal makes a signal of it
    assert live.ended() == 0
    assert live.is_restored()
    assert b"Traceback" not in live.seen


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_by_that_signal_and_the_terminal_is_restored(live, number):
    live.popen.send_signal(number)
    assert live.ended() == -number
    assert live.is_restored()


def test_ctrl_z_stops_it_with_the_terminal_in_order_and_it_comes_back(live):
    live.press(b"\x1a")
    until = time.monotonic() + PATIENCE_S
    while not os.WIFSTOPPED(os.waitpid(live.popen.pid, os.WUNTRACED | os.WNOHANG)[1]):
        assert time.monotonic() < until, "it does not stop"
        live.read_a_while()
    live.read_a_while()
    assert live.is_restored()
    live.seen = b""
    live.popen.send_signal(signal.SIGCONT)
    live.wait_for("default/shop")
    assert termios.tcgetattr(live.slave) != live.before
    live.press(b"q")
    assert live.ended() == 0
    assert live.is_restored()


def test_a_daemon_that_goes_is_told_of_and_found_again(tmp_path, terminal):
    """What was seen last stays, marked as old; after a restart the new address is found."""
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY.format(port=1))
    words = ("top", "--run-dir", str(tmp_path / "run"), "--interval", "0.2")
    with running(tmp_path) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.listen)
        shown = terminal(*words)
        shown.wait_for("no calls yet")
    shown.wait_for("what you see is old: no daemon is running")
    with running(tmp_path) as daemon:
        shown.wait_for("no calls yet")
        shown.press(b"q")
        assert shown.ended() == 0
    assert shown.is_restored()


def one_line(done, *words: str) -> None:
    """What a command says of a user's mistake."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr


def test_without_a_daemon_it_says_so(mesh, tmp_path):
    one_line(mesh.meshware("top", "--run-dir", str(tmp_path)), "no daemon is running")
    one_line(mesh.meshware("top", "--run-dir", str(tmp_path / "no")), "not a directory")
    one_line(mesh.meshware("top", "--url", "http://127.0.0.1:1"), "no dashboard answers", "refused")
    one_line(mesh.meshware("top", "--url", "ftp://a\x1b[2J"), r"ftp://a\x1b[2J", "write http://")
    one_line(mesh.meshware("top"), "--run-dir or by --url")
    one_line(mesh.meshware("top", "--url", mesh.url, "--run-dir", "run"), "one of the two")


def test_a_token_is_asked_for_and_known_again(mesh, tmp_path):
    (tmp_path / "mesh").mkdir()
    (tmp_path / "mesh/p.yaml").write_text(POLICY.format(port=1))
    files = {"right": TOKEN, "wrong": TOKEN[::-1]}
    for name, token in files.items():
        (tmp_path / name).write_text(token)
        (tmp_path / name).chmod(0o600)
    (tmp_path / "open").write_text(TOKEN)
    (tmp_path / "open").chmod(0o644)
    right = ("--dashboard-token-file", str(tmp_path / "right"))
    with running(tmp_path, "--listen", "0.0.0.0:0", *right) as daemon:
        daemon.wait_for(lambda: (said := daemon.status_yet()) and said.listen)
        words = ("top", "--once", "--run-dir", str(tmp_path / "run"))
        option = "--dashboard-token-file"
        assert mesh.meshware(*words, *right).returncode == 0
        one_line(mesh.meshware(*words), option, "asks for one")
        one_line(mesh.meshware(*words, option, str(tmp_path / "wrong")), "has another one")
        one_line(mesh.meshware(*words, option, str(tmp_path / "open")), "chmod 600")
        one_line(mesh.meshware(*words, option, str(tmp_path / "none")), "cannot be read")
        assert TOKEN not in mesh.meshware(*words).stderr


ANSWERS = {
    "a page": (200, b"<html>hello"),
    "another JSON": (200, b"[1, 2]"),
    "half of it": (200, b'{"at": 1, "generation": 1, "window_s": 60, "nodes": [], "ed'),
    "nothing": (200, b""),
    "evil": (200, b'{"at": "\\u001b[2J"}'),
    "a mistake": (500, b"Internal Server Error"),
    "elsewhere": (302, b""),
    "not found": (404, b"\x1b[2J"),
    "refused": (403, b"no\x1b[2J\xff"),
}


class _Broken(http.server.BaseHTTPRequestHandler):
    answer = (200, b"")

    def do_GET(self):
        """Answer as the test wants it."""
        status, body = self.answer
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Say nothing."""


@pytest.mark.parametrize("kind", ANSWERS)
def test_a_broken_answer_is_one_line(mesh, kind):
    handler = type("Handler", (_Broken,), {"answer": ANSWERS[kind]})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = mesh.meshware("top", "--url", f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
    one_line(done, "127.0.0.1")
    assert done.stderr.rstrip("\n").isprintable()
