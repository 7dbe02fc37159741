"""Who is to have an identity on this node, as policy says: a pure function of its resources.

1. MeshConfig names the provider, the trust domain and the life of a leaf.
2. Without `nodeIdentities` the accounts are those of all WorkloadEntries and WorkloadGroups; with
   it they are those that it lists, each for its Unix user. The daemon's own comes on top.
3. The plan is kept in the state directory, so that a daemon whose sources cannot be used goes on
   renewing what it issued.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from meshware.identity.issue import LEAF_LIFE_S
from meshware.identity.spiffe import SpiffeID, workload_id
from meshware.policy.document.mesh_config import MeshConfigSpec
from meshware.policy.document.service_entry import WorkloadEntrySpec, WorkloadGroupSpec
from meshware.policy.document.workload_policy import WorkloadPolicySpec
from meshware.policy.mesh_record import plain_fingerprint
from meshware.policy.parse import Resource
from meshware.policy.record_types import TRUST_DOMAIN
from meshware.runtime.files import read_json, replace_file

__all__ = [
    "SHORTEST_LIFE_S",
    "Account",
    "Plan",
    "ReportPlace",
    "plan_of",
    "read_plan",
    "write_plan",
]

SHORTEST_LIFE_S = 2.0
"""Certificates tell whole seconds: a shorter one may have ended before it is written."""

_MOST_BYTES = 16 * 1024 * 1024


class Account(msgspec.Struct, frozen=True, order=True):
    """A service account whose workloads run here."""

    namespace: str
    name: str
    user: str | None = None  # Unix user, by name or number; None: the daemon's own

    def id_in(self, trust_domain: str) -> SpiffeID:
        """Return its SPIFFE ID.

        Raises:
            IdentityError: its name cannot stand in one.
        """
        return workload_id(trust_domain, self.namespace, self.name)


class ReportPlace(msgspec.Struct, frozen=True, order=True):
    """A workload whose reports a certain Unix user writes."""

    namespace: str
    workload: str
    user: str


class Plan(msgspec.Struct, frozen=True):
    """What the daemon is to do about identities."""

    provider: Literal["embedded", "files", "workload-api"] = "embedded"
    trust_domain: str = TRUST_DOMAIN
    leaf_life_s: float = LEAF_LIFE_S
    accounts: tuple[Account, ...] = ()
    reports: tuple[ReportPlace, ...] = ()
    denied: tuple[str, ...] = ()  # fingerprints of authorities, in lower hex
    has_tokens: bool = False  # some workload takes token identities


def plan_of(resources: Iterable[Resource]) -> Plan:
    """Return what policy says of identities.

    Args:
        resources: checked ones.
    """
    mesh: MeshConfigSpec | None = None
    has_tokens = False
    workloads: list[tuple[str, str, str]] = []  # namespace, service account, workload
    for resource in resources:
        spec = resource.spec
        if isinstance(spec, MeshConfigSpec):
            mesh = mesh or spec
        elif isinstance(spec, WorkloadPolicySpec):
            modes = (spec.token_identity, *(spec.port_level_token_identity or {}).values())
            has_tokens |= any(each is not None and each.mode == "ACCEPT" for each in modes)
        elif isinstance(spec, WorkloadGroupSpec):
            account = spec.template.service_account
            if account:
                workloads.append((resource.namespace, account, resource.name))
        elif isinstance(spec, WorkloadEntrySpec) and spec.service_account:
            workloads.append((resource.namespace, spec.service_account, resource.name))
    identity = mesh.identity if mesh else None
    listed = (mesh.node_identities if mesh else None) or ()
    users: dict[tuple[str, str], str | None]
    if listed:
        users = {_account(entry.service_account): entry.user for entry in listed}
    else:
        users = {(namespace, account): None for namespace, account, _ in workloads}
    own = identity.daemon_service_account if identity else None
    if own:
        users.setdefault(_account(own), None)
    denied = (identity.denied_authorities if identity else None) or ()
    plan = Plan()
    return Plan(
        provider=(identity.provider if identity else None) or plan.provider,
        trust_domain=(mesh.trust_domain if mesh else None) or plan.trust_domain,
        leaf_life_s=max(
            (identity.leaf_life if identity else None) or plan.leaf_life_s, SHORTEST_LIFE_S
        ),
        accounts=tuple(
            sorted(
                (Account(namespace, name, user) for (namespace, name), user in users.items()),
                key=lambda account: (account.namespace, account.name),
            )
        ),
        reports=tuple(
            sorted(
                {
                    ReportPlace(namespace, workload, user)
                    for namespace, account, workload in workloads
                    if (user := users.get((namespace, account)))
                }
            )
        ),
        denied=tuple(sorted({plain_fingerprint(each) for each in denied})),
        has_tokens=has_tokens,
    )


def read_plan(path: Path) -> Plan | None:
    """Return the plan that was kept last; None where there is none that can be read."""
    return read_json(path, Plan, _MOST_BYTES)


def write_plan(path: Path, plan: Plan) -> None:
    """Keep a plan.

    Raises:
        OSError: it cannot be written.
    """
    replace_file(path, msgspec.json.encode(plan), mode=0o600)


def _account(written: str) -> tuple[str, str]:
    """Return namespace and name of `ns/sa`; of a bare name, which is of namespace `default`."""
    namespace, slash, name = written.partition("/")
    return (namespace, name) if slash else ("default", namespace)
