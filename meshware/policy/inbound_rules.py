"""Compile AuthorizationPolicies into rules that decide a request, flat in their number.

Each operation of each rule becomes an *entry*: a conjunction of tests. Entries that name paths are
found through an index of those, others through one of their hosts; only what names neither is
tried one by one.

A test is told whether its entry denies or allows, for what is not certain must harm neither way:

1. A fact that is not known (port, addresses, a Host that was not sent) holds for DENY and does
   not for ALLOW.
2. A header with several values holds for DENY if any of them does, for ALLOW only if all do.
   WSGI servers join the lines of a repeated header with commas, so a line is taken apart at its
   commas; only headers that RFC 9110 defines as single are not. What is written in a policy as one
   value with commas in it also meets the joined line as a whole, and what `notValues` of an ALLOW
   rule name must be met in no reading.
3. `hosts` meet the Host header in any case, with and without its port, and never by a trailing dot.

Source: Istio AuthorizationPolicy; Envoy RBAC.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from meshware.call import HeaderLookup
from meshware.policy.addresses import AddressSet, parse_address
from meshware.policy.document.authorization_policy import (
    AuthorizationPolicySpec,
    Condition,
    Operation,
    Rule,
    Source,
)
from meshware.policy.match import PathTemplate, Patterns, is_path_template
from meshware.policy.paths import capital_hex
from meshware.policy.pattern_index import PatternIndex, literal_patterns

__all__ = [
    "Entry",
    "Facts",
    "InboundRules",
    "NamedPolicy",
    "RuleSet",
    "compile_inbound",
    "header_of",
]

_HEADER_KEY = "request.headers["

# Fields whose value is one by definition, so that a comma in them joins nothing.
_SINGLE = frozenset(
    {
        "authorization",
        "content-disposition",
        "content-length",
        "content-location",
        "content-type",
        "cookie",
        "date",
        "from",
        "host",
        "if-modified-since",
        "if-range",
        "if-unmodified-since",
        "location",
        "origin",
        "proxy-authorization",
        "referer",
        "user-agent",
    }
)


@dataclass(slots=True, kw_only=True)
class Facts:
    """What rules may ask about one request."""

    method: str
    authority: str  # the Host header; "" when there is none
    headers: HeaderLookup
    source_ip: str | None  # None: not known
    destination_ip: str | None
    port: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """An AuthorizationPolicy that selects this workload."""

    namespace: str
    name: str
    spec: AuthorizationPolicySpec


RequestTest = Callable[[Facts], bool]
PathTest = Callable[[str], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One operation of one rule: it holds when every test does."""

    policy: str  # "namespace/name"
    rule: int
    tests: tuple[RequestTest, ...]
    path_tests: tuple[PathTest, ...]

    def holds(self, facts: Facts, path: str) -> bool:
        """Say whether the entry matches a request, taken to be for this path."""
        return all(test(path) for test in self.path_tests) and all(
            test(facts) for test in self.tests
        )


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
class InboundRules:
    """Everything that AuthorizationPolicies say about calls to one workload."""

    deny: RuleSet
    allow: RuleSet | None  # None: no ALLOW policy applies, and what is not denied may pass
    reads_headers: frozenset[str]  # lower case


def compile_inbound(policies: Sequence[NamedPolicy]) -> InboundRules:
    """Compile the policies that select a workload.

    Raises:
        ValueError: a policy says something that cannot be carried out.
    """
    denying = [policy for policy in policies if policy.spec.action == "DENY"]
    allowing = [policy for policy in policies if policy.spec.action in (None, "ALLOW")]
    for policy in policies:
        _refuse_what_is_not_built(policy)
    return InboundRules(
        deny=_rule_set(denying, is_deny=True),
        allow=_rule_set(allowing, is_deny=False) if allowing else None,
        reads_headers=frozenset(
            header
            for policy in policies
            for rule in policy.spec.rules or ()
            for condition in rule.when or ()
            if (header := header_of(condition.key)) is not None
        ),
    )


def header_of(key: str) -> str | None:
    """Return the header that a `when` key `request.headers[name]` names, in lower case."""
    if key.startswith(_HEADER_KEY) and key.endswith("]"):
        return key[len(_HEADER_KEY) : -1].lower()
    return None


