"""The listener before a workload's own app: mutual TLS ends there, and the app hears who calls.

Rules are not exported yet: this listener says who calls and not who may.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshware.envoy.values import Json, any_of

__all__ = ["app_cluster", "inbound_listener"]

_APP = "inbound"
_HTTP = "envoy.extensions.filters."


def inbound_listener(address: str, port: int, chains: Sequence[tuple[Json, Json]]) -> Json:
    """Return the Listener.

    Args:
        address: where it listens.
        port: likewise.
        chains: the match and the transport socket of each filter chain.
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
            {
                "name": "envoy.filters.http.router",
                "typed_config": any_of(f"{_HTTP}http.router.v3.Router"),
            }
        ],
        use_remote_address=False,
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
    if any(match for match, _ in chains):
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
