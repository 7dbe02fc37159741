"""Mutual TLS of an exported Envoy: what it shows, whom it believes, whom it expects.

Envoy reads the workload's own key and chain from the identity directory, and again when a renewal
is moved into its place. Whom to believe stands in a file beside the others, one bundle for each
trust domain, for Envoy's SPIFFE validator: it asks the bundle of the ID's own domain alone.

Source: Envoy, SecretDiscoveryService, SPIFFECertValidatorConfig, TransportSocketMatch.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import msgspec

from meshware.envoy.values import Json, any_of, path_config
from meshware.policy.file import Records
from meshware.policy.mutual_tls import Mutual
from meshware.policy.pool_rule import TLSRule
from meshware.policy.record_types import BundleRecord, EndpointRecord, MeshRecord, PeerMode

__all__ = [
    "BUNDLES",
    "SVID",
    "Identity",
    "bundles_of",
    "downstream",
    "match_of",
    "sockets",
]

SVID, BUNDLES = "svid.json", "bundles.json"
"""The files of what it shows and whom it believes."""

_TLS = "envoy.extensions.transport_sockets.tls.v3."
_MATCH = "envoy.transport_socket_match"
_NOBODY = "spiffe://nobody.invalid/nobody"  # what no certificate ever bears


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of an exported Envoy.

    Attributes:
        directory: where its `svid.pem` lies, absolute.
        out: where the exported files will lie, absolute.
        bundles: whom it believes.
    """

    directory: str
    out: str
    bundles: tuple[BundleRecord, ...]

    def secrets(self) -> dict[str, Json]:
        """Return the files of secrets: they name the key's file, and never hold a key."""
        path = posixpath.join(self.directory, "svid.pem")
        shown = {
            "certificate_chain": {"filename": path},
            "private_key": {"filename": path},  # the two are one file, so that they are a pair
            "watched_directory": {"path": self.directory},
        }
        domains = [
            {"name": each.trust_domain, "trust_bundle": {"inline_string": "".join(each.roots)}}
            for each in self.bundles
        ]
        validator = {
            "name": "envoy.tls.cert_validator.spiffe",
            "typed_config": any_of(f"{_TLS}SPIFFECertValidatorConfig", trust_domains=domains),
        }
        believed = {"validation_context": {"custom_validator_config": validator}}
        return {
            SVID: _secret("svid", {"tls_certificate": shown}),
            BUNDLES: _secret("bundles", believed),
        }

    def _common(self, names: Sequence[str] = ()) -> Json:
        """Return a CommonTlsContext; names: the other end must bear one of these as its ID."""
        believed: Json = {
            "name": "bundles",
            "sds_config": path_config(posixpath.join(self.out, BUNDLES)),
        }
        svid = {"name": "svid", "sds_config": path_config(posixpath.join(self.out, SVID))}
        found: Json = {
            "tls_params": {
                "tls_minimum_protocol_version": "TLSv1_2",
                "tls_maximum_protocol_version": "TLSv1_3",
            },
            "tls_certificate_sds_secret_configs": [svid],
            "alpn_protocols": ["http/1.1"],
        }
        if names:
            matchers = [
                {"san_type": "URI" if "://" in name else "DNS", "matcher": {"exact": name}}
                for name in names
            ]
            found["combined_validation_context"] = {
                "default_validation_context": {"match_typed_subject_alt_names": matchers},
                "validation_context_sds_secret_config": believed,
            }
        else:
            found["validation_context_sds_secret_config"] = believed
        return found


def bundles_of(records: Records) -> tuple[BundleRecord, ...]:
    """Return whom policy believes, our own trust domain first."""
    data = records.get("mesh")
    mesh = MeshRecord() if data is None else msgspec.json.decode(data, type=MeshRecord)
    found = (records.get(f"bundle/{name}") for name in (mesh.trust_domain, *mesh.bundles))
    return tuple(msgspec.json.decode(each, type=BundleRecord) for each in found if each is not None)


def match_of(endpoint: EndpointRecord, port: int) -> Json:
    """Return the metadata by which an endpoint finds its transport socket."""
    wanted = endpoint.tls_id_at(port)
    return {} if wanted is None else {"metadata": {"filter_metadata": {_MATCH: {"id": wanted}}}}


def sockets(mutual: Mutual, ids: Iterable[str], identity: Identity) -> Json:
    """Return the fields of a cluster that say how its endpoints are called.

    Args:
        mutual: what policy says of it.
        ids: in whose names its endpoints answer, as far as they answer by mutual TLS.
        identity: of this Envoy.
    """
    matches = [
        {"name": own, "match": {"id": own}, "transport_socket": _upstream(identity, rule)}
        for own in sorted(ids)
        if (rule := mutual.rule_for(own)) is not None
    ]
    found: Json = {"transport_socket_matches": matches} if matches else {}
    if mutual.is_forced:
        # For endpoints that policy gives no account; where no name is written, nobody will do.
        rule = replace(mutual.rule, names=mutual.rule.names or (_NOBODY,))
        found["transport_socket"] = _upstream(identity, rule)
    return found


def downstream(identity: Identity, mode: PeerMode) -> list[tuple[Json, Json]]:
    """Return the filter chains of an inbound listener: the match and the socket of each."""
    if mode == "DISABLE":
        return [({}, {})]
    context = any_of(
        f"{_TLS}DownstreamTlsContext",
        common_tls_context=identity._common(),
        require_client_certificate=True,
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    secure = {"transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}
    if mode == "STRICT":
        return [({}, secure)]
    return [
        ({"filter_chain_match": {"transport_protocol": "tls"}}, secure),
        ({"filter_chain_match": {"transport_protocol": "raw_buffer"}}, {}),
    ]


def _upstream(identity: Identity, rule: TLSRule) -> Json:
    common = identity._common(rule.names)
    context = any_of(f"{_TLS}UpstreamTlsContext", common_tls_context=common, sni=rule.sni)
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _secret(name: str, content: Json) -> Json:
    return {"resources": [any_of(f"{_TLS}Secret", name=name, **content)]}