def host_forms(authority: str) -> tuple[str, ...]:
    """Return how a Host header may be written: as it is, without trailing dot, without port."""
    written = authority.lower()
    host, colon, port = written.rpartition(":")
    if not colon or (port and not port.isdigit()):
        host, colon, port = written, "", ""
    bare = host.removesuffix(".")
    return tuple(dict.fromkeys((written, f"{bare}{colon}{port}", bare)))


# --- one action -------------------------------------------------------------------------------


def _rule_set(policies: Sequence[NamedPolicy], *, is_deny: bool) -> RuleSet:
    entries: list[Entry] = []
    by_path: list[tuple[int, Patterns]] = []
    by_host: list[tuple[int, Patterns]] = []
    others: list[int] = []
    for policy in policies:
        for position, rule in enumerate(policy.spec.rules or ()):
            shared = _rule_tests(rule, is_deny=is_deny)
            operations = [to.operation for to in rule.to] if rule.to else [None]
            for operation in operations:
                number = len(entries)
                tests, path_tests = _operation_tests(operation, is_deny=is_deny)
                entries.append(
                    Entry(
                        policy=f"{policy.namespace}/{policy.name}",
                        rule=position,
                        tests=(*tests, *shared),
                        path_tests=path_tests,
                    )
                )
                if operation is not None and operation.paths:
                    by_path.append((number, literal_patterns(_paths(operation.paths))))
                elif operation is not None and operation.hosts and "*" not in operation.hosts:
                    by_host.append((number, Patterns(_folded(operation.hosts))))
                else:
                    others.append(number)
    return RuleSet(
        entries=tuple(entries),
        by_path=PatternIndex(by_path),
        by_host=PatternIndex(by_host) if by_host else None,
        with_host=tuple(number for number, _ in by_host),
        others=tuple(others),
    )


def _rule_tests(rule: Rule, *, is_deny: bool) -> tuple[RequestTest, ...]:
    tests: list[RequestTest] = []
    if rule.from_:
        tests.append(_any_source([_source_test(one.source, is_deny) for one in rule.from_]))
    tests += [_condition_test(condition, is_deny=is_deny) for condition in rule.when or ()]
    return tuple(tests)


def _any_source(sources: Sequence[RequestTest]) -> RequestTest:
    if len(sources) == 1:
        return sources[0]
    return lambda facts: any(test(facts) for test in sources)


def _source_test(source: Source | None, is_deny: bool) -> RequestTest:
    within = None if source is None or not source.ip_blocks else AddressSet(source.ip_blocks)
    without = (
        None if source is None or not source.not_ip_blocks else AddressSet(source.not_ip_blocks)
    )
    return _address_test(lambda facts: facts.source_ip, within, without, is_deny=is_deny)


def _address_test(
    fact: Callable[[Facts], str | None],
    within: AddressSet | None,
    without: AddressSet | None,
    *,
    is_deny: bool,
) -> RequestTest:
    if within is None and without is None:
        return lambda facts: True

    def holds(facts: Facts) -> bool:
        address = parse_address(fact(facts))
        if address is None:
            return is_deny
        if within is not None and address not in within:
            return False
        return without is None or address not in without

    return holds


def _operation_tests(
    operation: Operation | None, *, is_deny: bool
) -> tuple[tuple[RequestTest, ...], tuple[PathTest, ...]]:
    if operation is None:
        return (), ()
    tests: list[RequestTest] = []
    if operation.methods:
        tests.append(_method_test(Patterns(operation.methods, is_empty_present=True), wanted=True))
    if operation.not_methods:
        tests.append(
            _method_test(Patterns(operation.not_methods, is_empty_present=True), wanted=False)
        )
    if operation.hosts:
        tests.append(_host_test(_folded(operation.hosts), wanted=True, is_deny=is_deny))
    if operation.not_hosts:
        tests.append(_host_test(_folded(operation.not_hosts), wanted=False, is_deny=is_deny))
    if operation.ports or operation.not_ports:
        tests.append(_port_test(operation.ports, operation.not_ports, is_deny=is_deny))
    path_tests: list[PathTest] = []
    if operation.paths:
        path_tests.append(_path_test(operation.paths))
    if operation.not_paths:
        excluded = _path_test(operation.not_paths)
        path_tests.append(lambda path: not excluded(path))
    return tuple(tests), tuple(path_tests)


def _method_test(patterns: Patterns, *, wanted: bool) -> RequestTest:
    return lambda facts: patterns(facts.method) is wanted


