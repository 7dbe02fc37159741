"""Real servers, real authorizers, and policies that have the one ask the other."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from authorizer_server import Asked, AuthorizerServer, ok
from inbound_servers import WORKLOAD, PolicyFile, Server
from inbound_world import mesh_config, policy, to

from meshware.policy.load import load_text
from meshware.policy.records import build_records

COMMANDS = {
    "gunicorn and Flask": [
        "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "-k", "gthread", "--threads", "40",
        "--keep-alive", "75", "asking_apps:flask_app",
    ],
    "gevent and Flask": [
        "gunicorn", "--no-control-socket", "-b", "127.0.0.1:0", "-k", "gevent",
        "--keep-alive", "75", "asking_apps:flask_app",
    ],
    "uvicorn and FastAPI": ["uvicorn", "--port", "0", "--ws", "websockets",
                            "asking_apps:fastapi_app"],
}  # fmt: skip
HTTP = {"service": "authz.example.com", "port": 9000, "timeout": "20s", "pathPrefix": "/check"}
SHOWN = {
    "includeRequestHeadersInCheck": ["x-show", "x-also-*", "X-Forwarded-Client-Cert", "x-envoy-*"],
    "includeAdditionalHeadersInCheck": {"x-extra": "of %REQ(:path)%", "x-show-2": "fixed"},
    "headersToUpstreamOnAllow": ["x-user", "x-auth-*", "host", "x-envoy-*", "x-forwarded-*"],
    "headersToDownstreamOnAllow": ["x-ok-*", "content-length"],
}
PROVIDERS: list[dict[str, Any]] = [
    {"name": "http", "envoyExtAuthzHttp": {**HTTP, **SHOWN}},
    {
        "name": "few",
        "envoyExtAuthzHttp": {
            **HTTP, "headersToDownstreamOnDeny": ["x-why"], "statusOnError": "503",
        },
    },
    {"name": "open", "envoyExtAuthzHttp": {**HTTP, "failOpen": True}},
    {"name": "down", "envoyExtAuthzHttp": {**HTTP, "service": "down.example.com"}},
    {
        "name": "body",
        "envoyExtAuthzHttp": {**HTTP, "includeRequestBodyInCheck": {"maxRequestBytes": 100_000}},
    },
    {
        "name": "part",
        "envoyExtAuthzHttp": {
            **HTTP,
            "includeRequestBodyInCheck": {"maxRequestBytes": 1000, "allowPartialMessage": True},
        },
    },
    {"name": "late", "envoyExtAuthzHttp": {**HTTP, "timeout": "1s"}},
    {"name": "late-open", "envoyExtAuthzHttp": {**HTTP, "timeout": "1s", "failOpen": True}},
    {"name": "plain", "inProcess": {"timeout": "1s"}},
    {
        "name": "async",
        "inProcess": {"timeout": "1s", "includeRequestBodyInCheck": {"maxRequestBytes": 1000}},
    },
    {"name": "plain-open", "inProcess": {"timeout": "1s", "failOpen": True}},
    {"name": "async-open", "inProcess": {"timeout": "1s", "failOpen": True}},
    {"name": "nobody", "inProcess": {"failOpen": True}},
]  # fmt: skip


def service(host: str, port: int) -> dict[str, Any]:
    """A ServiceEntry with one endpoint on loopback."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": host.partition(".")[0]},
        "spec": {
            "hosts": [host],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
            "endpoints": [{"address": "127.0.0.1", "ports": {"http": port}}],
        },
    }


def asks(name: str, *paths: str) -> dict[str, Any]:
    """A CUSTOM policy."""
    found = policy("CUSTOM", to(paths=list(paths)), name=f"ask-{name}")
    found["spec"]["provider"] = {"name": name}
    return found


class World:
    """A server, its policy, and the authorizer that it asks."""

    def __init__(self, server: Server, authorizer: AuthorizerServer, runs: Path) -> None:
        self.server = server
        self.authorizer = authorizer
        self._runs = runs

    @property
    def runs(self) -> int:
        """How often a handler ran."""
        return len(self._runs.read_bytes())

    def ask(
        self,
        target: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        connection: http.client.HTTPConnection | None = None,
    ) -> Reply:
        """Ask the app."""
        used = connection or self.server.connect()
        try:
            used.request(method, target, body=body, headers=headers or {})
            response = used.getresponse()
            return Reply(response, response.read())
        finally:
            if connection is None:
                used.close()

    def last(self) -> Asked:
        """What the authorizer was asked last."""
        return self.authorizer.asked[-1]


class Reply:
    """What the app's caller gets."""

    def __init__(self, response: http.client.HTTPResponse, body: bytes) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = body

    @property
    def seen(self) -> dict[str, str]:
        """The headers that the handler saw, none of them twice."""
        pairs = [(name, value) for name, value in json.loads(self.body)["headers"]]
        assert len(dict(pairs)) == len(pairs), pairs
        return dict(pairs)


def unused_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(scope="module", params=list(COMMANDS))
def world(request, tmp_path_factory) -> Iterator[World]:
    """One server after the other."""
    place = tmp_path_factory.mktemp("authorizers")
    policies = PolicyFile(place / "run")
    runs = place / "runs"
    runs.write_bytes(b"")
    authorizer = AuthorizerServer(lambda asked: ok())
    written: list[dict[str, Any]] = [
        WORKLOAD,
        mesh_config(extensionProviders=PROVIDERS),
        service("authz.example.com", authorizer.port),
        service("down.example.com", unused_port()),
        *(
            asks(provider["name"], f"/{provider['name']}/*", f"/ws/{provider['name']}/*")
            for provider in PROVIDERS
            if provider["name"] not in ("plain", "async")
        ),
        asks("plain", "/plain/*"),
        asks("async", "/async/*"),
        policy("DENY", {"when": [{"key": "request.headers[x-user]", "values": ["bob"]}]}),
    ]
    loaded = load_text("\n---\n".join(map(json.dumps, written)))
    loaded.raise_for_errors()
    policies.write_records(build_records(loaded.resources))
    server = Server(
        COMMANDS[request.param],
        place,
        {"MESH_CONFIG": str(policies.path), "RUNS": str(runs), "READ_S": "3"},
    )
    try:
        server.wait_until_up()
        yield World(server, authorizer, runs)
    finally:
        server.end()
        authorizer.close()


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    """Forget what was asked before."""
    world.authorizer.asked.clear()
    world.authorizer.answer = lambda asked: ok()
