"""Where the keys of token issuers are found, and the records that hold what was found there.

Policy names an address; whoever publishes fetches it and puts the keys into the record, so that no
worker that follows a policy file ever asks for them itself.

Source: Istio JWTRule; OpenID Connect Discovery 1.0, 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec

if TYPE_CHECKING:  # it reads YAML, and a worker does not
    from meshware.policy.parse import Resource

__all__ = ["DISCOVERY", "JwksSource", "jwks_key", "jwks_source", "jwks_sources"]

DISCOVERY = "/.well-known/openid-configuration"
"""Where an issuer says where its keys are, when policy does not."""

DEFAULT_TIMEOUT_S = 5.0  # Istio JWTRule.timeout


@dataclass(frozen=True, slots=True, order=True)
class JwksSource:
    """One address at which keys are found."""

    uri: str
    is_discovery: bool = False  # an OpenID configuration, whose `jwks_uri` is followed
    timeout_s: float = DEFAULT_TIMEOUT_S


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
    return JwksSource(rule.issuer.rstrip("/") + DISCOVERY, is_discovery=True, timeout_s=timeout_s)


def jwks_key(uri: str) -> str:
    """Return the key of the record that holds what is found at an address."""
    return f"jwks/{hashlib.sha256(uri.encode()).hexdigest()}"


def jwks_sources(resources: Iterable[Resource]) -> tuple[JwksSource, ...]:
    """Return every address that policy names, each once, with the longest of its time-outs."""
    found: dict[str, JwksSource] = {}
    for resource in resources:
        spec = resource.spec
        for rule in (spec.jwt_rules or ()) if isinstance(spec, RequestAuthenticationSpec) else ():
            source = jwks_source(rule)
            if source is not None:
                found[source.uri] = max(source, found.get(source.uri, source))
    return tuple(sorted(found.values()))