def _host_test(values: tuple[str, ...], *, wanted: bool, is_deny: bool) -> RequestTest:
    patterns = Patterns(values)

    def holds(facts: Facts) -> bool:
        if not facts.authority:
            return is_deny
        return any(patterns(host) for host in host_forms(facts.authority)) is wanted

    return holds


def _port_test(
    ports: Sequence[str] | None, not_ports: Sequence[str] | None, *, is_deny: bool
) -> RequestTest:
    within = frozenset(int(port) for port in ports) if ports else None
    without = frozenset(int(port) for port in not_ports or ())

    def holds(facts: Facts) -> bool:
        if facts.port is None:
            return is_deny
        return (within is None or facts.port in within) and facts.port not in without

    return holds


def _path_test(values: Sequence[str]) -> PathTest:
    paths = _paths(values)
    templates = tuple(PathTemplate(path) for path in paths if is_path_template(path))
    patterns = Patterns(path for path in paths if not is_path_template(path))
    if not templates:
        return patterns
    return lambda path: patterns(path) or any(template(path) for template in templates)


def _paths(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(capital_hex(value) for value in values)


def _folded(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(value.lower() for value in values)


# --- when -------------------------------------------------------------------------------------


def _condition_test(condition: Condition, *, is_deny: bool) -> RequestTest:
    header = header_of(condition.key)
    if header is not None:
        return _header_test(header, condition, is_deny=is_deny)
    values, not_values = condition.values, condition.not_values
    if condition.key == "destination.port":
        return _port_test(values, not_values, is_deny=is_deny)
    within = AddressSet(values) if values else None
    without = AddressSet(not_values) if not_values else None
    if condition.key == "source.ip":
        return _address_test(lambda facts: facts.source_ip, within, without, is_deny=is_deny)
    if condition.key == "destination.ip":
        return _address_test(lambda facts: facts.destination_ip, within, without, is_deny=is_deny)
    raise ValueError(f"condition {condition.key!r} is not supported yet")


def _header_test(name: str, condition: Condition, *, is_deny: bool) -> RequestTest:
    wanted = Patterns(condition.values, is_empty_present=True) if condition.values else None
    unwanted = Patterns(condition.not_values or (), is_empty_present=True)

    def holds_for(value: str) -> bool:
        return (wanted is None or wanted(value)) and not unwanted(value)

    def holds(facts: Facts) -> bool:
        lines = [line.strip(" \t") for line in facts.headers(name)]
        if not lines:
            return wanted is None
        if len(lines) == 1 and "," not in lines[0]:
            return holds_for(lines[0])
        joined = ",".join(lines)
        parts = lines
        if name not in _SINGLE:
            parts = [part.strip(" \t") for part in joined.split(",")]
        readings = (*parts, *lines, joined)
        if is_deny:
            return any(holds_for(reading) for reading in readings)
        if any(unwanted(reading) for reading in readings):
            return False
        return wanted is None or joined in wanted.exact or all(wanted(part) for part in parts)

    return holds


# --- what is not there yet --------------------------------------------------------------------


def _refuse_what_is_not_built(policy: NamedPolicy) -> None:
    """Refuse whatever the checks before should have refused: a rule left out would open a door."""
    spec, name = policy.spec, f"AuthorizationPolicy {policy.namespace}/{policy.name}"
    if spec.target_ref is not None or spec.target_refs is not None:
        raise ValueError(f"{name}: targetRefs do not apply to workloads")
    if _has_empty_list(spec.rules or None):
        raise ValueError(f"{name}: an empty list in a rule could mean all or nothing")
    if spec.action not in (None, "ALLOW", "DENY") or spec.provider is not None:
        raise ValueError(f"{name}: action {spec.action} is not supported yet")
    for rule in spec.rules or ():
        for one in rule.from_ or ():
            known = Source(
                ip_blocks=one.source.ip_blocks if one.source else None,
                not_ip_blocks=one.source.not_ip_blocks if one.source else None,
            )
            if one.source is not None and one.source != known:
                raise ValueError(f"{name}: only ipBlocks and notIpBlocks are supported as sources")


def _has_empty_list(part: object) -> bool:
    if isinstance(part, tuple):
        return not part or any(_has_empty_list(one) for one in part)
    if isinstance(part, msgspec.Struct):
        return any(_has_empty_list(getattr(part, name)) for name in part.__struct_fields__)
    return False
