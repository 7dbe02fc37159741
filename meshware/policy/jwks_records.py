"""Where the keys of token issuers are found, and the records that hold what was found there.

Policy names an address; whoever publishes fetches it and puts the keys into the record, so that no
worker that follows a policy file ever asks for them itself. All of this is pure.

Source: Istio JWTRule; OpenID Connect Discovery 1.0, 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.record_types import JwksRecord, KeyFetching, MeshRecord

if TYPE_CHECKING:
    from meshware.policy.parse import Resource

__all__ = [
    "DISCOVERY",
    "JwksSource",
    "asked_sources",
    "jwks_key",
    "jwks_source",
    "jwks_sources",
    "key_fetching",
    "known_keys",
    "with_keys",
]

DISCOVERY = "/.well-known/openid-configuration"
"""Where an issuer says where its keys are, when policy does not."""

DEFAULT_TIMEOUT_S = 5.0  # Istio JWTRule.timeout

_PREFIX = "jwks/"
_POLICY = "authn/"


@dataclass(frozen=True, slots=True, order=True)
class JwksSource:
    """One address at which keys are found."""

    uri: str
    is_discovery: bool = False  # an OpenID configuration, whose `jwks_uri` is followed
    timeout_s: float = DEFAULT_TIMEOUT_S
    issuer: str = ""  # what an OpenID configuration must say, to the letter

    @property
    def question(self) -> tuple[str, bool, str]:
        """What is asked, however long an answer may take."""
        return self.uri, self.is_discovery, self.issuer


def jwks_source(rule: JWTRule) -> JwksSource | None:
    """Return where the keys of a rule are found; None: the rule holds them itself."""
    if rule.jwks is not None:
        return None
    timeout_s = DEFAULT_TIMEOUT_S if rule.timeout is None else rule.timeout
    uri = rule.jwks_uri or rule.jwks_uri_snake
    if uri:
        return JwksSource(uri, timeout_s=timeout_s)
    if not rule.issuer:
        return None
    return JwksSource(
        rule.issuer.rstrip("/") + DISCOVERY,
        is_discovery=True,
        timeout_s=timeout_s,
        issuer=rule.issuer,
    )


def jwks_key(uri: str) -> str:
    """Return the key of the record that holds what is found at an address."""
    return f"{_PREFIX}{hashlib.sha256(uri.encode()).hexdigest()}"


def jwks_sources(resources: Iterable[Resource]) -> tuple[JwksSource, ...]:
    """Return every address that policy names, each once, with the longest of its time-outs."""
    return _sources(
        resource.spec
        for resource in resources
        if isinstance(resource.spec, RequestAuthenticationSpec)
    )


def asked_sources(records: Mapping[str, bytes]) -> tuple[JwksSource, ...]:
    """Return the same of the records of a whole policy."""
    return _sources(
        msgspec.json.decode(data, type=RequestAuthenticationSpec)
        for key, data in records.items()
        if key.startswith(_POLICY)
    )


def key_fetching(records: Mapping[str, bytes]) -> KeyFetching:
    """Return what the mesh says of fetching keys."""
    data = records.get("mesh")
    return (MeshRecord() if data is None else msgspec.json.decode(data, type=MeshRecord)).jwks


def with_keys(records: Mapping[str, bytes], known: Mapping[str, str]) -> dict[str, bytes]:
    """Return the records with a record of keys for each address that policy names.

    What was in the records of keys fetched earlier is replaced, and goes where no policy names the
    address any more.

    Args:
        records: a whole policy.
        known: the newest good key set, by address.
    """
    found = {key: data for key, data in records.items() if not key.startswith(_PREFIX)}
    for source in asked_sources(records):
        record = JwksRecord(uri=source.uri, keys=known.get(source.uri))
        found[jwks_key(source.uri)] = msgspec.json.encode(record)
    return dict(sorted(found.items()))


def known_keys(records: Mapping[str, bytes]) -> dict[str, str]:
    """Return the keys that are in records: what a process before this one had found."""
    found = {}
    for key, data in records.items():
        if key.startswith(_PREFIX):
            record = msgspec.json.decode(data, type=JwksRecord)
            if record.keys is not None:
                found[record.uri] = record.keys
    return found


def _sources(specs: Iterable[RequestAuthenticationSpec]) -> tuple[JwksSource, ...]:
    found: dict[str, JwksSource] = {}
    for spec in specs:
        for rule in spec.jwt_rules or ():
            source = jwks_source(rule)
            if source is not None:
                found[source.uri] = max(source, found.get(source.uri, source))
    return tuple(sorted(found.values()))
