"""Identities for tests: an authority, what it issues, and a run directory to put it in."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.serialization import Encoding

from meshware.identity.issue import (
    LEAF_LIFE_S,
    issue_intermediate,
    issue_root,
    issue_svid,
    new_key,
)
from meshware.identity.spiffe import SpiffeID
from meshware.identity.svid import X509SVID
from meshware.policy.file import encode
from meshware.policy.load import load_mapping
from meshware.policy.records import build_records
from meshware.runtime.files import replace_file

DAY_S = 86400.0


class MeshAuthority:
    """A root and an intermediate of a trust domain."""

    def __init__(self, trust_domain: str = "cluster.local") -> None:
        now = datetime.now(UTC)
        self.trust_domain = trust_domain
        self.root = issue_root(trust_domain, new_key(), now - timedelta(days=30), 365 * DAY_S)
        self._issuer = issue_intermediate(
            self.root, new_key(), now - timedelta(days=30), 300 * DAY_S
        )

    @property
    def root_pem(self) -> str:
        """The root's certificate."""
        return self.root.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def bundle_pem(self) -> str:
        """The root and the intermediate, for servers that show a caller's leaf alone."""
        return self.root_pem + self._issuer.certificate.public_bytes(Encoding.PEM).decode()

    def issue(self, name: str, life_s: float = LEAF_LIFE_S, ago_s: float = 0.0) -> X509SVID:
        """Issue an SVID for `namespace/service-account`, as of so many seconds ago."""
        namespace, account = name.split("/")
        return self.issue_path(f"/ns/{namespace}/sa/{account}", life_s, ago_s)

    def issue_path(self, path: str, life_s: float = LEAF_LIFE_S, ago_s: float = 0.0) -> X509SVID:
        """Issue an SVID for an ID of any form, by its path."""
        now = datetime.now(UTC) - timedelta(seconds=ago_s)
        return issue_svid(self._issuer, SpiffeID(self.trust_domain, path), new_key(), now, life_s)


class RunDirectory:
    """A run directory with the policy and the identity of one workload, `default/app`."""

    def __init__(self, path: Path, account: str | None = "app") -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.policy_file = path / "policy.mesh"
        self._account = account
        self._generation = 0

    def write_policy(self, mode: str, ports: Mapping[str, str] | None = None) -> None:
        """Put a mode of mutual TLS in force."""
        group = {
            "apiVersion": "networking.istio.io/v1",
            "kind": "WorkloadGroup",
            "metadata": {"name": "app", "namespace": "default"},
            "spec": {
                "metadata": {"labels": {"app": "app"}},
                "template": {"serviceAccount": self._account} if self._account else {},
            },
        }
        loaded = load_mapping(group)
        loaded.raise_for_errors()
        records = build_records(loaded.resources)
        workload: dict[str, Any] = msgspec.json.decode(records["workload/default/app"])
        workload["peer"] = {"mode": mode, "ports": dict(ports or {})}
        records["workload/default/app"] = msgspec.json.encode(workload)
        self._generation += 1
        data = encode(records, generation=self._generation, trust_domain="cluster.local")
        replace_file(self.policy_file, data, mode=0o644)

    def write_identity(self, svid: X509SVID, bundle_pem: str | None = None) -> None:
        """Put the workload's SVID in place, and whom it believes."""
        directory = self.path.joinpath("identity", *svid.id.path.split("/")[2::2])
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        if bundle_pem is not None:
            replace_file(directory / "bundle.pem", bundle_pem.encode(), mode=0o644)
        replace_file(directory / "svid.pem", svid.pem.encode(), mode=0o600)


def client_context(svid: X509SVID | None, *root_pems: str) -> ssl.SSLContext:
    """Return a client's context as a plain program would make it: with an SVID, or with none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cadata="".join(root_pems))
    if svid is not None:
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            os.chmod(file.name, 0o600)
            file.write(svid.pem)
            file.flush()
            context.load_cert_chain(file.name)
    return context
