"""Compile AuthorizationPolicies into rules that decide a request, flat in their number.

Each operation of each rule becomes an *entry*: a conjunction of tests. What a field asks is in
`inbound_matchers`, how the few entries in question are found in `rule_index`. An entry that asks
what an earlier one does can never decide, and is left out.

Source: Istio AuthorizationPolicy; Envoy RBAC.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    MeshAuthorizationPolicySpec,
    MeshRule,
    Operation,
    Rule,
)
from meshware.policy.handler_matchers import asks_handlers
from meshware.policy.inbound_facts import Facts
from meshware.policy.inbound_matchers import (
    PathTest,
    RequestTest,
    header_of,
    operation_tests,
    rule_tests,
)
from meshware.policy.pattern_index import Kept
from meshware.policy.peer_matchers import Home
from meshware.policy.record_types import TRUST_DOMAIN
from meshware.policy.rule_index import RuleIndex
from meshware.policy.rule_keys import Option, operation_options, rule_options

__all__ = [
    "CustomRules",
    "Entry",
    "InboundRules",
    "NamedPolicy",
    "RuleSet",
    "ShadowRules",
    "compile_inbound",
    "header_of",
]

_MOST_NAMED = 5  # policies, in words


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """An AuthorizationPolicy that selects this workload."""

    namespace: str
    name: str
    spec: AuthorizationPolicySpec | MeshAuthorizationPolicySpec
    is_dry_run: bool = False
    key: str = ""  # of its record


class Entry(NamedTuple):
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
    index: RuleIndex

    def first(self, facts: Facts, path: str) -> Entry | None:
        """Return the first entry that matches a request, taken to be for this path."""
        index, entries = self.index, self.entries
        by_path = index.by_path
        found = index.find(facts, path) if by_path is None else by_path(path)
        for number in found if len(found) < 2 else sorted(set(found)):
            if entries[number].holds(facts, path):
                return entries[number]
        return None

    def every(self, facts: Facts, path: str) -> Iterator[Entry]:
        """Yield the entries that match a request, taken to be for this path, in order."""
        for number in self.index.find(facts, path):
            entry = self.entries[number]
            if entry.holds(facts, path):
                yield entry


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRules:
    """What is on trial: rules that are decided and told, and never enforced."""

    deny: RuleSet
    allow: RuleSet | None  # None: no ALLOW policy is on trial


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
    allowing: str  # those policies in words, for who is refused by none of them; "": there is none
    reads_headers: frozenset[str]  # lower case; by the policies that are enforced
    binds_handlers: bool = False  # what runs must be what was decided on: a rule asks for that
    marks_read: frozenset[str] = frozenset()  # by all of them
    shadow: ShadowRules | None = None  # None: nothing is on trial
    marks: bool = False  # whatever is decided: some rules audit, or are on trial


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
    on_trial: dict[str, list[NamedPolicy]] = {}
    asking: dict[str, list[NamedPolicy]] = {}
    for policy in policies:
        action = policy.spec.action or "ALLOW"
        (on_trial if policy.is_dry_run else of).setdefault(action, []).append(policy)
        if action == "CUSTOM":
            provider = policy.spec.provider
            asking.setdefault((provider.name if provider else None) or "", []).append(policy)

    def rule_set(found: Sequence[NamedPolicy], *, is_deny: bool, is_first: bool = True) -> RuleSet:
        return _rule_set(found, trust_domains, is_deny=is_deny, is_first=is_first)

    def allow_set(found: Sequence[NamedPolicy] | None) -> RuleSet | None:
        return rule_set(found, is_deny=False) if found else None

    shadow = None
    if on_trial:
        shadow = ShadowRules(
            deny=rule_set(on_trial.get("DENY", ()), is_deny=True),
            allow=allow_set(on_trial.get("ALLOW")),
        )
    audit = rule_set(of.get("AUDIT", ()), is_deny=True, is_first=False)
    return InboundRules(
        custom=tuple(
            CustomRules(provider=name, rules=rule_set(found, is_deny=True))
            for name, found in asking.items()
        ),
        audit=audit,
        deny=rule_set(of.get("DENY", ()), is_deny=True),
        allow=allow_set(of.get("ALLOW")),
        allowing=_in_words(of.get("ALLOW", ())),
        shadow=shadow,
        marks=shadow is not None or bool(audit.entries),
        reads_headers=_headers([one for one in policies if _is_enforced(one)]),
        marks_read=_headers(policies),
        binds_handlers=any(
            asks_handlers(to.operation)
            for policy in policies
            if _is_enforced(policy)
            for rule in policy.spec.rules or ()
            for to in rule.to or ()
        ),
    )


def _in_words(policies: Sequence[NamedPolicy]) -> str:
    names = [f"{policy.namespace}/{policy.name}" for policy in policies[:_MOST_NAMED]]
    if len(policies) > _MOST_NAMED:
        names.append(f"{len(policies) - _MOST_NAMED} more")
    return ", ".join(names)


def _is_enforced(policy: NamedPolicy) -> bool:
    return not policy.is_dry_run and policy.spec.action != "AUDIT"


def _headers(policies: Sequence[NamedPolicy]) -> frozenset[str]:
    """Return the headers that policies read, in lower case."""
    return frozenset(
        header
        for policy in policies
        for rule in policy.spec.rules or ()
        for condition in rule.when or ()
        if (header := header_of(condition.key)) is not None
    )


# --- one action -------------------------------------------------------------------------------


def _rule_set(
    policies: Sequence[NamedPolicy],
    trust_domains: tuple[str, ...],
    *,
    is_deny: bool,
    is_first: bool,
) -> RuleSet:
    """Compile the rules of one action.

    Args:
        policies: oldest first.
        trust_domains: our own, then its aliases.
        is_deny: whether they refuse.
        is_first: whether only the first that matches is asked for, ever.
    """
    entries: list[Entry] = []
    options: list[tuple[Option, ...]] = []
    asked: list[Hashable] = []  # of each entry what it asks for, its paths apart
    seen: set[Hashable] = set()
    shared: dict[Hashable, _Shared] = {}
    for policy in policies:
        home = Home(policy.namespace, trust_domains)
        name = f"{policy.namespace}/{policy.name}"
        written: tuple[Rule | MeshRule, ...] = policy.spec.rules or ()
        for position, rule in enumerate(written):
            key = (rule.from_, rule.when, policy.namespace)
            common = shared.get(key)
            if common is None:
                common = shared[key] = _Shared(
                    len(shared), rule_tests(rule, home, is_deny=is_deny), rule_options(rule, home)
                )
            operations: list[Operation | None] = [to.operation for to in rule.to or ()] or [None]
            for operation in operations:
                asks, paths = _asks(operation, common.number)
                if is_first:
                    if (asks, paths) in seen:
                        continue  # the one before it decides whatever this would
                    seen.add((asks, paths))
                tests, path_tests = operation_tests(operation, is_deny=is_deny)
                entries.append(
                    Entry(name, position, policy.key, (*tests, *common.tests), path_tests)
                )
                options.append((*operation_options(operation), *common.options))
                asked.append(asks)
    index = RuleIndex(options, _first_of(asked) if is_first else tuple, is_deny=is_deny)
    return RuleSet(entries=tuple(entries), index=index)


class _Shared(NamedTuple):
    """What the operations of a rule have in common."""

    number: int
    tests: tuple[RequestTest, ...]
    options: list[Option]


def _asks(operation: Operation | None, common: int) -> tuple[Hashable, Hashable]:
    """Return what an entry asks for besides paths, and the paths: equal ones ask the same."""
    if operation is None:
        return common, None
    fields = type(operation).__struct_fields__
    rest = tuple([getattr(operation, field) for field in fields if field != "paths"])
    return (common, rest), operation.paths


def _first_of(asked: Sequence[Hashable]) -> Kept:
    """Return what keeps, of entries that ask the same of everything but the path, the first."""

    def kept(numbers: Sequence[int]) -> tuple[int, ...]:
        if len(numbers) < 2:
            return tuple(numbers)
        first: dict[Hashable, int] = {}
        for number in sorted(numbers):
            first.setdefault(asked[number], number)
        return tuple(first.values())

    return kept


# --- what is not there yet --------------------------------------------------------------------


def _refuse_what_is_not_built(policy: NamedPolicy) -> None:
    """Refuse whatever the checks before should have refused: a rule left out would open a door."""
    spec, name = policy.spec, f"AuthorizationPolicy {policy.namespace}/{policy.name}"
    if spec.target_ref is not None or spec.target_refs is not None:
        raise ValueError(f"{name}: targetRefs do not apply to workloads")
    if any(_has_empty_list(rule) for rule in spec.rules or ()):
        raise ValueError(f"{name}: an empty list in a rule could mean all or nothing")
    is_named = spec.provider is not None and bool(spec.provider.name)
    if (spec.action == "CUSTOM") != is_named or (spec.provider is not None and not is_named):
        raise ValueError(f"{name}: CUSTOM needs a provider's name, and no other action has one")
    if policy.is_dry_run and spec.action not in (None, "ALLOW", "DENY"):
        raise ValueError(f"{name}: only ALLOW and DENY have a dry run")


def _has_empty_list(rule: Rule | MeshRule) -> bool:
    parts = [one.source for one in rule.from_ or ()]
    asked = [to.operation for to in rule.to or ()]
    return () in (rule.from_, rule.to, rule.when) or any(
        () in msgspec.structs.astuple(part)
        for part in (*parts, *asked, *(rule.when or ()))
        if part is not None
    )
