"""Check from where keys of token issuers are to be fetched, and what the MeshConfig allows of that.

What can be seen in the text is told here; where a name leads is seen when it is fetched.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.document.mesh_config import Jwks, MeshConfigSpec
from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.internal_addresses import Reach, where_is
from meshware.policy.jwks_records import JwksSource, jwks_source
from meshware.policy.key_urls import bad_host, parse_key_url, plain_host, shown_url
from meshware.policy.names import is_ip
from meshware.policy.parse import Resource
from meshware.policy.validate.common import Report
from meshware.policy.yaml12 import brief

__all__ = ["check_jwks", "check_key_sources"]


def check_jwks(resource: Resource, report: Report) -> None:
    """Report what is wrong with the `jwks` of one MeshConfig."""
    jwks = resource.spec.jwks if isinstance(resource.spec, MeshConfigSpec) else None
    if jwks is None:
        return
    for name, hosts in (
        ("allowedInternalHosts", jwks.allowed_internal_hosts),
        ("allowedHttpHosts", jwks.allowed_http_hosts),
    ):
        for index, host in enumerate(hosts or ()):
            wrong = _wrong_with_host(host)
            if wrong is not None:
                here = f"{name}[{index}]"
                report.error(resource, f"spec.jwks.{here}", f"{here} is {brief(host)!r}: {wrong}")
    if jwks.ca_file is not None and not jwks.ca_file.startswith("/"):
        report.error(
            resource,
            "spec.jwks.caFile",
            f"caFile is {brief(jwks.ca_file)!r}; write the absolute path of a file of the machine "
            "that fetches keys",
        )


def _wrong_with_host(written: str) -> str | None:
    host = plain_host(written)
    if "*" in host:
        return "write the hosts one by one; there are no patterns"
    if bad_host(host):
        return "write a host as it is in jwksUri, without https://, port, path or brackets"
    if is_ip(host):
        where = where_is(host)
        if where.reach is Reach.NEVER:
            return f"{where.what}, from where keys are never fetched; remove it"
    return None


def check_key_sources(resources: Sequence[Resource], report: Report) -> None:
    """Report every address of keys that cannot be fetched from, as far as it can be seen."""
    found = (resource.spec for resource in resources if isinstance(resource.spec, MeshConfigSpec))
    spec = next(found, None)
    jwks = (spec.jwks if spec else None) or Jwks()
    seen: dict[str, JwksSource] = {}
    for resource in resources:
        if not isinstance(resource.spec, RequestAuthenticationSpec):
            continue
        for index, rule in enumerate(resource.spec.jwt_rules or ()):
            source = jwks_source(rule)
            if source is None:
                continue
            field = f"spec.jwtRules[{index}].{_field(rule)}"
            wrong = _wrong_with_source(source, jwks) or _contradiction(source, seen)
            if wrong is not None:
                report.error(resource, field, f"{brief(shown_url(source.uri))!r}: {wrong}")


def _field(rule: JWTRule) -> str:
    if rule.jwks_uri:
        return "jwksUri"
    return "jwks_uri" if rule.jwks_uri_snake else "issuer"


def _wrong_with_source(source: JwksSource, jwks: Jwks) -> str | None:
    try:
        url = parse_key_url(source.uri)
    except ValueError as error:
        if source.is_discovery:
            return f"keys cannot be found by this issuer: {error}; or give jwksUri or jwks"
        return f"keys cannot be fetched from there: {error}"
    if url.scheme == "http" and url.host not in map(plain_host, jwks.allowed_http_hosts or ()):
        return (
            "by plain http anybody on the way can put in keys of his own; write https://, or name "
            f"{url.host} in spec.jwks.allowedHttpHosts of the MeshConfig"
        )
    if not is_ip(url.host):
        return None
    where = where_is(url.host)
    if where.reach is Reach.NEVER:
        return f"{where.what}, from where keys are never fetched; mend the address"
    if where.reach is Reach.INTERNAL and url.host not in map(
        plain_host, jwks.allowed_internal_hosts or ()
    ):
        return (
            f"{where.what}; mend it, or name {url.host} in spec.jwks.allowedInternalHosts of the "
            "MeshConfig"
        )
    return None


def _contradiction(source: JwksSource, seen: dict[str, JwksSource]) -> str | None:
    """Return what is wrong with asking one address for two things: it would answer one of them."""
    other = seen.setdefault(source.uri, source)
    if other.question == source.question:
        return None
    if other.is_discovery and source.is_discovery:
        return (
            f"another rule has the issuer {brief(other.issuer)}, whose configuration is at the "
            "same address; write both in the same way, or give jwksUri"
        )
    return (
        "this is the OpenID configuration of an issuer in another rule, and no key set; write the "
        "jwks_uri that stands in it"
    )
