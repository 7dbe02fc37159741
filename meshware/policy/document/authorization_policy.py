"""AuthorizationPolicy: who may do what. Source: security.istio.io/v1, and ours."""

from __future__ import annotations

from typing import Literal

import msgspec

from meshware.policy.document.common import Document, PolicyTargetReference, WorkloadSelector

__all__ = [
    "AuthorizationPolicySpec",
    "Condition",
    "ExtensionProvider",
    "From",
    "MeshAuthorizationPolicySpec",
    "MeshOperation",
    "MeshRule",
    "MeshTo",
    "Operation",
    "Rule",
    "Source",
    "To",
]

Action = Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"]
Strings = tuple[str, ...]


class Source(Document, frozen=True):
    """Who calls; all fields that are set must hold, any value of a field will do."""

    principals: Strings | None = None
    not_principals: Strings | None = None
    request_principals: Strings | None = None
    not_request_principals: Strings | None = None
    namespaces: Strings | None = None
    not_namespaces: Strings | None = None
    service_accounts: Strings | None = None
    not_service_accounts: Strings | None = None
    trust_domains: Strings | None = None
    not_trust_domains: Strings | None = None
    ip_blocks: Strings | None = None
    not_ip_blocks: Strings | None = None
    remote_ip_blocks: Strings | None = None
    not_remote_ip_blocks: Strings | None = None


class From(Document, frozen=True):
    """One source."""

    source: Source | None = None


class Operation(Document, frozen=True):
    """What is asked; all fields that are set must hold, any value of a field will do."""

    hosts: Strings | None = None
    not_hosts: Strings | None = None
    ports: Strings | None = None
    not_ports: Strings | None = None
    methods: Strings | None = None
    not_methods: Strings | None = None
    paths: Strings | None = None
    not_paths: Strings | None = None


class To(Document, frozen=True):
    """One operation."""

    operation: Operation | None = None


class Condition(Document, frozen=True):
    """A condition on an attribute of the call."""

    key: str
    values: Strings | None = None
    not_values: Strings | None = None


class Rule(Document, frozen=True):
    """A match: some source, some operation, every condition."""

    from_: tuple[From, ...] | None = msgspec.field(name="from", default=None)
    to: tuple[To, ...] | None = None
    when: tuple[Condition, ...] | None = None


class ExtensionProvider(Document, frozen=True):
    """An external authorizer, by its name in MeshConfig."""

    name: str | None = None


class AuthorizationPolicySpec(Document, frozen=True):
    """Who may do what at some workloads."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] | None = None
    rules: tuple[Rule, ...] | None = None
    action: Action | None = None
    provider: ExtensionProvider | None = None


class MeshOperation(Operation, frozen=True):
    """An operation by what the framework makes of the request."""

    routes: Strings | None = None
    not_routes: Strings | None = None
    functions: Strings | None = None
    not_functions: Strings | None = None
    operation_ids: Strings | None = None
    not_operation_ids: Strings | None = None


class MeshTo(Document, frozen=True):
    """One operation."""

    operation: MeshOperation | None = None


class MeshRule(Document, frozen=True):
    """A match: some source, some operation, every condition."""

    from_: tuple[From, ...] | None = msgspec.field(name="from", default=None)
    to: tuple[MeshTo, ...] | None = None
    when: tuple[Condition, ...] | None = None


class MeshAuthorizationPolicySpec(Document, frozen=True):
    """Istio's AuthorizationPolicy, with operations by route, function and operationId."""

    selector: WorkloadSelector | None = None
    target_ref: PolicyTargetReference | None = None
    target_refs: tuple[PolicyTargetReference, ...] | None = None
    rules: tuple[MeshRule, ...] | None = None
    action: Action | None = None
    provider: ExtensionProvider | None = None
