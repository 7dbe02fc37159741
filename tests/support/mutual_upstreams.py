"""Upstreams that answer in the name of a service account, and clients' meshes that have one."""

from __future__ import annotations

from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from client_world import route, service
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
    """A service at port 80, called once: its endpoints, each with its port and service account."""
    return "---".join(
        (service(name, *ends, policy=policy, more=more), route("retries: {attempts: 0}", name))
    )
