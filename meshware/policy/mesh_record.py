"""Turn the MeshConfig into the records that say what holds for the whole mesh."""

from __future__ import annotations

from collections.abc import Sequence

from meshware.policy.document.mesh_config import DefaultProviders, Identity, Jwks, MeshConfigSpec
from meshware.policy.key_urls import plain_host
from meshware.policy.parse import Resource
from meshware.policy.record_types import (
    TRUST_DOMAIN,
    BundleRecord,
    ForwardCert,
    KeyFetching,
    MeshRecord,
    TelemetrySettings,
)

__all__ = ["mesh_config_of", "mesh_records", "plain_fingerprint"]


def mesh_config_of(resources: Sequence[Resource]) -> MeshConfigSpec | None:
    """Return the mesh-wide settings; None: nothing is said."""
    return next((r.spec for r in resources if isinstance(r.spec, MeshConfigSpec)), None)


def mesh_records(
    resources: Sequence[Resource],
) -> tuple[MeshRecord, dict[str, BundleRecord]]:
    """Return the settings with defaults filled in, and the bundles of other trust domains by key.

    Whoever has the authority of our own trust domain puts its bundle beside those.
    """
    spec = mesh_config_of(resources)
    if spec is None:
        return MeshRecord(), {}
    bundles = _bundles(spec)
    identity = spec.identity or Identity()
    given = {
        "trust_domain": spec.trust_domain,
        "trust_domain_aliases": spec.trust_domain_aliases,
        "auto_mtls": spec.enable_auto_mtls,
        "xfcc_trusted_proxies": spec.xfcc_trusted_proxies,
        "forward_cert": _forward_cert(spec),
        "identity_provider": identity.provider,
        "bundles": tuple(bundles) or None,
        "denied_authorities": identity.denied_authorities
        and tuple(plain_fingerprint(each) for each in identity.denied_authorities),
        "daemon_account": identity.daemon_service_account,
        "root_namespace": spec.root_namespace,
        "outbound_mode": spec.outbound_traffic_policy and spec.outbound_traffic_policy.mode,
        "normalization": spec.path_normalization and _normalization(spec),
        "connect_timeout_s": spec.connect_timeout,
        "default_retry": spec.default_http_retry_policy,
        "locality_lb_setting": spec.locality_lb_setting,
        "dns_refresh_s": spec.dns_refresh_rate,
        "trusted_hops": _trusted_hops(spec),
        "providers": spec.extension_providers,
        "jwks": spec.jwks and _key_fetching(spec.jwks),
        "propagation": spec.tracing and spec.tracing.propagation,
        "telemetry": _telemetry(spec),
    }
    record = MeshRecord(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    return record, {f"bundle/{name}": bundle for name, bundle in bundles.items()}


def plain_fingerprint(written: str) -> str:
    """Return a fingerprint as it is compared: OpenSSL writes capitals, with colons between."""
    return written.replace(":", "").lower()


def _bundles(spec: MeshConfigSpec) -> dict[str, BundleRecord]:
    """Return the bundles of other trust domains: every certificate of each is one of its roots."""
    own = spec.trust_domain or TRUST_DOMAIN
    roots: dict[str, list[str]] = {}
    for written in spec.ca_certificates or ():
        for trust_domain in written.trust_domains or ():
            if trust_domain != own and written.pem:
                roots.setdefault(trust_domain, []).append(written.pem.strip() + "\n")
    return {
        name: BundleRecord(trust_domain=name, roots=tuple(found))
        for name, found in sorted(roots.items())
    }


def _key_fetching(jwks: Jwks) -> KeyFetching:
    return KeyFetching(
        internal_hosts=tuple(sorted(map(plain_host, jwks.allowed_internal_hosts or ()))),
        http_hosts=tuple(sorted(map(plain_host, jwks.allowed_http_hosts or ()))),
        ca_file=jwks.ca_file,
    )


def _forward_cert(spec: MeshConfigSpec) -> ForwardCert | None:
    headers = spec.default_config.proxy_headers if spec.default_config else None
    return headers.forwarded_client_cert if headers else None


def _trusted_hops(spec: MeshConfigSpec) -> int | None:
    topology = spec.default_config.gateway_topology if spec.default_config else None
    return topology.num_trusted_proxies if topology else None


def _telemetry(spec: MeshConfigSpec) -> TelemetrySettings:
    providers = spec.default_providers or DefaultProviders()
    proxy = spec.default_config.tracing if spec.default_config else None
    return TelemetrySettings(
        metrics=providers.metrics,
        tracing=providers.tracing,
        logs=providers.access_logging,
        log_file=spec.access_log_file or None,
        log_format=spec.access_log_format or None,
        log_encoding=spec.access_log_encoding or "TEXT",
        has_tracing=spec.enable_tracing or False,
        sampling=proxy.sampling if proxy else None,
    )


def _normalization(spec: MeshConfigSpec) -> str | None:
    written = spec.path_normalization.normalization if spec.path_normalization else None
    return "BASE" if written == "DEFAULT" else written  # Istio's DEFAULT means BASE
