"""By what a rule may be found: facts that a call must have for the rule to hold.

A *key* is a dimension (path, host, caller, a claim ...) with the values that it may have there. An
*option* finds a rule: it is one key for each of the rule's sources, or one for an operation or a
condition as a whole. Keys are necessary and not sufficient, so rules found by them are asked all
the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.document.authorization_policy import (
    Condition,
    MeshRule,
    Operation,
    Rule,
    Source,
)
from meshware.policy.handler_matchers import handler_values
from meshware.policy.inbound_matchers import folded_hosts, header_of, path_values
from meshware.policy.peer_matchers import Home, spread_principals, spread_trust_domains
from meshware.policy.user_matchers import claim_path

__all__ = ["PATH", "Dimension", "Key", "Option", "operation_options", "rule_options"]

Dimension = tuple[str, ...]
Key = tuple[Dimension, tuple[str, ...]]
Option = tuple[tuple[Key, ...], ...]
"""For each alternative the keys of which one is enough; the alternatives must all be found."""

PATH: Dimension = ("path",)

_SOURCE: tuple[tuple[str, Dimension], ...] = (
    ("principals", ("principal",)),
    ("service_accounts", ("account",)),
    ("request_principals", ("user",)),
    ("namespaces", ("namespace",)),
    ("ip_blocks", ("ip", "source")),
    ("remote_ip_blocks", ("ip", "remote")),
    ("trust_domains", ("trust domain",)),
)
_HANDLER: tuple[tuple[str, Dimension], ...] = (
    ("operation_ids", ("operation",)),
    ("functions", ("function",)),
    ("routes", ("route",)),
)
_CONDITION: dict[str, Dimension] = {
    "source.principal": ("principal",),
    "source.serviceAccount": ("account",),
    "source.namespace": ("namespace",),
    "source.trustDomain": ("trust domain",),
    "source.ip": ("ip", "source"),
    "remote.ip": ("ip", "remote"),
    "destination.ip": ("ip", "destination"),
    "destination.port": ("port",),
    "connection.sni": ("sni",),
    "request.auth.principal": ("user",),
    "request.auth.audiences": ("audience",),
    "request.auth.presenter": ("presenter",),
}


def operation_options(operation: Operation | None) -> list[Option]:
    """Return the options by which an operation may be found."""
    if operation is None:
        return []
    found: list[Option] = []
    if operation.paths and "*" not in operation.paths:
        found.append((((PATH, path_values(operation.paths)),),))
    if operation.hosts and "*" not in operation.hosts:
        found.append((((("host",), folded_hosts(operation.hosts)),),))
    for field, dimension in _HANDLER:
        values = getattr(operation, field, None)
        if values and "*" not in values:
            found.append((((dimension, handler_values(field, values)),),))
    if operation.ports:
        found.append((((("port",), _ports(operation.ports)),),))
    if operation.methods and "*" not in operation.methods:
        found.append((((("method",), operation.methods),),))
    return found


def rule_options(rule: Rule | MeshRule, home: Home) -> list[Option]:
    """Return the options by which `from` and `when` of a rule may be found."""
    found: list[Option] = []
    if rule.from_:
        alternatives = tuple(_source_keys(one.source, home) for one in rule.from_)
        if all(alternatives):
            found.append(alternatives)
    for condition in rule.when or ():
        key = _condition_key(condition, home)
        if key is not None:
            found.append(((key,),))
    return found


def _source_keys(source: Source | None, home: Home) -> tuple[Key, ...]:
    keys: list[Key] = []
    for field, dimension in _SOURCE:
        key = _key(dimension, getattr(source, field, None), home)
        if key is not None:
            keys.append(key)
    return tuple(keys)


def _condition_key(condition: Condition, home: Home) -> Key | None:
    header, claim = header_of(condition.key), claim_path(condition.key)
    if header is not None:
        dimension: Dimension | None = ("header", header)
    elif claim is not None:
        dimension = ("claim", *claim)
    else:
        dimension = _CONDITION.get(condition.key)
    return None if dimension is None else _key(dimension, condition.values, home)


def _key(dimension: Dimension, values: tuple[str, ...] | None, home: Home) -> Key | None:
    if not values or "*" in values:
        return None
    found = _as_found(dimension, values, home)
    return None if "*" in found else (dimension, found)


def _as_found(dimension: Dimension, values: tuple[str, ...], home: Home) -> tuple[str, ...]:
    """Return values as they are looked up: names that are short for others written out."""
    match dimension[0]:
        case "principal":
            return spread_principals(values, home)
        case "trust domain":
            return spread_trust_domains(values, home)
        case "account":
            return tuple(value if "/" in value else f"{home.namespace}/{value}" for value in values)
        case "namespace":
            return tuple(_outer(value) for value in values)
        case "port":
            return _ports(values)
    return values


def _ports(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(int(value)) for value in values)


def _outer(glob: str) -> str:
    """Return what takes all that a namespace takes in which `*` stands anywhere."""
    first, star, rest = glob.partition("*")
    if not star:
        return glob
    last = rest.rpartition("*")[2]
    return f"*{last}" if last and not first else f"{first}*"
