"""The daemon issues identity tokens where some workload takes them, and publishes their keys."""

from __future__ import annotations

import json
import stat
import subprocess

import pytest
import requests
from secured_apps import PYTHON, SUPPORT, ask, free_port, running

from meshware.clients.requests import MeshAdapter
from meshware.runtime.mesh import Mesh

POLICY = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app}
spec: {metadata: {labels: {app: app}}, template: {serviceAccount: app}}
---
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: web}
spec: {metadata: {labels: {app: web}}, template: {serviceAccount: web}}
"""
TOKENS = """---
apiVersion: meshware.dev/v1alpha1
kind: WorkloadPolicy
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, tokenIdentity: {mode: ACCEPT}}
"""


def test_tokens_are_issued_where_policy_takes_them(tmp_path):
    """Each with a key of its own, for its owner's eyes; the public keys alone are published."""
    source, run = tmp_path / "mesh", tmp_path / "run"
    source.mkdir()
    command = [
        PYTHON, "-m", "meshware", "sync", "--source", source, "--run-dir", run,
        "--state-dir", tmp_path / "state", "--once",
    ]  # fmt: skip

    def sync(text):
        (source / "policy.yaml").write_text(text)
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return (run / "policy.mesh").read_text()

    tokens = [run / "identity/default" / name / "token.json" for name in ("app", "web")]
    assert '"kty"' not in sync(POLICY)
    assert not any(path.exists() for path in tokens)

    published = sync(POLICY + TOKENS)
    record = next(line for line in published.splitlines() if '"kty"' in line)
    keys = json.loads(record)["tokens"]
    assert {key["kty"] for key in keys} == {"EC"}
    assert not any("d" in key for key in keys)
    for path in tokens:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        content = json.loads(path.read_text())
        assert "PRIVATE KEY" in content["key"]
        assert content["wit"] not in published
    assert "PRIVATE KEY" not in published

    before = [path.read_text() for path in tokens]
    tokens[0].unlink()
    assert sync(POLICY + TOKENS).count('"kty"') == published.count('"kty"')
    assert tokens[0].read_text() != before[0]


SERVED = """---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: app}}
spec:
  hosts: [app]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints:
    - {{address: 127.0.0.1, ports: {{http: {port}}}, labels: {{app: app}}, serviceAccount: app}}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: app}}
spec: {{host: app, trafficPolicy: {{tls: {{mode: DISABLE}}}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: it}}
spec: {{mtls: {{mode: STRICT}}}}
"""


@pytest.mark.parametrize(
    "server",
    [
        ["granian", "--interface", "asgi", "--port", "{}", "telling:asgi"],
        ["granian", "--interface", "wsgi", "--port", "{}", "telling:wsgi"],
        ["waitress", "--host", "127.0.0.1", "--port", "{}", "telling:wsgi"],
    ],
    ids=["granian asgi", "granian wsgi", "waitress"],
)
def test_a_server_that_hides_certificates_knows_its_callers(tmp_path, server):
    """STRICT holds there too: who proves itself by tokens is known, and nobody else is let in."""
    source, run, port = tmp_path / "mesh", tmp_path / "run", free_port()
    source.mkdir()
    (source / "policy.yaml").write_text(POLICY + TOKENS + SERVED.format(port=port))
    command = [
        PYTHON, "-m", "meshware", "sync", "--source", source, "--run-dir", run,
        "--state-dir", tmp_path / "state", "--once",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    environ = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(SUPPORT),
        "MESH_CONFIG": str(run / "policy.mesh"),
        "MESH_WORKLOAD": "default/app",
    }
    web = Mesh.from_env({"MESH_CONFIG": environ["MESH_CONFIG"], "MESH_WORKLOAD": "default/web"})
    web.start()
    try:
        with (
            running(
                [PYTHON, "-m", *(w.format(port) for w in server)], port, environ, tmp_path / "log"
            ),
            requests.Session() as session,
        ):
            session.mount("http://", MeshAdapter(web))
            for _ in range(3):
                response = session.get("http://app/orders?x=1")
                assert (response.status_code, response.meshware.flags) == (200, "-")
                told = response.json()
                assert told["peer"] == "spiffe://cluster.local/ns/default/sa/web"
                assert told["by"] == "token"
            assert ask(port)[0] == 403
            status, said = ask(port, None, Workload_Identity_Token="x", Workload_Proof_Token="y")
            assert (status, said) == (401, "Workload token is not valid")
    finally:
        web.stop()
