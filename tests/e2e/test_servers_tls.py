"""Servers that speak as policy says, from YAML to the app: one of each kind.

Every worker and protocol of each is in `test_servers_asgi_tls` and `test_servers_wsgi_tls`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import contextmanager

import pytest
import websockets
from secured_apps import (
    APP,
    PYTHON,
    SUPPORT,
    WEB,
    Authority,
    RunDir,
    Secure,
    ask,
    caller,
    free_port,
    policy_text,
    running,
    until,
)

QUIET = ["--no-control-socket", "--log-level", "warning"]


def uvicorn(port, *more):
    return [
        "uvicorn",
        "uvicorn",
        "--port",
        str(port),
        "--log-level",
        "warning",
        *more,
        "telling:asgi",
    ]


def gunicorn(port, worker):
    return [
        "gunicorn", "gunicorn", *QUIET, "-b", f"127.0.0.1:{port}", "-k", worker,
        "telling:asgi",
    ]  # fmt: skip


def blocking(port, *worker):
    return ["gunicorn", "gunicorn", *QUIET, "-b", f"127.0.0.1:{port}", *worker, "telling:wsgi"]


SERVERS = {
    "uvicorn httptools uvloop": lambda port: uvicorn(
        port, "--http", "httptools", "--loop", "uvloop"
    ),
    "hypercorn": lambda port: ["hypercorn", "hypercorn", "-b", f"127.0.0.1:{port}", "telling:asgi"],
    "gunicorn asgi": lambda port: gunicorn(port, "asgi"),
    "gunicorn gthread": lambda port: blocking(port, "-k", "gthread", "--threads", "8"),
    "werkzeug": lambda port: ["werkzeug", "telling_werkzeug", str(port)],
}
ASGI = ["uvicorn httptools uvloop", "hypercorn", "gunicorn asgi"]
CLOSING = {"werkzeug"}  # it keeps no connection anyway


@pytest.fixture(params=SERVERS)
def serve(request, tmp_path):
    """Serve an app by one of the servers: `with serve(mode) as (port, run_dir)`."""

    @contextmanager
    def opened(mode, *more):
        run = RunDir(tmp_path / "run")
        run.policy(policy_text(mode, *more))
        port = free_port()
        command = [PYTHON, str(SUPPORT / "serve_secured.py"), *SERVERS[request.param](port)]
        environ = {**run.environ(), "TELLING_RUNS": str(tmp_path / "runs")}
        with running(command, port, environ, tmp_path / "log"):
            yield port, run

    opened.runs = tmp_path / "runs"
    opened.server = request.param
    return opened


def test_strict_knows_every_caller_and_lets_in_nobody_else(serve):
    """Whoever has no certificate of the mesh gets no answer, and no handler runs."""
    with serve("STRICT") as (port, run):
        known = caller(run.authority.issue(WEB), run.authority)
        status, told = ask(port, known)
        assert (status, told["peer"], told["by"], told["scheme"]) == (200, WEB, "mtls", "https")
        ran = serve.runs.read_text()
        assert ask(port)[0] == 0
        foreign = Authority()
        for svid in (
            foreign.issue(WEB),
            Authority("other.example").issue("spiffe://other.example/ns/default/sa/web"),
            run.authority.issue(WEB, life_s=-1),
        ):
            assert ask(port, caller(svid, run.authority))[0] == 0
        assert serve.runs.read_text() == ran


def test_permissive_takes_both_on_one_port(serve):
    """And a caller that shows nothing is nobody, whatever its headers say."""
    with serve("PERMISSIVE") as (port, run):
        known = caller(run.authority.issue(WEB), run.authority)
        silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        lie = {"X_Forwarded_Client_Cert": f"By={APP};URI={WEB}", "SSL_Client_Cert": "x"}
        for _ in range(10):
            status, told = ask(port, known)
            assert (status, told["peer"], told["scheme"]) == (200, WEB, "https")
            status, told = ask(port, None, **lie)
            assert (status, told["peer"], told["scheme"]) == (200, None, "http")
            assert told["xfcc"] is None
        for each in silent:
            each.close()
        assert ask(port, caller(Authority().issue(WEB), run.authority))[0] == 0


def test_disable_speaks_plaintext(serve):
    """As a server without the mesh."""
    with serve("DISABLE") as (port, run):
        assert ask(port)[1]["peer"] is None
        assert ask(port, caller(run.authority.issue(WEB), run.authority))[0] == 0


def test_identities_and_modes_change_under_a_running_server(serve):
    """Leaf, root and mode, each from the next connection on."""
    with serve("PERMISSIVE") as (port, run):
        pid = ask(port)[1]["pid"]
        old, new = run.authority, Authority()
        svid = old.issue(WEB)
        assert ask(port, caller(svid, old))[0] == 200
        run.show(old, old, new)  # another leaf, and the new root beside the old
        until(port, caller(new.issue(WEB), old), 200)
        run.show(new, new)  # and the old one goes
        until(port, caller(new.issue(WEB), new), 200)
        until(port, caller(svid, new), 0)
        run.policy(policy_text("STRICT"))
        until(port, None, 0)
        status, told = ask(port, caller(new.issue(WEB), new))
        assert (status, told["pid"]) == (200, pid)
        run.policy(policy_text("DISABLE"))
        until(port, None, 200)


def test_a_connection_ends_with_the_callers_certificate(serve):
    """A caller whose certificate ends soon is told to connect anew, and loses no call by it."""
    with serve("STRICT") as (port, run):
        for life_s, closes in ((3600, serve.server in CLOSING), (20, True)):
            svid = run.authority.issue(WEB, life_s=life_s)
            connection = Secure(port, caller(svid, run.authority))
            connection.request("GET", "/")
            response = connection.getresponse()
            assert json.loads(response.read())["peer"] == WEB
            assert response.will_close is closes, life_s
            connection.close()


@pytest.mark.parametrize("serve", ASGI, indirect=True)
def test_a_websocket_knows_its_caller(serve):
    """The handshake is decided like any call."""
    with serve("STRICT") as (port, run):
        context = caller(run.authority.issue(WEB), run.authority)

        async def talk():
            url = f"wss://127.0.0.1:{port}/"
            async with websockets.connect(url, ssl=context, server_hostname="app.example") as ws:
                return json.loads(await ws.recv())

        told = asyncio.run(talk())
        assert (told["peer"], told["scheme"]) == (WEB, "wss")
