"""What is asked, as Envoy's permissions: operations, and the conditions on the connection.

Source: Istio AuthorizationPolicy, Operation and Condition; Envoy RBAC, Permission.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshware.envoy import patterns
from meshware.envoy.values import Json
from meshware.policy.document.authorization_policy import Condition, MeshRule, Operation

__all__ = ["CONNECTION_KEYS", "permissions"]

Strings = Sequence[str] | None


def permissions(rule: MeshRule) -> list[Json]:
    """Return the permissions of a rule: one of them must hold."""
    shared = [
        each
        for condition in rule.when or ()
        if condition.key in CONNECTION_KEYS
        for each in _condition(condition)
    ]
    operations = [to.operation for to in rule.to or ()] or [None]
    return [
        {"and_rules": {"rules": [*_operation(each), *shared] or [{"any": True}]}}
        for each in operations
    ]


def _operation(operation: Operation | None) -> list[Json]:
    if operation is None:
        return []
    return [
        *_values(_host, operation.hosts, operation.not_hosts),
        *_values(_method, operation.methods, operation.not_methods),
        *_values(patterns.path, operation.paths, operation.not_paths),
        *_values(_port, operation.ports, operation.not_ports),
    ]


def _condition(condition: Condition) -> list[Json]:
    return _values(CONNECTION_KEYS[condition.key], condition.values, condition.not_values)


def _values(make: Callable[[str], Json], wanted: Strings, unwanted: Strings) -> list[Json]:
    """Return what any of some values and none of others come to."""
    found: list[Json] = []
    if wanted:
        found.append({"or_rules": {"rules": [make(value) for value in wanted]}})
    if unwanted:
        found.append({"not_rule": {"or_rules": {"rules": [make(value) for value in unwanted]}}})
    return found


def _host(value: str) -> Json:
    return {"header": patterns.host(value)}


def _method(value: str) -> Json:
    return {"header": patterns.header(":method", value)}


def _port(value: str) -> Json:
    return {"destination_port": int(value)}


def _address(value: str) -> Json:
    return {"destination_ip": patterns.block(value)}


def _sni(value: str) -> Json:
    return {"requested_server_name": patterns.text(value)}


CONNECTION_KEYS: dict[str, Callable[[str], Json]] = {
    "destination.ip": _address,
    "destination.port": _port,
    "connection.sni": _sni,
}
"""The `when` keys that are permissions in Envoy; all others are principals."""
