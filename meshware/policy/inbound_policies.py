"""Which AuthorizationPolicies and RequestAuthentications apply to which workload, as records.

A policy applies in its own namespace, one of the root namespace in all of them, to the workloads
that its selector chooses, or to all where it has none. Source: Istio, "Selector".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
)
from meshware.policy.document.common import Document, Labels
from meshware.policy.document.request_authentication import RequestAuthenticationSpec
from meshware.policy.labels import selects
from meshware.policy.parse import Resource
from meshware.policy.record_types import AuthorizationRecord, PlaceRecord

__all__ = ["DRY_RUN", "TRUE_WORDS", "InboundPolicies", "inbound_policies", "is_dry_run"]

DRY_RUN = "istio.io/dry-run"
"""The annotation of a policy that is decided and told, and never enforced."""

TRUE_WORDS = frozenset({"1", "t", "T", "true", "TRUE", "True"})
"""What Istio, written in Go, reads as true."""


@dataclass(frozen=True, slots=True)
class _Policy:
    key: str
    namespace: str
    labels: Labels | None


@dataclass(frozen=True, slots=True)
class InboundPolicies:
    """The records of all policies, and what tells which of them apply."""

    records: Mapping[str, Document]
    _authorization: Sequence[_Policy]
    _authentication: Sequence[_Policy]
    _root_namespace: str

    def authorization_of(self, namespace: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the keys of the AuthorizationPolicies that select a workload, oldest first."""
        return self._selected(self._authorization, namespace, labels)

    def authentication_of(self, namespace: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """Return the keys of the RequestAuthentications that select a workload, oldest first."""
        return self._selected(self._authentication, namespace, labels)

    def _selected(
        self, policies: Sequence[_Policy], namespace: str, labels: Mapping[str, str]
    ) -> tuple[str, ...]:
        return tuple(
            policy.key
            for policy in policies
            if policy.namespace in (self._root_namespace, namespace)
            and selects(policy.labels, labels)
        )


def inbound_policies(resources: Iterable[Resource], root_namespace: str) -> InboundPolicies:
    """Return the records of the policies that decide inbound calls.

    Args:
        resources: oldest first.
        root_namespace: whose policies are for the whole mesh.
    """
    records: dict[str, Document] = {}
    authorization: list[_Policy] = []
    authentication: list[_Policy] = []
    for resource in resources:
        spec = resource.spec
        place = f"{resource.namespace}/{resource.name}"
        if isinstance(spec, AuthorizationPolicySpec):
            key, found = f"authz/{place}", authorization
            records[key] = _authorization(resource, spec)
            records[f"place/{key}"] = _place(resource, "rules", len(spec.rules or ()))
        elif isinstance(spec, MeshAuthorizationPolicySpec):
            key, found = f"mesh-authz/{place}", authorization
            records[key] = _authorization(resource, spec)
            records[f"place/{key}"] = _place(resource, "rules", len(spec.rules or ()))
        elif isinstance(spec, RequestAuthenticationSpec):
            key, found = f"authn/{place}", authentication
            records[key] = spec
            records[f"place/{key}"] = _place(resource, "jwtRules", len(spec.jwt_rules or ()))
        else:
            continue
        labels = spec.selector.match_labels if spec.selector else None
        found.append(_Policy(key, resource.namespace, labels or None))
    return InboundPolicies(records, authorization, authentication, root_namespace)


def is_dry_run(resource: Resource) -> bool:
    """Say whether a policy is decided and told, and never enforced."""
    return resource.annotations.get(DRY_RUN) in TRUE_WORDS


def _authorization(
    resource: Resource, spec: AuthorizationPolicySpec | MeshAuthorizationPolicySpec
) -> AuthorizationRecord:
    if isinstance(spec, AuthorizationPolicySpec):
        spec = msgspec.convert(msgspec.to_builtins(spec), MeshAuthorizationPolicySpec)
    return AuthorizationRecord(
        spec=spec,
        is_dry_run=is_dry_run(resource),
    )


def _place(resource: Resource, rules: str, count: int) -> PlaceRecord:
    lines = tuple(resource.line_of(f"spec.{rules}[{index}]") for index in range(count))
    return PlaceRecord(file=resource.origin.file, lines=lines)
