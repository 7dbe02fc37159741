"""Compile AuthorizationPolicies into rules that decide a request, flat in their number.

Each operation of each rule becomes an *entry*: a conjunction of tests. Entries that name paths are
found through an index of those, others through one of their hosts; only what names neither is
tried one by one.

What a field asks is in `inbound_matchers`; here is how entries are found.

Source: Istio AuthorizationPolicy; Envoy RBAC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
    MeshOperation,
    MeshRule,
    Operation,
    Rule,
)
from meshware.policy.inbound_facts import Facts, host_forms
from meshware.policy.inbound_matchers import (
    PathTest,
    RequestTest,
    folded_hosts,
    header_of,
    operation_tests,
    path_values,
    rule_tests,
)
from meshware.policy.match import Patterns
from meshware.policy.pattern_index import PatternIndex, literal_patterns
from meshware.policy.peer_matchers import Home
from meshware.policy.record_types import TRUST_DOMAIN

__all__ = [
    "CustomRules",
    "Entry",
    "InboundRules",
    "NamedPolicy",
    "RuleSet",
    "compile_inbound",
    "header_of",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """An AuthorizationPolicy that selects this workload."""

    namespace: str
    name: str
    spec: AuthorizationPolicySpec | MeshAuthorizationPolicySpec
    is_dry_run: bool = False
    key: str = ""  # of its record


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation of one rule: it holds when every test does."""

    policy: str  # "namespace/name"
    rule: int
    key: str  # of the policy's record
    tests: tuple[RequestTest, ...]
    path_tests: tuple[PathTest, ...]

    def holds(self, facts: Facts, path: str) -> bool:
        """Say whether the entry matches a request, taken to be for this path."""
        for path_test in self.path_tests:
            if not path_test(path):
                return False
        for test in self.tests:  # noqa: SIM110 - a generator costs more than these few tests
            if not test(facts):
                return False
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """The entries of one action, in the order in which they are asked."""

    entries: tuple[Entry, ...]
    by_path: PatternIndex
    by_host: PatternIndex | None  # None: no entry is found by its host
    with_host: tuple[int, ...]  # the entries that are
    others: tuple[int, ...]  # entries that name neither path nor host

    def first(self, facts: Facts, path: str) -> Entry | None:
        """Return the first entry that matches a request, taken to be for this path."""
        numbers = self.by_path.find(path)
        if self.by_host is not None:
            if facts.authority:
                for host in host_forms(facts.authority):
                    numbers += self.by_host.find(host)
            else:
                numbers += self.with_host  # each says for itself what it makes of that
        if self.others:
            numbers += self.others
        if len(numbers) > 1:
            numbers = sorted(set(numbers))
        entries = self.entries
        for number in numbers:
            if entries[number].holds(facts, path):
                return entries[number]
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomRules:
    """The CUSTOM rules that ask one provider."""

    provider: str  # its name in MeshConfig
    rules: RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class InboundRules:
    """Everything that AuthorizationPolicies say about calls to one workload."""

    custom: tuple[CustomRules, ...]  # by the oldest policy of each provider
    audit: RuleSet
    deny: RuleSet
    allow: RuleSet | None  # None: no ALLOW policy applies, and what is not denied may pass
    reads_headers: frozenset[str]  # lower case


def compile_inbound(
    policies: Sequence[NamedPolicy], trust_domains: tuple[str, ...] = (TRUST_DOMAIN,)
) -> InboundRules:
    """Compile the policies that select a workload.

    Args:
        policies: oldest first.
        trust_domains: our own, then its aliases.

    Raises:
        ValueError: a policy says something that cannot be carried out.
    """
    for policy in policies:
        _refuse_what_is_not_built(policy)
    of: dict[str, list[NamedPolicy]] = {}
    asking: dict[str, list[NamedPolicy]] = {}
    for policy in policies:
        of.setdefault(policy.spec.action or "ALLOW", []).append(policy)
        if policy.spec.action == "CUSTOM":
            provider = policy.spec.provider
            asking.setdefault((provider.name if provider else None) or "", []).append(policy)
    allowing = of.get("ALLOW")
    return InboundRules(
        custom=tuple(
            CustomRules(provider=name, rules=_rule_set(found, trust_domains, is_deny=True))
            for name, found in asking.items()
        ),
        audit=_rule_set(of.get("AUDIT", ()), trust_domains, is_deny=True),
        deny=_rule_set(of.get("DENY", ()), trust_domains, is_deny=True),
        allow=_rule_set(allowing, trust_domains, is_deny=False) if allowing else None,
        reads_headers=frozenset(
            header
            for policy in policies
            for rule in policy.spec.rules or ()
            for condition in rule.when or ()
            if (header := header_of(condition.key)) is not None
        ),
    )


