"""CUSTOM policies, and what the gate wants asked by them."""

from __future__ import annotations

from typing import Any

from inbound_world import mesh_config, policy, request

from meshware.call import Flag
from meshware.inbound.asking import (
    HttpAnswer,
)
from meshware.inbound.passage import Ask
from meshware.testing import TestMesh

SERVICE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "ServiceEntry",
    "metadata": {"name": "authz"},
    "spec": {
        "hosts": ["authz.example.com"],
        "resolution": "STATIC",
        "ports": [{"number": 9000, "name": "http", "protocol": "HTTP"}],
        "endpoints": [{"address": "10.9.9.9"}],
    },
}
AUTHZ = {"service": "authz.example.com", "port": 9000}
UP = ["x-user", "x-auth-*", "authorization", "host", "x-request-id", "x-envoy-a", "content-length"]
OK = HttpAnswer(200, (), b"")
UAEX = Flag.EXTERNAL_AUTHORIZER


def asks(name: str = "opa", *rules: Any, policy_name: str = "ask") -> dict[str, Any]:
    """A CUSTOM policy; about everything where no rule is given."""
    found = policy("CUSTOM", *(rules or ({},)), name=policy_name)
    found["spec"]["provider"] = {"name": name}
    return found


def mesh(*policies: Any, providers: Any = None, more: Any = None, **settings: Any) -> TestMesh:
    """A mesh with an authorizer `opa` of these settings."""
    opa = {"name": "opa", "envoyExtAuthzHttp": {**AUTHZ, **settings}}
    config = mesh_config(extensionProviders=providers or [opa], **(more or {}))
    return TestMesh([SERVICE, config, *(policies or (asks(),))])


def asked(mesh: TestMesh, head: Any = None) -> Ask:
    """The question about a request."""
    passage = mesh.gate.admit(head or request("/"))
    assert isinstance(passage, Ask)
    return passage
