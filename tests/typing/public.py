"""What type checkers see of the public names; read by mypy, never run."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, assert_type

import aiohttp
import httpx
import httpx2
import requests
import urllib3
from fastapi import FastAPI
from flask import Flask

import meshware
from meshware import Call, Mesh, Peer, current_call
from meshware.asgi import MeshMiddleware as AsgiMiddleware
from meshware.clients.aiohttp import MeshClientMiddleware
from meshware.clients.httpx import AsyncMeshTransport, MeshTransport
from meshware.clients.requests import MeshAdapter
from meshware.clients.urllib3 import MeshPoolManager
from meshware.errors import MeshError, PolicyError
from meshware.policy.problems import Problem
from meshware.testing import TestMesh
from meshware.wsgi import MeshMiddleware as WsgiMiddleware


def apps(mesh: Mesh) -> None:
    """Both middlewares go where the README puts them."""
    fast = FastAPI()
    fast.add_middleware(AsgiMiddleware)
    fast.add_middleware(AsgiMiddleware, mesh=mesh)
    flask = Flask("flask")
    flask.wsgi_app = WsgiMiddleware(flask.wsgi_app)  # type: ignore[method-assign]
    flask.wsgi_app = WsgiMiddleware(flask.wsgi_app, mesh=mesh)  # type: ignore[method-assign]


def clients(mesh: Mesh) -> None:
    """A transport is one of both libraries', an adapter one of requests', and so on."""
    httpx.Client(transport=MeshTransport())
    httpx.AsyncClient(transport=AsyncMeshTransport(mesh))
    httpx2.Client(transport=MeshTransport(mesh, inner=httpx2.HTTPTransport()))
    httpx2.AsyncClient(transport=AsyncMeshTransport())
    requests.Session().mount("http://", MeshAdapter(mesh=mesh))
    manager: urllib3.PoolManager = MeshPoolManager(mesh, ca_certs="roots.pem")
    assert_type(manager.request("GET", "http://orders/"), urllib3.BaseHTTPResponse)
    MeshPoolManager(mesh=mesh, num_pools=5, headers={"accept": "text/plain"})
    aiohttp.ClientSession(middlewares=(MeshClientMiddleware(), MeshClientMiddleware(mesh=mesh)))


def call() -> None:
    """What an app finds, and that it may find nothing."""
    found = current_call()
    assert_type(found, Call | None)
    if found is not None:
        assert_type(found.peer, Peer | None)
        assert_type(found.principal, str | None)
        assert_type(found.claims_as(Path), Path)
        assert_type(found.claims, Mapping[str, Any])
        assert_type(found.route, str | None)
        assert_type(found.deadline_at, float | None)
        assert_type(found.trace_id, str | None)
        assert_type(found.request_id, str)


def root() -> None:
    """The root object, and the one of tests."""
    assert_type(Mesh.from_env(), Mesh)
    assert_type(Mesh.current(), Mesh)
    mesh = TestMesh(
        [Path("mesh/"), "kind: List", {"kind": "List"}],
        workload="default/web",
        addresses={"db.example.com": ["10.0.0.1"]},
    )
    mesh.apply(Path("mesh/"))
    meshware.install()
    threading.Thread(target=mesh.start).start()


def errors(error: PolicyError) -> None:
    """All problems are there, and every exception has one root."""
    assert_type(error.problems, tuple[Problem, ...])
    assert isinstance(error, MeshError)
