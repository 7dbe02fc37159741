"""`opentelemetry-instrument`: the mesh in unchanged apps and in the clients that they use."""

from __future__ import annotations

import pytest
from inbound_servers import QUIET, PolicyFile, Server
from run_servers import BIN, DENY_SECRET

COMMANDS = {
    "flask": ["gunicorn", *QUIET, "-b", "127.0.0.1:0", "instrumented_apps:flask_app"],
    "starlette": ["uvicorn", "--port", "0", "instrumented_apps:starlette_app"],
    "fastapi": ["uvicorn", "--port", "0", "instrumented_apps:fastapi_app"],
    "fastapi with a middleware": ["uvicorn", "--port", "0", "instrumented_apps:meshed_app"],
}


def command_of(name):
    """The words of a command, its program where this environment has it."""
    program, *rest = COMMANDS[name]
    return [str(BIN / program), *rest]


@pytest.fixture(params=COMMANDS)
def served(request, tmp_path):
    """A server below `opentelemetry-instrument`."""
    policy = PolicyFile(tmp_path / "run")
    policy.write(DENY_SECRET)
    environ = {
        "MESH_CONFIG": str(policy.path),
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    server = Server(["opentelemetry-instrument", *command_of(request.param)], tmp_path, environ)
    try:
        server.wait_until_up()
        yield server
    finally:
        server.end()


def test_policy_decides_and_the_clients_are_in_the_mesh(served):
    """Nothing of the app says so."""
    assert served.get("/secret").status == 403
    reply = served.get("/clients")
    assert reply.status == 200, served.words()
    assert reply.said == {
        "has_call": True,
        "requests": True,
        "httpx": True,
        "httpx.get": True,  # it hands on the defaults of its own
        "own httpx": False,
        "decided": 1,
    }


def test_without_a_policy_named_nothing_is_done(tmp_path):
    """An installed package must not refuse anybody's calls."""
    server = Server(
        ["opentelemetry-instrument", *command_of("flask")],
        tmp_path,
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"},
    )
    try:
        server.wait_until_up()
        assert server.get("/secret").status == 200
        assert "MESH_CONFIG is not set" in server.words()
    finally:
        server.end()
