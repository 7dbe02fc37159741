"""The listener before a workload's own app: mutual TLS ends there, rules say who may, and the app
hears who calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshware.envoy.values import Json, any_of
from meshware.policy.paths import DEFAULT_NORMALIZATION, Normalization

__all__ = ["Inbound", "app_cluster", "inbound_listener"]

_APP = "inbound"
_HTTP = "envoy.extensions.filters."


# How the app's path and that of rules are normalised. Source: Istio, `buildHTTPConnectionManager`.
_PATHS: dict[Normalization, Json] = {
    "NONE": {"normalize_path": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "BASE": {"normalize_path": True, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"},
    "MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
    },
    "DECODE_AND_MERGE_SLASHES": {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """What policy says of requests that arrive."""

    filters: Sequence[Json] = ()  # that decide who may, in order
    normalization: Normalization | None = None  # None: policy does not say, and the strictest holds
    trusted_hops: int = 0  # proxies in front whose word on the caller's address is taken


def inbound_listener(
    address: str, port: int, chains: Sequence[tuple[Json, Json]], inbound: Inbound
) -> Json:
    """Return the Listener.

    Args:
        address: where it listens.
        port: likewise.
        chains: the match and the transport socket of each filter chain.
        inbound: what policy says of requests.
    """
    manager = any_of(
        f"{_HTTP}network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="inbound",
        codec_type="AUTO",
        route_config={
            "name": _APP,
            "virtual_hosts": [
                {
                    "name": _APP,
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "route": {"cluster": _APP, "timeout": "0s"}}
                    ],
                }
            ],
        },
        http_filters=[
            *inbound.filters,
            {
                "name": "envoy.filters.http.router",
                "typed_config": any_of(f"{_HTTP}http.router.v3.Router"),
            },
        ],
        **_PATHS[inbound.normalization or DEFAULT_NORMALIZATION],
        # Where a request comes from is said by its connection, and by as many entries of
        # X-Forwarded-For as there are proxies in front; the header itself goes on untouched.
        use_remote_address=True,
        xff_num_trusted_hops=inbound.trusted_hops,
        skip_xff_append=True,
        preserve_external_request_id=True,
        stream_idle_timeout="0s",
        # Whatever the caller wrote goes; in its place stands who it is by its certificate.
        forward_client_cert_details="SANITIZE_SET",
        set_current_client_cert_details={"uri": True, "subject": True},
        server_header_transformation="PASS_THROUGH",
        upgrade_configs=[{"upgrade_type": "websocket"}],
    )
    filters = [
        {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
    ]
    found: Json = {
        "name": _APP,
        "address": {"socket_address": {"address": address, "port_value": port}},
        "filter_chains": [{**match, "filters": filters, **socket} for match, socket in chains],
    }
    if any(socket for _, socket in chains):
        # It tells the chains of PERMISSIVE apart, and rules the name that a caller asks for.
        kind = f"{_HTTP}listener.tls_inspector.v3.TlsInspector"
        inspector = {"name": "envoy.filters.listener.tls_inspector", "typed_config": any_of(kind)}
        found["listener_filters"] = [inspector]
    return found


def app_cluster(port: int) -> Json:
    """Return the cluster of the app itself, on the loopback."""
    where = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {
        "name": _APP,
        "type": "STATIC",
        "connect_timeout": "10s",
        "load_assignment": {
            "cluster_name": _APP,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": where}}]}],
        },
    }
