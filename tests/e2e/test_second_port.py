"""What holds no identity: a second, public port (`portLevelMtls`), and the daemon's own ID."""

from __future__ import annotations

import pytest
from secured_apps import PYTHON, TD, WEB, RunDir, ask, caller, free_port, running, until

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


PROBED = """
---
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {name: mesh, namespace: istio-system}
spec: {identity: {daemonServiceAccount: mesh/daemon}}
---
apiVersion: meshware.dev/v1alpha1
kind: WorkloadPolicy
metadata: {name: probes}
spec: {probePaths: [/healthz]}
"""


def test_the_daemons_own_id_is_admitted_to_what_is_declared(tmp_path):
    """And to nothing else, though no rule names it."""
    run = RunDir(tmp_path / "run")
    port = free_port()
    run.policy(POLICY.format(public=free_port()) + PROBED)
    command = [*RUN, "--", PYTHON, "-m", "uvicorn", "--port", str(port), "telling:asgi"]
    with running(command, port, run.environ(), tmp_path / "log"):
        daemon = caller(run.authority.issue(f"spiffe://{TD}/ns/mesh/sa/daemon"), run.authority)
        until(port, daemon, 403)
        assert ask(port, daemon, "/healthz")[0] == 200
        assert ask(port, daemon, "/metrics")[0] == 403
