"""What tests of authorities and identities share: plans, policies, and times that can be chosen."""

from __future__ import annotations

import os
import pwd
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meshware.ca.authority import EmbeddedAuthority
from meshware.ca.plan import Account, Plan
from meshware.ca.store import Store
from meshware.identity.svid import X509SVID

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRUST_DOMAIN = "shop.test"

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def users(count: int = 3) -> list[pwd.struct_passwd]:
    """Unix users that are not root and differ from each other."""
    found = [user for user in pwd.getpwall() if user.pw_uid != 0]
    if len(found) < count:
        pytest.skip(f"this machine has fewer than {count} users besides root")
    return found[:count]


def let_through(place: Path) -> Path:
    """Let every user pass through a directory of ours to what is theirs below it."""
    for directory in (place, *place.parents):
        about = directory.stat()
        if about.st_uid == os.geteuid() and not about.st_mode & 0o001:
            directory.chmod(about.st_mode | 0o011)
    return place


def later(seconds: float) -> datetime:
    """A time after `NOW`."""
    return NOW + timedelta(seconds=seconds)


def plan(*names: str, leaf_life_s: float = 3600.0, user: str | None = None) -> Plan:
    """A plan of accounts in namespace `default`."""
    accounts = tuple(Account("default", name, user) for name in names)
    return Plan(trust_domain=TRUST_DOMAIN, leaf_life_s=leaf_life_s, accounts=accounts)


def authority(root: Path, now: datetime = NOW) -> EmbeddedAuthority:
    """The authority below a directory, made where absent."""
    (root / "ca").mkdir(parents=True, exist_ok=True)
    return EmbeddedAuthority.open(Store(root / "ca", TRUST_DOMAIN), TRUST_DOMAIN, now)


def mode_of(path: Path) -> int:
    """The permissions of a file or directory."""
    return stat.S_IMODE(path.stat(follow_symlinks=False).st_mode)


def svid_in(run_dir: Path, name: str = "web") -> X509SVID:
    """The identity of a service account, as it lies there now."""
    return X509SVID.from_pem((run_dir / "identity" / "default" / name / "svid.pem").read_bytes())


def mesh_policy(*accounts: str, spec: str = "") -> str:
    """A MeshConfig, and a workload for each service account, of the same name."""
    workloads = "".join(
        f"""\
---
apiVersion: networking.istio.io/v1
kind: WorkloadEntry
metadata: {{name: {account}}}
spec: {{address: 127.0.0.1, labels: {{app: {account}}}, serviceAccount: {account}}}
"""
        for account in accounts
    )
    return f"""\
apiVersion: meshware.dev/v1alpha1
kind: MeshConfig
metadata: {{name: mesh, namespace: istio-system}}
spec:
  trustDomain: {TRUST_DOMAIN}
{spec}{workloads}"""
