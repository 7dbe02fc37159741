"""The tests that the fields of a rule come to, each a function of a request.

A test is told whether its rule denies or allows, for what is not certain must harm neither way:

1. A fact that is not known (port, addresses, SNI, a Host that was not sent) holds for DENY and does
   not for ALLOW, in fields and their `not` twins alike.
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

from meshware.policy.addresses import AddressSet, parse_address
from meshware.policy.document.authorization_policy import (
    Condition,
    MeshRule,
    Operation,
    Rule,
    Source,
)
from meshware.policy.inbound_facts import Facts
from meshware.policy.match import PathTemplate, Patterns, is_path_template, pattern_test
from meshware.policy.paths import capital_hex
from meshware.policy.peer_matchers import PEER_KEYS, Home, peer_key_test, source_peer_tests
from meshware.policy.user_matchers import request_principal_tests, user_key_tests

__all__ = [
    "ADDRESS_KEYS",
    "PathTest",
    "RequestTest",
    "folded_hosts",
    "header_of",
    "operation_tests",
    "path_values",
    "rule_tests",
]

_HEADER_KEY = "request.headers["

ADDRESS_KEYS: dict[str, Callable[[Facts], str | None]] = {
    "source.ip": lambda facts: facts.source_ip,
    "remote.ip": lambda facts: facts.remote_ip,
    "destination.ip": lambda facts: facts.destination_ip,
}
"""The facts of the `when` keys that are addresses."""

RequestTest = Callable[[Facts], bool]
PathTest = Callable[[str], bool]


def header_of(key: str) -> str | None:
    """Return the header that a `when` key `request.headers[name]` names, in lower case."""
    if key.startswith(_HEADER_KEY) and key.endswith("]"):
        return key[len(_HEADER_KEY) : -1].lower()
    return None


def rule_tests(rule: Rule | MeshRule, home: Home, *, is_deny: bool) -> tuple[RequestTest, ...]:
    """Return the tests of `from` and `when`; all must hold.

    Args:
        rule: as written.
        home: of its policy.
        is_deny: whether it denies.

    Raises:
        ValueError: a condition cannot be carried out.
    """
    tests: list[RequestTest] = []
    if rule.from_:
        tests.append(_any_source([_source_test(one.source, home, is_deny) for one in rule.from_]))
    tests += [_condition_test(one, home, is_deny=is_deny) for one in rule.when or ()]
    return tuple(tests)


def _any_source(sources: Sequence[RequestTest]) -> RequestTest:
    if len(sources) == 1:
        return sources[0]
    return lambda facts: any(test(facts) for test in sources)


def _source_test(source: Source | None, home: Home, is_deny: bool) -> RequestTest:
    if source is None:
        return lambda facts: True
    tests = source_peer_tests(source, home)
    tests += request_principal_tests(
        source.request_principals, source.not_request_principals, is_deny=is_deny
    )
    for key, blocks, not_blocks in (
        ("source.ip", source.ip_blocks, source.not_ip_blocks),
        ("remote.ip", source.remote_ip_blocks, source.not_remote_ip_blocks),
    ):
        if blocks or not_blocks:
            tests.append(_address_test(ADDRESS_KEYS[key], blocks, not_blocks, is_deny=is_deny))
    if len(tests) == 1:
        return tests[0]
    return lambda facts: all(test(facts) for test in tests)


def _address_test(
    fact: Callable[[Facts], str | None],
    blocks: Sequence[str] | None,
    not_blocks: Sequence[str] | None,
    *,
    is_deny: bool,
) -> RequestTest:
    within = AddressSet(blocks) if blocks else None
    without = AddressSet(not_blocks) if not_blocks else None

    def holds(facts: Facts) -> bool:
        address = parse_address(fact(facts))
        if address is None:
            return is_deny
        if within is not None and address not in within:
            return False
        return without is None or address not in without

    return holds


def operation_tests(
    operation: Operation | None, *, is_deny: bool
) -> tuple[tuple[RequestTest, ...], tuple[PathTest, ...]]:
    """Return the tests of an operation, those of its path apart; all must hold.

    Raises:
        ValueError: a value is none of its field.
    """
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
        tests.append(_host_test(folded_hosts(operation.hosts), wanted=True, is_deny=is_deny))
    if operation.not_hosts:
        tests.append(_host_test(folded_hosts(operation.not_hosts), wanted=False, is_deny=is_deny))
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
    patterns = pattern_test(values)

    def holds(facts: Facts) -> bool:
        if not facts.authority:
            return is_deny
        return any(patterns(host) for host in facts.hosts()) is wanted

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
    paths = path_values(values)
    templates = [PathTemplate(path) for path in paths if is_path_template(path)]
    if not templates:
        return pattern_test(paths)
    if len(templates) == len(paths) == 1:
        return templates[0]
    patterns = Patterns(path for path in paths if not is_path_template(path))
    return lambda path: patterns(path) or any(template(path) for template in templates)


def path_values(values: Sequence[str]) -> tuple[str, ...]:
    """Return paths as they are compared: their escapes in capitals."""
    return tuple([capital_hex(value) for value in values])


def folded_hosts(values: Sequence[str]) -> tuple[str, ...]:
    """Return hosts as they are compared: in lower case."""
    return tuple([value.lower() for value in values])


# --- when -------------------------------------------------------------------------------------


def _condition_test(condition: Condition, home: Home, *, is_deny: bool) -> RequestTest:
    header = header_of(condition.key)
    if header is not None:
        return _header_test(header, condition, is_deny=is_deny)
    values, not_values = condition.values, condition.not_values
    if condition.key == "destination.port":
        return _port_test(values, not_values, is_deny=is_deny)
    if condition.key in PEER_KEYS:
        return _both(
            peer_key_test(condition.key, values, home) if values else None,
            peer_key_test(condition.key, not_values, home) if not_values else None,
        )
    if condition.key == "connection.sni":
        return _sni_test(values, not_values, is_deny=is_deny)
    if condition.key in ADDRESS_KEYS:
        return _address_test(ADDRESS_KEYS[condition.key], values, not_values, is_deny=is_deny)
    tests = user_key_tests(condition.key, values, not_values, is_deny=is_deny)
    if tests is None:
        raise ValueError(f"condition {condition.key!r} cannot be carried out")
    return tests[0] if len(tests) == 1 else lambda facts: all(test(facts) for test in tests)


def _both(wanted: RequestTest | None, unwanted: RequestTest | None) -> RequestTest:
    return lambda facts: (
        (wanted is None or wanted(facts)) and (unwanted is None or not unwanted(facts))
    )


def _sni_test(
    values: Sequence[str] | None, not_values: Sequence[str] | None, *, is_deny: bool
) -> RequestTest:
    wanted = Patterns(values) if values else None
    unwanted = Patterns(not_values or ())

    def holds(facts: Facts) -> bool:
        name = facts.sni
        if name is None:
            return is_deny
        return (wanted is None or wanted(name)) and not unwanted(name)

    return holds


def _header_test(name: str, condition: Condition, *, is_deny: bool) -> RequestTest:
    wanted = Patterns(condition.values, is_empty_present=True) if condition.values else None
    unwanted = Patterns(condition.not_values or (), is_empty_present=True)

    def holds_for(value: str) -> bool:
        return (wanted is None or wanted(value)) and not unwanted(value)

    def holds(facts: Facts) -> bool:
        found = facts.values(name)
        if found is None:
            return wanted is None
        if is_deny:
            return any(holds_for(reading) for reading in found.readings)
        if any(unwanted(reading) for reading in found.readings):
            return False
        if wanted is None or found.joined in wanted.exact:
            return True
        return all(wanted(part) for part in found.parts)

    return holds
