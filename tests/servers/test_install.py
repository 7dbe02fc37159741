"""What makes servers listen by us, and that it fails loudly where it cannot."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import types

import pytest

from meshware.errors import SettingsError
from meshware.servers.asyncio_module import AsyncioOfServer, stand_in

PROGRAMS = {
    "uvicorn": """
import uvicorn.server
from meshware.servers import uvicorn as ours
before = uvicorn.server.asyncio
ours.install()
first = uvicorn.server.asyncio
ours.install()
assert before is not first is uvicorn.server.asyncio
""",
    "hypercorn": """
from hypercorn.asyncio import run, tcp_server
from meshware.servers import hypercorn as ours
before = run.asyncio
ours.install()
first = run.asyncio
ours.install()
assert before is not first is run.asyncio
assert run.TCPServer is not tcp_server.TCPServer and issubclass(run.TCPServer, tcp_server.TCPServer)
""",
    "gunicorn": """
from gunicorn.workers.gasgi import ASGIWorker
from meshware.servers import gunicorn_asgi as ours
before = ASGIWorker._serve
ours.install()
first = ASGIWorker._serve
ours.install()
assert before is not first is ASGIWorker._serve
""",
}


@pytest.mark.parametrize("server", PROGRAMS)
def test_installing_twice_is_installing_once(server):
    said = subprocess.run(
        [sys.executable, "-c", PROGRAMS[server]], check=False, capture_output=True, text=True
    )
    assert said.returncode == 0, said.stderr


def test_a_server_that_listens_in_another_way_is_refused_by_name():
    module = types.ModuleType("somebody.server")
    with pytest.raises(SettingsError, match=r"somebody\.server"):
        stand_in(module)


def test_only_what_listens_is_another():
    module = types.ModuleType("somebody.server")
    module.asyncio = asyncio
    stand_in(module)
    assert isinstance(module.asyncio, AsyncioOfServer)
    assert module.asyncio.sleep is asyncio.sleep
    stand_in(module)


@pytest.mark.parametrize(
    "name", ["HTTP", "H11", "HttpTools", "WebSocket", "WebSockets", "WebSocketsSansIO", "WSProto"]
)
def test_uvicorn_has_each_protocol_that_we_build_upon(name):
    said = subprocess.run(
        [
            sys.executable,
            "-W", "ignore",
            "-c",
            f"from meshware.servers import uvicorn as ours; one = ours.{name}\n"
            f"assert one is ours.{name} and hasattr(one, 'connection_made')",
        ],
        check=False,
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr


@pytest.mark.parametrize("name", ["ASGIWorker", "UvicornWorker", "UvicornH11Worker"])
def test_gunicorn_finds_each_worker_by_its_path(name):
    program = (
        "from gunicorn.util import load_class\n"
        f"found = load_class('meshware.servers.gunicorn_asgi.{name}')\n"
        f"assert found.__name__ == {name!r}"
    )
    said = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
