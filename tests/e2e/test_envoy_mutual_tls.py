"""The real Envoy in the mesh: a client of a Python workload, and the server before another."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests
from secured_apps import PYTHON, SUPPORT, free_port, running
from token_callers import apply

from meshware.clients.requests import MeshAdapter
from meshware.runtime.mesh import Mesh

PATIENCE_S = 30.0


def policy(api: int, legacy: int) -> str:
    """A Python `api`, an Envoy before `legacy`, and who may call whom: each the other alone."""
    parts = ["""
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
"""]  # fmt: skip
    for name, port in (("api", api), ("legacy", legacy)):
        parts.append(f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  workloadSelector: {{labels: {{app: {name}}}}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {name}}}
spec:
  address: 127.0.0.1
  ports: {{http: {port}}}
  labels: {{app: {name}}}
  serviceAccount: {name}
""")  # fmt: skip
    parts.append("""
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: api}
spec:
  selector: {matchLabels: {app: api}}
  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/legacy]}}]}]
""")
    return "---".join(parts)


@pytest.fixture(scope="module")
def mesh_of_two(tmp_path_factory, engine):
    """A daemon, a Python workload `api`, and an Envoy that is the whole mesh of `legacy`."""
    envoy, tmp_path = engine("envoy"), tmp_path_factory.mktemp("envoy")
    api, inbound, outbound, plain = (free_port() for _ in range(4))
    run = apply(tmp_path, policy(api, inbound))
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(SUPPORT),
        "MESH_CONFIG": str(run / "policy.mesh"),
        "MESH_WORKLOAD": "default/api",
    }
    export = [
        PYTHON, "-m", "meshware", "export", "envoy", "--policy", run / "policy.mesh",
        "--workload", "default/legacy", "--out", tmp_path / "envoy", "--port", outbound,
        "--admin-port", 0, "--identity", run / "identity/default/legacy",
        "--inbound", f"127.0.0.1:{inbound}", "--app-port", plain,
    ]  # fmt: skip
    done = subprocess.run(
        list(map(str, export)), check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    serve = [PYTHON, "-m", "meshware", "run", "--", PYTHON, "-m", "uvicorn", "--port", str(api)]
    legacy = [PYTHON, "-m", "uvicorn", "--port", str(plain), "telling:bare_asgi"]
    config = str(tmp_path / "envoy/bootstrap.json")
    proxy = [
        str(envoy), "-c", config, "--use-dynamic-base-id", "--concurrency", "1",
        "--log-level", "warning",
    ]  # fmt: skip
    with (
        running([*serve, "telling:asgi"], api, environ, tmp_path / "api.log"),
        running(legacy, plain, environ, tmp_path / "legacy.log"),
        running(proxy, inbound, environ, tmp_path / "envoy.log"),
    ):
        yield {"run": run, "api": api, "inbound": inbound, "outbound": outbound}


def through(port: int, host: str) -> tuple[int, str]:
    """Ask by the proxy, as an app in any language would."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/", headers={"host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_envoy_calls_a_python_workload_by_mutual_tls(mesh_of_two):
    """The workload knows it by the certificate of its daemon, and its rule lets it in."""
    end = time.monotonic() + PATIENCE_S
    while (got := through(mesh_of_two["outbound"], "api"))[0] != 200:
        assert time.monotonic() < end, got
        time.sleep(0.2)
    told = json.loads(got[1])
    assert told["peer"] == "spiffe://cluster.local/ns/default/sa/legacy"
    assert told["by"] == "mtls"


def test_a_python_client_calls_the_app_behind_envoy(mesh_of_two):
    """Each end expects the other; the app behind hears who calls, and nobody gets through."""
    run: Path = mesh_of_two["run"]
    environ = {"MESH_CONFIG": str(run / "policy.mesh"), "MESH_WORKLOAD": "default/api"}
    mesh = Mesh.from_env(environ)
    mesh.start()
    try:
        with requests.Session() as session:
            session.mount("http://", MeshAdapter(mesh))
            response = session.get("http://legacy/", headers={"x-forwarded-client-cert": "URI=x"})
    finally:
        mesh.stop()
    assert (response.status_code, response.meshware.flags) == (200, "-")
    assert response.json()["xfcc"].endswith("URI=spiffe://cluster.local/ns/default/sa/api")
    assert "URI=x" not in response.json()["xfcc"]
    with socket.create_connection(("127.0.0.1", mesh_of_two["inbound"])) as nobody:
        nobody.sendall(b"GET / HTTP/1.1\r\nhost: legacy\r\n\r\n")
        assert nobody.recv(100) == b""