# --- one action -------------------------------------------------------------------------------


def _rule_set(
    policies: Sequence[NamedPolicy], trust_domains: tuple[str, ...], *, is_deny: bool
) -> RuleSet:
    entries: list[Entry] = []
    by_path: list[tuple[int, Patterns]] = []
    by_host: list[tuple[int, Patterns]] = []
    others: list[int] = []
    for policy in policies:
        home = Home(policy.namespace, trust_domains)
        written: tuple[Rule | MeshRule, ...] = policy.spec.rules or ()
        for position, rule in enumerate(written):
            shared = rule_tests(rule, home, is_deny=is_deny)
            operations: list[Operation | None] = [to.operation for to in rule.to or ()] or [None]
            for operation in operations:
                number = len(entries)
                tests, path_tests = operation_tests(operation, is_deny=is_deny)
                entries.append(
                    Entry(
                        policy=f"{policy.namespace}/{policy.name}",
                        rule=position,
                        key=policy.key,
                        tests=(*tests, *shared),
                        path_tests=path_tests,
                    )
                )
                if operation is not None and operation.paths:
                    by_path.append((number, literal_patterns(path_values(operation.paths))))
                elif operation is not None and operation.hosts and "*" not in operation.hosts:
                    by_host.append((number, Patterns(folded_hosts(operation.hosts))))
                else:
                    others.append(number)
    return RuleSet(
        entries=tuple(entries),
        by_path=PatternIndex(by_path),
        by_host=PatternIndex(by_host) if by_host else None,
        with_host=tuple(number for number, _ in by_host),
        others=tuple(others),
    )


# --- what is not there yet --------------------------------------------------------------------


def _refuse_what_is_not_built(policy: NamedPolicy) -> None:
    """Refuse whatever the checks before should have refused: a rule left out would open a door."""
    spec, name = policy.spec, f"AuthorizationPolicy {policy.namespace}/{policy.name}"
    if spec.target_ref is not None or spec.target_refs is not None:
        raise ValueError(f"{name}: targetRefs do not apply to workloads")
    if _has_empty_list(spec.rules or None):
        raise ValueError(f"{name}: an empty list in a rule could mean all or nothing")
    if spec.action == "AUDIT":
        raise ValueError(f"{name}: action {spec.action} is not supported yet")
    is_named = spec.provider is not None and bool(spec.provider.name)
    if (spec.action == "CUSTOM") != is_named or (spec.provider is not None and not is_named):
        raise ValueError(f"{name}: CUSTOM needs a provider's name, and no other action has one")
    if spec.action == "CUSTOM" and policy.is_dry_run:
        raise ValueError(f"{name}: an authorizer cannot be asked by way of trial")
    if policy.is_dry_run:
        raise ValueError(f"{name}: a dry run is not supported yet")
    for rule in spec.rules or ():
        for to in rule.to or ():
            extras = () if not isinstance(to.operation, MeshOperation) else _OF_HANDLERS
            if any(getattr(to.operation, extra) is not None for extra in extras):
                raise ValueError(f"{name}: routes and functions are not supported yet")
        for one in rule.from_ or ():
            if one.source is not None and any(getattr(one.source, name) for name in _LATER):
                raise ValueError(f"{name}: a field of a source is not supported yet")


_OF_HANDLERS = (
    "routes",
    "not_routes",
    "functions",
    "not_functions",
    "operation_ids",
    "not_operation_ids",
)
_LATER = (
    "request_principals",
    "not_request_principals",
    "remote_ip_blocks",
    "not_remote_ip_blocks",
)


def _has_empty_list(part: object) -> bool:
    if isinstance(part, tuple):
        return not part or any(_has_empty_list(one) for one in part)
    if isinstance(part, msgspec.Struct):
        return any(_has_empty_list(getattr(part, name)) for name in part.__struct_fields__)
    return False
