"""Authorizers asked without a server in between: from threads, from loops, and by both drivers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import trio
import uvloop
from authorizer_server import AuthorizerServer, ok
from inbound_world import mesh_config, policy

from meshware.asking.http import ask_http, ask_http_async
from meshware.inbound.asking import Check, HttpAnswer, NoAnswer
from meshware.policy.authorizers import HttpAuthorizer, compile_authorizer
from meshware.policy.document.mesh_config import AuthzProviderHttp, ExtensionProvider
from meshware.testing import TestMesh

OPA = "spiffe://cluster.local/ns/default/sa/opa"


class Dialling(TestMesh):
    """A test mesh that opens connections to authorizers."""

    opens_connections = True


def service(*endpoints: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The authorizer's service."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "ServiceEntry",
        "metadata": {"name": "authz"},
        "spec": {
            "hosts": ["authz.example.com"],
            "location": "MESH_INTERNAL",
            "resolution": "STATIC",
            "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
            "endpoints": list(endpoints),
            **more,
        },
    }


def at(port: int, **more: Any) -> dict[str, Any]:
    """An endpoint on loopback."""
    return {"address": "127.0.0.1", "ports": {"http": port}, **more}


def asks(name: str = "opa", namespace: str = "default") -> dict[str, Any]:
    """A CUSTOM policy about everything."""
    found = policy("CUSTOM", {}, name="ask", namespace=namespace)
    found["spec"]["provider"] = {"name": name}
    return found


def config(**settings: Any) -> dict[str, Any]:
    """A MeshConfig with the authorizer `opa`."""
    http = {"service": "authz.example.com", "port": 9000, "timeout": "2s", **settings}
    return mesh_config(extensionProviders=[{"name": "opa", "envoyExtAuthzHttp": http}])


def opa(timeout_s: float = 2.0) -> HttpAuthorizer:
    """The compiled authorizer."""
    http = AuthzProviderHttp(service="authz.example.com", port=9000, timeout=timeout_s)
    found = compile_authorizer(ExtensionProvider(name="opa", envoy_ext_authz_http=http))
    assert isinstance(found, HttpAuthorizer)
    return found


CHECK = Check("POST", "shop", "/x", (("x-a", "b"),))

Ask = Callable[..., HttpAnswer | NoAnswer]


def in_thread(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    return ask_http(mesh, opa(timeout_s), CHECK, body, is_whole=True)


def in_asyncio(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    return asyncio.run(ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True))


def in_uvloop(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    asking = ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(asking)


def in_trio(mesh: TestMesh, body: bytes | None = None, timeout_s: float = 2.0) -> Any:
    async def main() -> Any:
        return await ask_http_async(mesh, opa(timeout_s), CHECK, body, is_whole=True)

    return trio.run(main)


@pytest.fixture(params=[in_thread, in_asyncio, in_uvloop, in_trio])
def ask(request) -> Ask:
    """One way to ask."""
    return request.param


@pytest.fixture
def authorizer() -> Iterator[AuthorizerServer]:
    """One that allows."""
    with closing(AuthorizerServer(lambda asked: ok(200, b"", ("x-b", "c")))) as server:
        yield server
