"""RequestAuthentications as Envoy's `jwt_authn` filter: which tokens are good, and where they are.

A request passes when some rule takes its token, or when for each rule there is none where that
rule looks, or a good one: a token that no rule takes is 401, and no token at all passes.

Source: Istio, "pilot/pkg/security/authn", `convertToEnvoyJwtConfig`; Envoy JwtAuthentication.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from meshware.envoy.callers import JWT_FILTER, PAYLOAD
from meshware.envoy.values import Json, Say, any_of, duration
from meshware.policy.document.request_authentication import JWTRule, RequestAuthenticationSpec
from meshware.policy.file import Records
from meshware.policy.jwks_records import JwksSource, jwks_key, jwks_source
from meshware.policy.names import is_ip
from meshware.policy.record_types import JwksRecord

__all__ = ["JwtAuthn", "jwt_authn"]

CLOCK_SKEW_S = 60
"""Envoy's own default, which Istio leaves as it is."""

_TYPE = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication"
_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_SPACED = ("permission", "scope")  # claims that Istio always takes apart at their spaces
_CACHE = "300s"  # how long Istio has Envoy keep keys that it fetches itself
_NOWHERE = JwksSource("http://nowhere.invalid/")


@dataclass(frozen=True, slots=True)
class JwtAuthn:
    """The filter, and the clusters that it asks for keys."""

    filters: tuple[Json, ...]
    clusters: tuple[Json, ...]


def jwt_authn(records: Records, keys: Sequence[str], ca_file: str, say: Say) -> JwtAuthn:
    """Return what RequestAuthentications come to; no filter where there is no rule.

    Args:
        records: the policy file's.
        keys: of the RequestAuthentications that select the workload.
        ca_file: the roots to trust where keys are fetched.
        say: takes warnings.
    """
    rules: list[JWTRule] = []
    for key in keys:
        data = records.get(key)
        if data is None:
            raise ValueError(f"the policy file names {key} and does not hold it")
        spec = msgspec.json.decode(data, type=RequestAuthenticationSpec)
        rules += spec.jwt_rules or ()
        for rule in spec.jwt_rules or ():
            if _is_without_keys(records, rule):
                say(
                    f"RequestAuthentication {key.partition('/')[2]}",
                    f"the keys of {rule.issuer} are not in the policy, and Envoy does not ask "
                    "issuers where they are: every token of it is refused; export the policy file "
                    "that the daemon wrote, or write jwksUri",
                )
    if not rules:
        return JwtAuthn((), ())
    rules.sort(key=lambda rule: rule.issuer or "")
    providers: Json = {}
    clusters: dict[str, Json] = {}
    for number, rule in enumerate(rules):
        keys_of, found = _keys(records, rule, ca_file)
        clusters.update(found)
        providers[f"origins-{number}"] = _provider(rule) | keys_of
    names = [{"provider_name": name} for name in providers]
    each = [_any([name, {"allow_missing": {}}]) for name in names]
    required = each[0] if len(each) == 1 else _any([*names, _all(each)])
    config = any_of(
        _TYPE,
        providers=providers,
        rules=[{"match": {"prefix": "/"}, "requires": required}],
        bypass_cors_preflight=True,
    )
    return JwtAuthn(({"name": JWT_FILTER, "typed_config": config},), tuple(clusters.values()))


def _any(requirements: list[Json]) -> Json:
    return {"requires_any": {"requirements": requirements}}


def _all(requirements: list[Json]) -> Json:
    return {"requires_all": {"requirements": requirements}}


def _provider(rule: JWTRule) -> Json:
    found: Json = {
        "payload_in_metadata": PAYLOAD,
        "normalize_payload_in_metadata": {
            "space_delimited_claims": sorted({*_SPACED, *(rule.space_delimited_claims or ())})
        },
        "forward": bool(rule.forward_original_token),
        "clock_skew_seconds": CLOCK_SKEW_S,
    }
    if rule.issuer:
        found["issuer"] = rule.issuer
    if rule.audiences:
        found["audiences"] = list(rule.audiences)
    if rule.output_payload_to_header:
        found["forward_payload_header"] = rule.output_payload_to_header
    if rule.output_claim_to_headers:
        found["claim_to_headers"] = [
            {"header_name": each.header, "claim_name": each.claim}
            for each in rule.output_claim_to_headers
        ]
    if rule.from_headers:
        found["from_headers"] = [
            {"name": each.name, **({"value_prefix": each.prefix} if each.prefix else {})}
            for each in rule.from_headers
        ]
    if rule.from_params:
        found["from_params"] = list(rule.from_params)
    if rule.from_cookies:
        found["from_cookies"] = list(rule.from_cookies)
    return found


# --- keys -------------------------------------------------------------------------------------


def _keys(records: Records, rule: JWTRule, ca_file: str) -> tuple[Json, dict[str, Json]]:
    """Return where a provider has its keys from, and the cluster that it needs for that."""
    source = jwks_source(rule)
    if source is None:
        return (_local(rule.jwks), {}) if rule.jwks else _remote(_NOWHERE, _nobody())
    keys = _fetched(records, source)
    if keys is not None:
        return _local(keys), {}
    if source.is_discovery:
        return _remote(_NOWHERE, _nobody())  # Envoy does not follow configurations of OpenID
    return _remote(source, _cluster(source, ca_file))


def _is_without_keys(records: Records, rule: JWTRule) -> bool:
    """Say whether keys would have to be found by OpenID discovery, and nobody has."""
    source = jwks_source(rule)
    return source is not None and source.is_discovery and _fetched(records, source) is None


def _fetched(records: Records, source: JwksSource) -> str | None:
    """Return the keys that were found at an address; None: there never were any."""
    data = records.get(jwks_key(source.uri))
    return None if data is None else msgspec.json.decode(data, type=JwksRecord).keys


def _remote(source: JwksSource, cluster: Json) -> tuple[Json, dict[str, Json]]:
    name = str(cluster["name"])
    uri = {"uri": source.uri, "cluster": name, "timeout": duration(source.timeout_s)}
    remote = {
        "http_uri": uri,
        "cache_duration": _CACHE,
        "async_fetch": {"fast_listener": True},
    }
    return {"remote_jwks": remote}, {name: cluster}


def _nobody() -> Json:
    """Return a cluster without endpoints: with no key to be had, no token can verify.

    Envoy refuses an empty key set, and a key of our own making would be one that might leak.
    """
    name = "jwks-nowhere"
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": []},
    }


def _local(keys: str) -> Json:
    return {"local_jwks": {"inline_string": keys}}


def _cluster(source: JwksSource, ca_file: str) -> Json:
    """Return the cluster at which keys are fetched: whom the address names, verified as such."""
    url = urlsplit(source.uri)
    host, is_tls = url.hostname or "", url.scheme == "https"
    name = f"jwks-{hashlib.sha256(source.uri.encode()).hexdigest()[:16]}"
    where = {"address": host, "port_value": url.port or (443 if is_tls else 80)}
    found: Json = {
        "name": name,
        "type": "STATIC" if is_ip(host) else "STRICT_DNS",
        "connect_timeout": duration(source.timeout_s),
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"socket_address": where}}}]}],
        },
    }
    if is_tls:
        kind = "IP_ADDRESS" if is_ip(host) else "DNS"
        validation = {
            "trusted_ca": {"filename": ca_file},
            "match_typed_subject_alt_names": [{"san_type": kind, "matcher": {"exact": host}}],
        }
        context: Json = {"common_tls_context": {"validation_context": validation}}
        if not is_ip(host):
            context["sni"] = host
        found["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": any_of(_TLS, **context),
        }
    return found
