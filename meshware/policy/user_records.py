"""Read what policy says about end users of a workload from its records.

The keys that were found at an address are records of their own, so that new ones are a change of
those alone, and the rules that rest on them are compiled anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from meshware.errors import PolicyError
from meshware.policy.document.request_authentication import RequestAuthenticationSpec
from meshware.policy.file import Records
from meshware.policy.jwks_records import jwks_key, jwks_source
from meshware.policy.jwt_rules import NamedAuthentication, UserRules, compile_user_rules
from meshware.policy.record_types import JwksRecord

__all__ = ["NO_USERS", "ReadUsers", "read_users"]


class ReadUsers(NamedTuple):
    """The rules, and the records that they rest on with their digests."""

    rules: UserRules | None
    policies: tuple[str, ...]  # keys of the policies
    rests_on: Mapping[str, str | None]


NO_USERS = ReadUsers(None, (), {})


def read_users(records: Records, keys: Sequence[str], before: ReadUsers = NO_USERS) -> ReadUsers:
    """Return the rules of some RequestAuthentications: the same as before where nothing changed.

    Args:
        records: the policy.
        keys: of the records of the policies that select the workload, oldest first.
        before: what was in force.

    Raises:
        PolicyError: a record is missing.
        ValueError: a rule cannot be compiled.
    """
    if not keys:
        return NO_USERS
    policies = tuple(keys)
    if before.policies == policies and all(
        records.digest(key) == digest for key, digest in before.rests_on.items()
    ):
        return before
    named = [_named(records, key) for key in policies]
    sources = [
        jwks_key(source.uri)
        for policy in named
        for rule in policy.spec.jwt_rules or ()
        if (source := jwks_source(rule)) is not None
    ]
    return ReadUsers(
        compile_user_rules(named, lambda uri: _jwks(records, uri)),
        policies,
        {key: records.digest(key) for key in (*policies, *sources)},
    )


def _named(records: Records, key: str) -> NamedAuthentication:
    data = records.get(key)
    if data is None:
        raise PolicyError(f"record {key} is missing; publish the policy again")
    _, namespace, name = key.split("/", 2)
    spec = msgspec.json.decode(data, type=RequestAuthenticationSpec)
    return NamedAuthentication(namespace=namespace, name=name, spec=spec)


def _jwks(records: Records, uri: str) -> str | None:
    data = records.get(jwks_key(uri))
    return None if data is None else msgspec.json.decode(data, type=JwksRecord).keys
