"""Upstreams that answer in the name of a service account, and clients' meshes that have one."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from cryptography.hazmat.primitives.serialization import Encoding
from secured_upstreams import TLSUpstream
from upstreams import OK

from meshware.identity.svid import X509SVID
from meshware.testing import TestMesh

DOMAIN = "cluster.local"
ORDERS = f"spiffe://{DOMAIN}/ns/default/sa/orders"
APP = f"spiffe://{DOMAIN}/ns/default/sa/app"

WORKLOAD = """
apiVersion: networking.istio.io/v1
kind: WorkloadGroup
metadata: {name: app}
spec: {metadata: {labels: {app: app}}, template: {serviceAccount: app}}
"""


@dataclass(frozen=True)
class Shown:
    """An SVID as upstreams show one."""

    svid: X509SVID

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Write `<name>.crt` and `<name>.key`, and return them."""
        paths = directory / f"{name}.crt", directory / f"{name}.key"
        paths[0].write_text(self.svid.cert_pem)
        paths[1].write_text(self.svid.key_pem)
        return paths


def root_of(mesh: TestMesh) -> bytes:
    """The root that a mesh believes for its own trust domain, as PEM."""
    return mesh.identity.bundles()[DOMAIN].roots[0].public_bytes(Encoding.PEM)


@contextmanager
def mutual(directory: Path, mesh: TestMesh, svid: X509SVID, *answers):
    """Open an upstream that wants a certificate of the mesh, and shows an SVID."""
    clients = SimpleNamespace(cert_pem=root_of(mesh))
    with ExitStack() as stack:
        upstream = TLSUpstream(
            list(answers) or [OK], identity=Shown(svid), directory=directory, clients=clients
        )
        yield stack.enter_context(closing(upstream))


def service_of(name: str, *ends: tuple[int, str | None], policy: str = "", more: str = "") -> str:
    """A service at port 80: its endpoints, each with its port and service account."""
    listed = ", ".join(
        f"{{address: 127.0.0.1, ports: {{http: {port}}}"
        + (f", serviceAccount: {account}}}" if account else "}")
        for port, account in ends
    )
    rule = f", {policy}" if policy else ""
    return f"""
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{{number: 80, name: http, protocol: HTTP}}]
  endpoints: [{listed}]
  {more}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: {name}}}
spec:
  host: {name}
  trafficPolicy: {{loadBalancer: {{simple: ROUND_ROBIN}}{rule}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}}}
spec:
  hosts: [{name}]
  http: [{{route: [{{destination: {{host: {name}}}}}], retries: {{attempts: 0}}}}]
"""
