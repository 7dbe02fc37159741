"""A second, public port for what holds no identity: `portLevelMtls` on gunicorn and uvicorn."""

from __future__ import annotations

import pytest
from secured_apps import APP, PYTHON, WEB, RunDir, ask, caller, free_port, running, until

POLICY = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {{name: app}}
spec: {{metadata: {{labels: {{app: app}}}}, template: {{serviceAccount: app}}}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {{name: it}}
spec:
  selector: {{matchLabels: {{app: app}}}}
  mtls: {{mode: STRICT}}
  portLevelMtls: {{"{public}": {{mode: DISABLE}}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: open}}
spec:
  rules:
  - from: [{{source: {{principals: ["cluster.local/ns/default/sa/web"]}}}}]
  - to: [{{operation: {{ports: ["{public}"], methods: [GET], paths: [/healthz, /metrics]}}}}]
"""
RUN = [PYTHON, "-m", "meshware", "run"]


def check(run, port, public):
    """Both ports do what policy says of them."""
    assert APP
    web = caller(run.authority.issue(WEB), run.authority)
    until(port, web, 200)
    assert ask(port, web, "/orders")[0] == 200
    assert ask(port, None, "/healthz")[0] == 0  # plaintext is cut off at the mesh's port
    until(public, None, 403)
    assert ask(public, None, "/healthz")[0] == 200
    assert ask(public, None, "/metrics")[0] == 200
    assert ask(public, None, "/orders")[0] == 403


@pytest.mark.parametrize(
    ("worker", "app"),
    [
        ("sync", "telling:wsgi"),
        ("gthread", "telling:wsgi"),
        ("meshware.servers.gunicorn_asgi.UvicornWorker", "telling:asgi"),
    ],
)
def test_gunicorn_binds_two_ports(tmp_path, worker, app):
    """`-b` twice: one process, one app, two ports."""
    run = RunDir(tmp_path / "run")
    port, public = free_port(), free_port()
    run.policy(POLICY.format(public=public))
    command = [*RUN, "--", PYTHON, "-m", "gunicorn", "-k", worker, app]
    binds = ["-b", f"127.0.0.1:{port}", "-b", f"127.0.0.1:{public}"]
    with running([*command, *binds], port, run.environ(), tmp_path / "log"):
        check(run, port, public)


def test_uvicorn_has_a_process_for_each_port(tmp_path):
    """uvicorn binds one address; a second process of the same app serves the other."""
    run = RunDir(tmp_path / "run")
    port, public = free_port(), free_port()
    run.policy(POLICY.format(public=public))

    def command(at):
        return [*RUN, "--", PYTHON, "-m", "uvicorn", "--port", str(at), "telling:asgi"]

    with (
        running(command(port), port, run.environ(), tmp_path / "one"),
        running(command(public), public, run.environ(), tmp_path / "two"),
    ):
        check(run, port, public)
