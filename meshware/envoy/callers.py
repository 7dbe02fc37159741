"""Who calls, as Envoy's principals: sources, and the conditions on the caller and the request.

The identity of a caller is the URI in its certificate, which the listener has verified; that of an
end user is what `jwt_authn` has put into the metadata of the request.

Source: Istio AuthorizationPolicy, Source and Condition; Envoy RBAC, Principal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from meshware.envoy import patterns
from meshware.envoy.operations import CONNECTION_KEYS
from meshware.envoy.values import Json
from meshware.policy.document.authorization_policy import Condition, MeshRule, Source
from meshware.policy.inbound_matchers import header_of
from meshware.policy.peer_matchers import Home, spread_principals, spread_trust_domains

__all__ = ["JWT_FILTER", "PAYLOAD", "principals"]

JWT_FILTER = "envoy.filters.http.jwt_authn"
PAYLOAD = "payload"
"""The key of the metadata of `jwt_authn` under which Istio keeps the claims of a token."""

_CLAIMS = "request.auth.claims"
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")

Strings = Sequence[str] | None
# Makes the principal that holds for any of some values.
Any = Callable[[Sequence[str], Home], Json]


def principals(rule: MeshRule, home: Home) -> list[Json]:
    """Return the principals of a rule: one of them must hold.

    Raises:
        ValueError: a condition has no counterpart in Envoy.
    """
    shared = [
        each
        for condition in rule.when or ()
        if condition.key not in CONNECTION_KEYS
        for each in _condition(condition, home)
    ]
    sources = [one.source for one in rule.from_ or ()] or [None]
    return [
        {"and_ids": {"ids": [*_source(each, home), *shared] or [{"any": True}]}} for each in sources
    ]


def _source(source: Source | None, home: Home) -> list[Json]:
    if source is None:
        return []
    return [
        *_values(_principals, source.principals, source.not_principals, home),
        *_values(_users, source.request_principals, source.not_request_principals, home),
        *_values(_namespaces, source.namespaces, source.not_namespaces, home),
        *_values(_accounts, source.service_accounts, source.not_service_accounts, home),
        *_values(_trust_domains, source.trust_domains, source.not_trust_domains, home),
        *_values(_remote_addresses, source.remote_ip_blocks, source.not_remote_ip_blocks, home),
        *_values(_addresses, source.ip_blocks, source.not_ip_blocks, home),
    ]


def _condition(condition: Condition, home: Home) -> list[Json]:
    return _values(_maker(condition.key), condition.values, condition.not_values, home)


def _maker(key: str) -> Any:
    found = _KEYS.get(key)
    if found is not None:
        return found
    name = header_of(key)
    if name is not None:
        return lambda values, _: _any(
            [{"header": patterns.header(name, value)} for value in values]
        )
    if key.startswith(_CLAIMS):
        path = _BRACKETS.findall(key[len(_CLAIMS) :])
        if path and "".join(f"[{each}]" for each in path) == key[len(_CLAIMS) :]:
            return lambda values, _: _claim(path, values)
    raise ValueError(f"the condition {key} has no counterpart in Envoy")


def _values(make: Any, wanted: Strings, unwanted: Strings, home: Home) -> list[Json]:
    """Return what any of some values and none of others come to."""
    found: list[Json] = []
    if wanted:
        found.append(make(wanted, home))
    if unwanted:
        found.append({"not_id": make(unwanted, home)})
    return found


def _any(ids: list[Json]) -> Json:
    return {"or_ids": {"ids": ids}}


# --- the other workload -----------------------------------------------------------------------


def _named(matchers: Sequence[Json]) -> Json:
    return _any([{"authenticated": {"principal_name": each}} for each in matchers])


def _principals(values: Sequence[str], home: Home) -> Json:
    return _named([patterns.principal_name(value) for value in spread_principals(values, home)])


def _namespaces(values: Sequence[str], _: Home) -> Json:
    return _named([_workload(_glob(value), "[^/]+") for value in values])


def _accounts(values: Sequence[str], home: Home) -> Json:
    pairs = [value.split("/", 1) if "/" in value else [home.namespace, value] for value in values]
    return _named([_workload(*map(patterns.literal, pair)) for pair in pairs])


def _workload(namespace: str, account: str) -> Json:
    """Return the matcher of IDs of Istio's form, by the expressions of their parts.

    Differs from Istio, which lets other segments stand between and behind them: an ID of any other
    form belongs to no namespace, as to the mesh's own gate.
    """
    return patterns.regex(f"spiffe://[^/]+/ns/{namespace}/sa/{account}")


def _trust_domains(values: Sequence[str], home: Home) -> Json:
    return _named(
        [
            patterns.regex(f"spiffe://{_glob(value)}/.+")
            for value in spread_trust_domains(values, home)
        ]
    )


def _glob(value: str) -> str:
    """Return the expression of a value in which each `*` is any part of one segment."""
    return "[^/]*".join(patterns.literal(part) for part in value.split("*"))


# --- where it calls from ----------------------------------------------------------------------


def _addresses(values: Sequence[str], _: Home) -> Json:
    return _any([{"direct_remote_ip": patterns.block(value)} for value in values])


def _remote_addresses(values: Sequence[str], _: Home) -> Json:
    return _any([{"remote_ip": patterns.block(value)} for value in values])


# --- the end user -----------------------------------------------------------------------------


def _metadata(path: Sequence[str], value: Json) -> Json:
    keys = [{"key": each} for each in (PAYLOAD, *path)]
    matcher = {"filter": JWT_FILTER, "path": keys, "value": value}
    return {"sourced_metadata": {"metadata_matcher": matcher, "metadata_source": "DYNAMIC"}}


def _claim(path: Sequence[str], values: Sequence[str]) -> Json:
    """Return what holds for a claim that is one of some values, or a list with one of them."""
    one = [{"string_match": patterns.text(value)} for value in values]
    any_of_them = one[0] if len(one) == 1 else {"or_match": {"value_matchers": one}}
    either = [any_of_them, {"list_match": {"one_of": any_of_them}}]
    return _metadata(path, {"or_match": {"value_matchers": either}})


def _users(values: Sequence[str], _: Home) -> Json:
    return _any([_user(value) for value in values])


def _user(value: str) -> Json:
    """Return what holds for `iss/sub`, which is split at its last slash: issuers have slashes."""
    issuer, slash, subject = value.rpartition("/")
    anything = patterns.regex(".+")
    of_issuer, of_subject = {"exact": issuer if slash else value}, {"exact": subject}
    if value == "*":
        of_issuer, of_subject = anything, anything
    elif value.startswith("*"):
        of_issuer = patterns.text(issuer) if slash else anything
        of_subject = of_subject if slash else patterns.text(value)
    elif value.endswith("*"):
        of_issuer = of_issuer if slash else patterns.text(value)
        of_subject = {"prefix": subject[:-1]} if slash and subject != "*" else anything
    halves = [
        _metadata([claim], {"string_match": matcher})
        for claim, matcher in (("iss", of_issuer), ("sub", of_subject))
    ]
    return {"and_ids": {"ids": halves}}


def _audiences(values: Sequence[str], _: Home) -> Json:
    return _claim(["aud"], values)


def _presenters(values: Sequence[str], _: Home) -> Json:
    return _claim(["azp"], values)


_KEYS: dict[str, Any] = {
    "source.ip": _addresses,
    "remote.ip": _remote_addresses,
    "source.principal": _principals,
    "source.namespace": _namespaces,
    "source.serviceAccount": _accounts,
    "source.trustDomain": _trust_domains,
    "request.auth.principal": _users,
    "request.auth.audiences": _audiences,
    "request.auth.presenter": _presenters,
}
