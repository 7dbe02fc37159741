"""Below `meshware run` the port of an unchanged app speaks mutual TLS, and the peer is known."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from secured_apps import WEB, Authority, RunDir, ask, caller, free_port, policy_text, running

BIN = Path(sys.executable).parent
GUNICORN = ["gunicorn", "--no-control-socket", "--log-level", "warning", "-w", "2", "-b"]

LAUNCHERS = {
    "uvicorn": lambda port: ["uvicorn", "--port", port, "telling:bare_asgi"],
    "uvicorn, two workers": lambda port: [
        "uvicorn", "--workers", "2", "--port", port, "telling:bare_asgi",
    ],
    "python -m uvicorn, WSGI": lambda port: [
        "python", "-m", "uvicorn", "--interface", "wsgi", "--port", port, "telling:bare_wsgi",
    ],
    "hypercorn": lambda port: [
        "hypercorn", "-w", "2", "-b", f"127.0.0.1:{port}", "telling:bare_asgi",
    ],
    "hypercorn, WSGI": lambda port: [
        "hypercorn", "-b", f"127.0.0.1:{port}", "wsgi:telling:bare_wsgi",
    ],
    "gunicorn sync": lambda port: [*GUNICORN, f"127.0.0.1:{port}", "telling:bare_wsgi"],
    "gunicorn sync, preload": lambda port: [
        *GUNICORN, f"127.0.0.1:{port}", "--preload", "telling:bare_wsgi",
    ],
    "gunicorn gthread": lambda port: [
        *GUNICORN, f"127.0.0.1:{port}", "-k", "gthread", "--threads", "2", "telling:bare_wsgi",
    ],
    "gunicorn gevent": lambda port: [
        *GUNICORN, f"127.0.0.1:{port}", "-k", "gevent", "telling:bare_wsgi",
    ],
    "gunicorn uvicorn": lambda port: [
        *GUNICORN, f"127.0.0.1:{port}", "-k", "uvicorn.workers.UvicornWorker", "telling:bare_asgi",
    ],
    "gunicorn asgi": lambda port: [
        *GUNICORN, f"127.0.0.1:{port}", "-k", "asgi", "telling:bare_asgi",
    ],
    "flask run": lambda port: ["flask", "--app", "web", "run", "--port", port],
    "flask run, reloader": lambda port: [
        "flask", "--app", "web", "run", "--debug", "--port", port,
    ],
}  # fmt: skip
FLASK = """
from flask import Flask, request
from telling import told

app = Flask(__name__)
app.get("/")(lambda: told(request.scheme, None))
"""
ASKED = 6
# The listener of each kind; what they do under PERMISSIVE has tables of its own.
ONE_OF_EACH = ["hypercorn, WSGI", "gunicorn sync", "gunicorn gthread", "gunicorn asgi", "flask run"]


@pytest.fixture(params=LAUNCHERS)
def serve(request, tmp_path):
    """Serve below `meshware run`: `with serve(mode) as (port, run_dir)`."""

    @contextmanager
    def opened(mode):
        run = RunDir(tmp_path / "run")
        run.policy(policy_text(mode))
        (tmp_path / "web.py").write_text(FLASK)
        port = free_port()
        program, *arguments = LAUNCHERS[request.param](str(port))
        command = [str(BIN / "meshware"), "run", "--", str(BIN / program), *arguments]
        environ = {**run.environ(), "TELLING_RUNS": str(tmp_path / "runs")}
        with running(command, port, environ, tmp_path / "log"):
            yield port, run

    opened.runs = tmp_path / "runs"
    return opened


def test_strict_knows_every_caller_and_lets_in_nobody_else(serve):
    """Without a setting and without a line in the app."""
    with serve("STRICT") as (port, run):
        for _ in range(ASKED):
            status, told = ask(port, caller(run.authority.issue(WEB), run.authority))
            assert (status, told["peer"], told["by"], told["scheme"]) == (200, WEB, "mtls", "https")
        ran = serve.runs.read_text()
        assert ask(port)[0] == 0
        assert ask(port, caller(Authority().issue(WEB), run.authority))[0] == 0
        assert serve.runs.read_text() == ran


@pytest.mark.parametrize("serve", ONE_OF_EACH, indirect=True)
def test_permissive_takes_both_on_one_port(serve):
    """And whoever shows nothing is nobody."""
    with serve("PERMISSIVE") as (port, run):
        status, told = ask(port, caller(run.authority.issue(WEB), run.authority))
        assert (status, told["peer"]) == (200, WEB)
        status, told = ask(port)
        assert (status, told["is_in_mesh"], told["peer"]) == (200, True, None)
