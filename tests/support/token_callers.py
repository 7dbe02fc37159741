"""A workload that is called by tokens, `default/app`, and one that calls it, `default/web`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import requests
from identity_world import once

from meshware.clients.requests import MeshAdapter
from meshware.runtime.mesh import Mesh

WORKLOADS = """
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

TOKENS = """
apiVersion: meshware.dev/v1alpha1
kind: WorkloadPolicy
metadata: {name: app}
spec: {selector: {matchLabels: {app: app}}, tokenIdentity: {mode: ACCEPT}}
"""


def served(port: int) -> str:
    """The service of `app` at a port, in plaintext, where nobody unknown is let in."""
    return f"""
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


def apply(root: Path, *texts: str) -> Path:
    """Have the daemon carry out policy, once; return the run directory."""
    (root / "mesh").mkdir(exist_ok=True)
    (root / "mesh" / "policy.yaml").write_text("---".join(texts))
    done = once(root)
    assert done.returncode == 0, done.stderr
    return root / "run"


@contextmanager
def web_session(run: Path) -> Iterator[requests.Session]:
    """A session of `web`."""
    web = Mesh.from_env({"MESH_CONFIG": str(run / "policy.mesh"), "MESH_WORKLOAD": "default/web"})
    web.start()
    try:
        with requests.Session() as session:
            session.mount("http://", MeshAdapter(web))
            yield session
    finally:
        web.stop()
