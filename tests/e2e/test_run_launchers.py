"""Every launcher below `meshware run`: apps without a line about the mesh are in it."""

from __future__ import annotations

import pytest
from inbound_servers import SUPPORT
from run_servers import running

APP = str(SUPPORT / "run_apps.py")
BIND = ["-b", "127.0.0.1:{port}"]
GUNICORN = ["gunicorn", "--no-control-socket", *BIND, "-w", "2"]
UVICORN = ["uvicorn", "--port", "{port}"]

# The command, and in how many processes it serves.
LAUNCHERS = {
    "uvicorn": ([*UVICORN, "run_apps:fastapi_app"], 1),
    "uvicorn h11, plain app": ([*UVICORN, "--http", "h11", "run_apps:plain_asgi"], 1),
    "uvicorn, factory": ([*UVICORN, "--factory", "run_apps:make_fastapi"], 1),
    "uvicorn, two workers": ([*UVICORN, "--workers", "2", "run_apps:fastapi_app"], 2),
    "uvicorn, reloader": ([*UVICORN, "--reload", "run_apps:fastapi_app"], 1),
    "uvicorn, Flask": ([*UVICORN, "--interface", "wsgi", "run_apps:flask_app"], 1),
    "python -m uvicorn": (["python", "-m", *UVICORN, "run_apps:plain_asgi"], 1),
    "hypercorn": (["hypercorn", *BIND, "-w", "2", "run_apps:make_fastapi()"], 2),
    "hypercorn, plain WSGI": (["hypercorn", *BIND, "wsgi:run_apps:plain_wsgi"], 1),
    "gunicorn sync": ([*GUNICORN, "run_apps:flask_app"], 2),
    "gunicorn sync, preload": ([*GUNICORN, "--preload", "run_apps:plain_wsgi"], 2),
    "gunicorn gthread": ([*GUNICORN, "-k", "gthread", "--threads", "2", "run_apps:flask_app"], 2),
    "gunicorn gevent": ([*GUNICORN, "-k", "gevent", "run_apps:flask_app"], 2),
    "gunicorn uvicorn": (
        [*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "run_apps:fastapi_app"], 2,
    ),
    "gunicorn uvicorn, preload": (
        [*GUNICORN, "--preload", "-k", "uvicorn.workers.UvicornWorker", "run_apps:plain_asgi"], 2,
    ),
    "gunicorn asgi": ([*GUNICORN, "-k", "asgi", "run_apps:fastapi_app"], 2),
    "flask run": (["flask", "--app", "run_apps:make_flask", "run", "--port", "{port}"], 1),
    "flask run, reloader": (
        ["flask", "--app", "run_apps:make_flask", "run", "--debug", "--port", "{port}"], 1,
    ),
    "app.py with uvicorn.run": (["python", APP, "uvicorn", "{port}"], 1),
    "app.py with run_simple": (["python", APP, "werkzeug", "{port}"], 1),
    "app.py with Flask.run": (["python", APP, "flask", "{port}"], 1),
    "app.py with hypercorn.asyncio": (["python", APP, "hypercorn", "{port}"], 1),
}  # fmt: skip
ASKED = 40


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_app_is_in_the_mesh_without_a_change(launcher, tmp_path):
    """A denied path never reaches the app, in no process; an allowed one runs within its call."""
    command, processes = LAUNCHERS[launcher]
    with running(command, tmp_path) as server:
        seen = set()
        for _ in range(ASKED):
            reply = server.get("/ok")
            assert (reply.status, reply.said["ran"]) == (200, "/ok")
            assert (reply.said["has_call"], reply.said["in_thread"]) == (True, True)
            assert reply.said["port"] == server.port
            seen.add(reply.said["pid"])
            denied = server.get("/secret")
            assert (denied.status, denied.body) == (403, "RBAC: access denied")
            if len(seen) == processes:
                break
        assert server.get("/secret/2").status == 403
        ran = server.lines("RUNS")
    assert "/ok" in ran
    assert not [path for path in ran if path.startswith("/secret")]
