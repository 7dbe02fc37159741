"""Token identity over real servers and clients, where TLS tells nobody who calls."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from pathlib import Path

import aiohttp
import httpx
import pytest
import requests
from inbound_servers import Server

from meshware.ca.tokens import TokenAuthority
from meshware.clients.aiohttp import MeshClientMiddleware
from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.clients.urllib3 import MeshPoolManager
from meshware.identity.spiffe import SpiffeID
from meshware.policy.file import MemoryRecords
from meshware.policy.load import load_text
from meshware.policy.records import build_records
from meshware.policy.snapshot import build_snapshot
from meshware.runtime.mesh import Mesh
from meshware.runtime.prover import prove
from meshware.runtime.token_files import TokenFile

OWN = "spiffe://cluster.local/ns/default/sa/orders"
WEB = SpiffeID.parse("spiffe://cluster.local/ns/default/sa/web")

SERVERS = {
    "uvicorn": ["uvicorn", "--lifespan", "off", "--port", "$p", "token_served:asgi"],
    "hypercorn": ["hypercorn", "--bind", "127.0.0.1:$p", "token_served:asgi"],
    "gunicorn": ["gunicorn", "--no-control-socket", "-b", "127.0.0.1:$p", "token_served:wsgi"],
    "waitress": ["waitress-serve", "--listen", "127.0.0.1:$p", "token_served:wsgi"],
    "granian asgi": [
        "granian", "--interface", "asginl", "--port", "$p", "token_served:asgi",
    ],
    "granian wsgi": ["granian", "--interface", "wsgi", "--port", "$p", "token_served:wsgi"],
}  # fmt: skip


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> TokenAuthority:
    return TokenAuthority(tmp_path_factory.mktemp("state"), "cluster.local", time.time())


@pytest.fixture(scope="module")
def token_dir(authority, tmp_path_factory) -> Path:
    """A workload's directory, with its token in it."""
    place = tmp_path_factory.mktemp("web")
    path = place / "token.json"
    path.touch(0o600)
    path.write_text(authority.issue(WEB, time.time()).json)
    return place


@pytest.fixture(scope="module", params=SERVERS.values(), ids=SERVERS)
def server(request, authority, tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = [part.replace("$p", port) for part in request.param]
    environ = {
        "TOKEN_KEYS": json.dumps(list(authority.public_keys(time.time()))),
        "TOKEN_AUDIENCE": OWN,
    }
    found = Server(command, tmp_path_factory.mktemp("server"), environ)
    try:
        found.port = int(port)
        found.wait_for(found.is_answering, "answer")
        yield found
    finally:
        found.popen.terminate()
        found.popen.wait(20)


TARGETS = ["/", "/a/b?x=1&y=%20z", "/%C3%A9?q=%26", "/a%2Fb"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_caller_is_known_once_and_for_this_call_alone(server, token_dir, target):
    """On every server, also on those that tell the app nothing of TLS."""
    token = TokenFile(token_dir).token(time.time())
    headers = prove(token, OWN, "GET", target, time.time())
    assert server.get("/elsewhere", headers).status == 401
    assert server.get(target, headers[:1]).status == 401
    assert server.get(target, headers[1:]).status == 401
    first = server.get(target, headers)
    assert (first.status, first.body) == (200, str(WEB))
    again = server.get(target, headers)
    assert (again.status, again.body[:25]) == (401, "the proof was used before")
    plain = server.get(target)
    assert (plain.status, plain.body) == (200, "nobody")


def mesh_to(port: int, token_dir: Path) -> Mesh:
    """A mesh in which `orders` takes tokens at this port."""
    text = f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: orders}}
spec:
  hosts: [orders]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{{address: 127.0.0.1, ports: {{http: {port}}}}}]
"""
    records = dict(build_records(load_text(text).resources))
    for key, value in records.items():
        if key.startswith("ep/"):
            content = json.loads(value)
            for endpoints in content["byNamespace"].values():
                for endpoint in endpoints:
                    # `plainPorts`: it speaks no TLS itself; whom to expect is known all the same.
                    endpoint.update(tlsId=OWN, plainPorts=[port], tokenPorts=[port])
            records[key] = json.dumps(content).encode()
    file = TokenFile(token_dir)
    mesh = Mesh(token_of=lambda _, now: file.token(now))
    mesh.cell.current = build_snapshot(
        MemoryRecords(records), mesh.client, generation=1, on_refusal=lambda *_: None
    )
    return mesh


URL = "http://orders/a/b?x=1&y=%20z"
FORGED = {"workload-identity-token": "forged", "Workload-Proof-Token": "forged"}


def by_httpx(mesh: Mesh) -> str:
    with httpx.Client(transport=MeshTransport(mesh)) as client:
        return [client.get(URL, headers=FORGED).text for _ in range(2)][1]


def by_async_httpx(mesh: Mesh) -> str:
    async def call() -> str:
        async with httpx.AsyncClient(transport=AsyncMeshTransport(mesh)) as client:
            return [(await client.get(URL, headers=FORGED)).text for _ in range(2)][1]

    return asyncio.run(call())


def by_requests(mesh: Mesh) -> str:
    with requests.Session() as session:
        session.mount("http://", MeshAdapter(mesh))
        return [session.get(URL, headers=FORGED).text for _ in range(2)][1]


def by_urllib3(mesh: Mesh) -> str:
    with MeshPoolManager(mesh) as manager:
        return [manager.request("GET", URL, headers=FORGED).data.decode() for _ in range(2)][1]


def by_aiohttp(mesh: Mesh) -> str:
    async def call() -> str:
        async with aiohttp.ClientSession(middlewares=[MeshClientMiddleware(mesh)]) as session:
            for _ in range(2):
                async with session.get(URL, headers=FORGED) as response:
                    found = await response.text()
            return found

    return asyncio.run(call())


CLIENTS = [by_httpx, by_async_httpx, by_requests, by_urllib3, by_aiohttp]


@pytest.mark.parametrize("call", CLIENTS)
def test_every_client_proves_who_calls(server, token_dir, call):
    """With a proof for each call, and never with what the app has put into the headers."""
    assert call(mesh_to(server.port, token_dir)) == str(WEB)


@pytest.mark.parametrize("call", CLIENTS)
def test_without_a_token_the_call_goes_on_as_nobody(server, tmp_path, call):
    """And without the app's own headers: the server decides."""
    assert call(mesh_to(server.port, tmp_path)) == "nobody"
