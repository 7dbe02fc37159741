"""Where `meshware run` brings the mesh in: once, outermost, and with the frameworks' own hooks."""

from __future__ import annotations

import json

import pytest
from inbound_servers import SUPPORT
from run_servers import running

APP = str(SUPPORT / "run_apps.py")
UVICORN = ["uvicorn", "--port", "{port}"]
GUNICORN = ["gunicorn", "--no-control-socket", "-b", "127.0.0.1:{port}"]

ONCE = {
    "Flask with its own middleware": [*GUNICORN, "run_apps:explicit_flask"],
    "FastAPI with its own middleware": [*UVICORN, "run_apps:explicit_fastapi"],
    "uvicorn worker": [*GUNICORN, "-k", "uvicorn.workers.UvicornWorker", "run_apps:fastapi_app"],
    "Flask on uvicorn": [*UVICORN, "--interface", "wsgi", "run_apps:flask_app"],
    "Flask on hypercorn": ["hypercorn", "-b", "127.0.0.1:{port}", "wsgi:run_apps:make_flask()"],
}


@pytest.mark.parametrize("kind", ONCE)
def test_a_call_is_decided_once(kind, tmp_path):
    """However many places the mesh is in, on one call it decides at the outermost."""
    with running(ONCE[kind], tmp_path, environ={"COUNT_DECISIONS": "1"}) as server:
        assert server.get("/one").status == 200
        assert server.get("/secret").status == 403
        decided = server.lines("DECISIONS")
        assert (decided.count("/one"), decided.count("/secret")) == (1, 1)
        assert "/secret" not in server.lines("RUNS")


def test_an_app_mounted_through_a_bridge_is_decided_once(tmp_path):
    """A Flask app within a Starlette app belongs to the call that was decided outside."""
    command = [*UVICORN, "run_apps:mounted_app"]
    with running(command, tmp_path, environ={"COUNT_DECISIONS": "1"}) as server:
        reply = server.get("/inner/one")
        assert (reply.status, reply.said["has_call"]) == (200, True)
        assert server.lines("DECISIONS").count("/inner/one") == 1


UNKNOWN = {
    "wsgiref, Flask": ["python", APP, "wsgiref", "{port}"],
    "waitress, Flask": ["waitress-serve", "--listen", "127.0.0.1:{port}", "run_apps:flask_app"],
    "granian, FastAPI": [
        "granian", "--interface", "asgi", "--port", "{port}", "--factory", "run_apps:make_fastapi",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", UNKNOWN)
def test_on_a_server_that_is_not_known_the_framework_is_the_place(kind, tmp_path):
    """Flask and FastAPI are in the mesh on any server."""
    with running(UNKNOWN[kind], tmp_path) as server:
        assert server.get("/ok").said["has_call"]
        assert server.get("/secret").status == 403
        assert "/secret" not in server.lines("RUNS")


def test_the_prefix_that_fastapi_routes_without_is_no_way_around(tmp_path):
    """`FastAPI(root_path="/api")` answers `/api/secret` as `/secret`, and so it is decided."""
    with running([*UVICORN, "run_apps:rooted_app"], tmp_path) as server:
        assert server.get("/api/ok").said["ran"] == "/ok"
        assert server.get("/api/secret").status == 403
        assert server.get("/secret").status == 403
        assert "/secret" not in server.lines("RUNS")


@pytest.mark.parametrize(
    "command",
    [[*UVICORN, "run_apps:fastapi_app"], [*GUNICORN, "run_apps:plain_wsgi"]],
    ids=["uvicorn", "gunicorn"],
)
def test_without_policy_nothing_reaches_the_app(command, tmp_path):
    """The program starts, answers 503, and is told why on standard error."""
    with running(command, tmp_path, policies=None) as server:
        reply = server.get("/ok")
        assert reply.status == 503
        assert server.lines("RUNS") == []
        assert "policy.mesh is not there yet" in server.words()


def test_the_lifespan_passes(tmp_path):
    """Start-up and shutdown of an app run as they do without the mesh."""
    with running([*UVICORN, "run_apps:fastapi_app"], tmp_path) as server:
        assert server.lines("LIFESPAN") == ["up"]
    assert server.lines("LIFESPAN") == ["up", "down"]


@pytest.mark.alone
def test_a_reloaded_app_is_in_the_mesh_again(tmp_path):
    """The reloader's new process is like the first."""
    (tmp_path / "web.py").write_text("from run_apps import plain_asgi as app\n")
    command = [*UVICORN, "--reload", "--reload-dir", str(tmp_path), "web:app"]
    with running(command, tmp_path) as server:
        first = server.get("/ok").said["pid"]
        server.reload(
            tmp_path / "web.py",
            "from run_apps import plain_asgi as app",
            lambda: server.get("/ok").said["pid"] != first,
        )
        assert server.get("/secret").status == 403
        assert "/secret" not in server.lines("RUNS")


def test_options_say_what_the_environment_does_not(tmp_path):
    """--config, --workload and --port stand for MESH_CONFIG, MESH_WORKLOAD and MESH_PORT."""
    options = ["--config", "run/policy.mesh", "--workload", "default/app", "--port", "7"]
    environ = {"MESH_CONFIG": "", "MESH_WORKLOAD": ""}
    command = [*UVICORN, "run_apps:plain_asgi"]
    with running(command, tmp_path, environ=environ, options=options) as server:
        assert server.get("/ok").said["port"] == 7
        assert server.get("/secret").status == 403


def test_the_daemon_is_told_where_the_server_listens(tmp_path):
    """The worker's report has the port, which nobody set."""
    with running([*UVICORN, "run_apps:plain_asgi"], tmp_path) as server:
        reports = tmp_path / "run" / "reports" / "default" / "app"

        def ports():
            return [json.loads(path.read_text())["port"] for path in reports.glob("*.json")]

        server.wait_for(lambda: ports() == [server.port], "report")
