"""Which of Envoy's attributes expressions of policy may name, and of which kind they are.

What they are of a call is `meshware.telemetry.attributes`' matter. Source: Envoy, "Attributes".
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ABSENT", "ATTRIBUTES", "PSEUDO"]

ATTRIBUTES: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("request", "path"): "string",
        ("request", "url_path"): "string",
        ("request", "host"): "string",
        ("request", "scheme"): "string",
        ("request", "method"): "string",
        ("request", "headers"): "headers",
        ("request", "referer"): "string",
        ("request", "useragent"): "string",
        ("request", "time"): "timestamp",
        ("request", "id"): "string",
        ("request", "protocol"): "string",
        ("request", "query"): "string",
        ("request", "duration"): "duration",
        ("request", "size"): "int",
        ("response", "code"): "int",
        ("response", "code_details"): "string",
        ("response", "flags"): "int",
        ("response", "grpc_status"): "int",
        ("response", "headers"): "headers",
        ("response", "size"): "int",
        ("source", "address"): "string",
        ("source", "port"): "int",
        ("source", "principal"): "string",  # Istio's name, of authorization policies
        ("source", "namespace"): "string",
        ("destination", "address"): "string",
        ("destination", "port"): "int",
        ("connection", "mtls"): "bool",
        ("connection", "requested_server_name"): "string",
        ("connection", "uri_san_peer_certificate"): "string",
        ("upstream", "address"): "string",
        ("upstream", "port"): "int",
        ("upstream", "request_attempt_count"): "int",
        ("xds", "cluster_name"): "string",
        ("xds", "route_name"): "string",
        ("xds", "listener_direction"): "int",
        ("xds", "node"): "node",
    }
)
"""Path -> kind; "headers" can be indexed and asked, and "node" is known when policy is compiled."""

_WIRE = "sizes on the wire are not seen in an app's process; write {0}.size, of the body"
_TLS = "the server keeps it to itself"
_PROXY = "it is of a proxy's own configuration, and there is none"

ABSENT: Mapping[tuple[str, str], str] = MappingProxyType(
    {
        ("request", "total_size"): _WIRE.format("request"),
        ("response", "total_size"): _WIRE.format("response"),
        ("response", "trailers"): "trailers are not kept; response.grpc_status is in headers alone",
        ("response", "backend_latency"): "it is not measured; write request.duration",
        ("connection", "id"): "connections have no numbers here",
        ("connection", "tls_version"): _TLS,
        ("connection", "subject_peer_certificate"): (
            "names in certificates prove nothing here; write connection.uri_san_peer_certificate"
        ),
        ("connection", "dns_san_peer_certificate"): (
            "names in certificates prove nothing here; write connection.uri_san_peer_certificate"
        ),
        ("connection", "sha256_peer_certificate_digest"): _TLS,
        ("connection", "subject_local_certificate"): _TLS,
        ("connection", "dns_san_local_certificate"): _TLS,
        ("connection", "uri_san_local_certificate"): _TLS,
        ("connection", "termination_details"): _TLS,
        ("connection", "transport_failure_reason"): _TLS,
        **{
            ("upstream", name): "the client library keeps it to itself; write upstream.address"
            for name in (
                "tls_version", "subject_local_certificate", "subject_peer_certificate",
                "dns_san_local_certificate", "dns_san_peer_certificate",
                "uri_san_local_certificate", "uri_san_peer_certificate",
                "sha256_peer_certificate_digest", "local_address", "transport_failure_reason",
                "cx_pool_ready_duration", "locality",
            )
        },
        **{
            ("xds", name): _PROXY
            for name in (
                "cluster_metadata", "route_metadata", "upstream_host_metadata", "listener_metadata",
                "filter_chain_name", "virtual_host_name", "virtual_host_metadata",
                "upstream_host_locality_metadata",
            )
        },
    }
)  # fmt: skip
"""Attributes of Envoy that a process cannot have, and why."""

PSEUDO: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        ":authority": ("request", "host"),
        ":method": ("request", "method"),
        ":path": ("request", "path"),
        ":scheme": ("request", "scheme"),
    }
)
"""Names under which Envoy has parts of a request among its headers."""
