"""What an inbound listener asks before the app hears of a request: who may do what.

Source: Istio, the order of a sidecar's inbound filters: CUSTOM, JWT, AUDIT, DENY, ALLOW.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from meshware.envoy.jwt import jwt_authn
from meshware.envoy.rbac import Written, rbac_filters
from meshware.envoy.values import Json, Say
from meshware.policy.document.authorization_policy import MeshOperation
from meshware.policy.file import Records
from meshware.policy.record_types import AuthorizationRecord, MeshRecord, WorkloadRecord

__all__ = ["NotExported", "Security", "security_of"]


class NotExported(Exception):
    """A rule cannot be said in Envoy's words: without it the listener would let too much in.

    Attributes:
        resource: which has it, `AuthorizationPolicy shop/it`.
        why: a sentence.
    """

    def __init__(self, resource: str, why: str) -> None:
        super().__init__(f"{resource}: {why}")
        self.resource = resource
        self.why = why


@dataclass(frozen=True, slots=True)
class Security:
    """HTTP filters, in order, and the clusters that they need."""

    filters: tuple[Json, ...] = ()
    clusters: tuple[Json, ...] = ()


def security_of(
    records: Records, workload: WorkloadRecord, mesh: MeshRecord, ca_file: str, say: Say
) -> Security:
    """Return what the policies that select a workload come to.

    Args:
        records: the policy file's.
        workload: whose policies.
        mesh: mesh-wide settings.
        ca_file: the roots to trust where keys are fetched.
        say: takes warnings.

    Raises:
        NotExported: a policy cannot be said in Envoy's words.
    """
    trust_domains = (mesh.trust_domain, *mesh.trust_domain_aliases)
    policies = [_policy(records, key) for key in workload.authorization]
    for policy in policies:
        try:
            rbac_filters([policy], trust_domains)
        except ValueError as error:
            raise NotExported(_resource(policy), str(error)) from error
    tokens = jwt_authn(records, workload.authentication, ca_file, say)
    return Security(
        filters=(*tokens.filters, *rbac_filters(policies, trust_domains)),
        clusters=tokens.clusters,
    )


def _policy(records: Records, key: str) -> Written:
    data = records.get(key)
    if data is None:
        raise ValueError(f"the policy file names {key} and does not hold it")
    _, namespace, name = key.split("/", 2)
    record = msgspec.json.decode(data, type=AuthorizationRecord)
    policy = Written(namespace=namespace, name=name, spec=record.spec, is_dry_run=record.is_dry_run)
    if record.spec.action == "CUSTOM":
        raise NotExported(_resource(policy), "external authorizers are not exported")
    if any(
        _is_of_handlers(to.operation) for rule in record.spec.rules or () for to in rule.to or ()
    ):
        raise NotExported(
            _resource(policy), "Envoy knows nothing of an app's routes, functions and operationIds"
        )
    return policy


def _is_of_handlers(operation: MeshOperation | None) -> bool:
    """Say whether an operation names what only the app's own process can know."""
    return operation is not None and any(
        getattr(operation, name) is not None
        for name in MeshOperation.__struct_fields__
        if name.endswith(("routes", "functions", "operation_ids"))
    )


def _resource(policy: Written) -> str:
    return f"AuthorizationPolicy {policy.namespace}/{policy.name}"
